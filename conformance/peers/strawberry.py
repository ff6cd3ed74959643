"""strawberry's DataLoader; it dispatches on the next trip through the loop, and caches."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from conformance.adapter import Adapter, Handler


class Peer(Adapter):
    title = "strawberry DataLoader"
    distribution = "strawberry-graphql"
    module = "strawberry.dataloader"
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
        from strawberry.dataloader import DataLoader

        self.loader = DataLoader(handler, max_batch_size=size, cache_key_fn=key, cache=cache)
        self.submit = self.loader.load
