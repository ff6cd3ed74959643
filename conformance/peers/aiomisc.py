"""aiomisc's ``aggregate``: the first caller of a batch runs the handler for the others."""

from typing import Any

from conformance.adapter import Adapter, Handler


class Peer(Adapter):
    title = "aiomisc.aggregate"
    distribution = "aiomisc"
    module = "aiomisc"
    note = "does not bound the handler calls under way"
    bounded = False

    def __init__(self, handler: Handler, *, size: int, wait: float) -> None:
        from aiomisc import aggregate

        async def handle(*items: Any) -> list[Any]:
            return await handler([*items])

        self.submit = aggregate(leeway_ms=max(wait * 1000, 0.001), max_count=size)(handle)
