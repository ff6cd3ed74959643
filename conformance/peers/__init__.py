"""The libraries, one adapter a file; each file has one class, ``Peer``."""

from importlib import import_module

from conformance.adapter import Adapter

OURS = "microbatch"
NAMES = (
    OURS,
    "async_batcher",
    "batched",
    "ray_serve",
    "aiodataloader",
    "strawberry",
    "aiomisc",
    "aioautobatch",
    "smartbatch",
)


def load(module: str) -> type[Adapter]:
    """Import the adapter of one library, by the name of its module."""
    peer: type[Adapter] = import_module(module).Peer
    return peer


def adapter_of(name: str) -> type[Adapter]:
    """Give the adapter of one library, by the library's short name."""
    return load(module_of(name))


def module_of(name: str) -> str:
    """Give the module that adapts a library."""
    return f"{__name__}.{name}"
