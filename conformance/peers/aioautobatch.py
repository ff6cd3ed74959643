"""aioautobatch: a call gives a future of the result once it is awaited."""

from collections.abc import Callable
from typing import Any

from conformance.adapter import Adapter, Handler


class Peer(Adapter):
    title = "aioautobatch"
    distribution = "aioautobatch"
    module = "aioautobatch"

    def __init__(self, handler: Handler, *, size: int, wait: float) -> None:
        from aioautobatch import autobatch

        async def handle(calls: list[tuple[Any]]) -> list[Any]:
            return await handler([item for (item,) in calls])

        self.call = autobatch(
            handle, start_delay=wait, batch_size=size, max_delay=wait, max_concurrent_batches=1
        )

    async def submit(self, item: Any) -> Any:
        return await (await self.call(item))

    @classmethod
    def calling(cls, handler: Handler, *, size: int, wait: float) -> Callable[[Any], Any]:
        return cls(handler, size=size, wait=wait).call
