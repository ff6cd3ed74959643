"""microbatch itself, as it is in this checkout."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from conformance.adapter import OPTIONS, Adapter, Handler, NotOffered


class Options:
    """Find out which options the installed microbatch has, when somebody asks."""

    def __get__(self, instance: object, owner: type) -> frozenset[str]:
        from microbatch import Options

        return frozenset({*OPTIONS} & {*Options.__dataclass_fields__})


class Peer(Adapter):
    title = "microbatch"
    distribution = "microbatch"
    module = "microbatch"
    note = (
        "built from this checkout; where a task takes a call it is a decorated function's, for "
        "`Batcher.submit` gives a future"
    )
    learned_wait = "auto"
    options = Options()  # type: ignore[assignment]

    def __init__(self, handler: Handler, *, size: int, wait: float, **options: Any) -> None:
        from microbatch import Batcher

        if "weigh" in options:
            options["max_batch_weight"] = size
        self.batcher = Batcher(handler, max_batch_size=size, max_latency=wait, **options)
        self.submit = self.batcher.submit

    async def close(self) -> None:
        await self.batcher.aclose()

    async def abort(self) -> None:
        await self.batcher.aclose(timeout=0)

    @classmethod
    def calling(cls, handler: Handler, *, size: int, wait: float) -> Callable[[Any], Any]:
        from microbatch import batched

        async def handle(items: list[Any]) -> list[Any]:
            return await handler(items)

        return batched(max_batch_size=size, max_latency=wait)(handle)

    @classmethod
    def blocking(
        cls, handler: Callable[[list[Any]], list[Any]], *, size: int, wait: float
    ) -> AbstractContextManager[Callable[[Any], Any]]:
        import microbatch

        if not hasattr(microbatch, "BlockingBatcher"):
            raise NotOffered("no way offered")

        @contextmanager
        def opened() -> Iterator[Callable[[Any], Any]]:
            with microbatch.BlockingBatcher(
                handler, max_batch_size=size, max_latency=wait
            ) as batcher:
                yield lambda item: batcher.submit(item).result()

        return opened()
