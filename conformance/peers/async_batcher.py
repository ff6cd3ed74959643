"""async-batcher: a class to inherit from, with an asyncio queue and a task."""

from typing import Any

from conformance.adapter import Adapter, Handler


class Peer(Adapter):
    title = "async-batcher"
    distribution = "async-batcher"
    module = "async_batcher.batcher"
    options = frozenset({"capacity"})

    def __init__(self, handler: Handler, *, size: int, wait: float, capacity: int = -1) -> None:
        from async_batcher.batcher import AsyncBatcher

        class Batcher(AsyncBatcher):  # type: ignore[misc]
            async def process_batch(self, batch: list[Any]) -> list[Any]:
                return await handler(batch)

        self.batcher = Batcher(
            max_batch_size=size, max_queue_time=wait, concurrency=1, max_queue_size=capacity
        )
        self.submit = self.batcher.process

    async def close(self) -> None:
        await self.batcher.stop()

    async def abort(self) -> None:
        await self.batcher.stop(force=True)
