"""batched: ``aio.dynamically`` decorates a function; without ``aio`` it is for threads."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from conformance.adapter import Adapter, Handler


class Peer(Adapter):
    title = "batched.aio"
    distribution = "batched"
    module = "batched.aio"
    options = frozenset({"weigh"})

    def __init__(
        self,
        handler: Handler,
        *,
        size: int,
        wait: float,
        weigh: Callable[[Any], int] | None = None,
    ) -> None:
        from batched import aio

        async def plain(items: list[Any]) -> list[Any]:
            return await handler(items)

        async def unpacking(items: list[Any]) -> list[Any]:
            return await handler([sized.item for sized in items])

        decorate = aio.dynamically(
            batch_size=size, timeout_ms=wait * 1000, max_batch_length=size if weigh else None
        )
        if weigh is None:
            self.submit = decorate(plain)
        else:
            submit = decorate(unpacking)
            self.submit = lambda item: submit(Sized(item, weigh))

    @classmethod
    def blocking(
        cls, handler: Callable[[list[Any]], list[Any]], *, size: int, wait: float
    ) -> AbstractContextManager[Callable[[Any], Any]]:
        import batched

        def plain(items: list[Any]) -> list[Any]:
            return handler(items)

        return nullcontext(batched.dynamically(batch_size=size, timeout_ms=wait * 1000)(plain))


class Sized:
    """An item that has a length: that is how the library is told of sizes."""

    def __init__(self, item: Any, weigh: Callable[[Any], int]) -> None:
        self.item = item
        self.weigh = weigh

    def __len__(self) -> int:
        return self.weigh(self.item)
