"""aiodataloader: a DataLoader; it dispatches on the next trip through the loop, and caches."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from conformance.adapter import Adapter, Handler


class Peer(Adapter):
    title = "aiodataloader"
    distribution = "aiodataloader"
    module = "aiodataloader"
    note = "does not wait for companions, and does not bound the handler calls under way"
    lingers = False
    bounded = False
    options = frozenset({"key"})
    bare = MappingProxyType({"cache": False})

    def __init__(
        self,
        handler: Handler,
        *,
        size: int,
        wait: float,
        key: Callable[[Any], Any] | None = None,
        cache: bool = True,
    ) -> None:
        from aiodataloader import DataLoader

        async def load(items: list[Any]) -> list[Any]:
            return await handler(items)

        self.loader = DataLoader(load, max_batch_size=size, get_cache_key=key, cache=cache)
        self.submit = self.loader.load
