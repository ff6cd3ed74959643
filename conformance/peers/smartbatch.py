"""smartbatch: ``batch`` decorates a function; its server and its models are left out."""

from typing import Any

from conformance.adapter import Adapter, Handler


class Peer(Adapter):
    title = "smartbatch"
    distribution = "smartbatch"
    install = ("--no-deps", "smartbatch")
    module = "smartbatch"
    note = (
        "installed without its dependencies (torch, FastAPI): `smartbatch.batch` needs none of them"
    )
    options = frozenset({"capacity"})

    def __init__(self, handler: Handler, *, size: int, wait: float, capacity: int = 10_000) -> None:
        from smartbatch import batch

        async def handle(items: list[Any]) -> list[Any]:
            return await handler(items)

        self.submit = batch(max_batch_size=size, max_wait_time=wait, max_queue_size=capacity)(
            handle
        )

    async def close(self) -> None:
        await self.submit.batcher.stop()  # type: ignore[attr-defined]

    async def abort(self) -> None:
        await self.close()  # its one way to end: it cancels what takes longer than 5 seconds
