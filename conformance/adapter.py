"""What the probes know of a library: make a batcher, and submit one item."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

Handler: TypeAlias = Callable[[list[Any]], Awaitable[list[Any]]]

OPTIONS = {
    "timeout": "no deadline for an item",
    "key": "no key function",
    "weigh": "no size function",
    "capacity": "no bound on what it accepts",
}
"""Options that not every library has, and what to say of one that lacks them."""


class NotOffered(Exception):
    """Say that a library has nothing that a probe could try."""


class Adapter:
    """A batcher of some library; ``submit`` is the library's own callable wherever it can be.

    A subclass imports its library where it needs it, and not before: the class itself is read
    where no library is installed.
    """

    title: ClassVar[str]
    """What the report calls the library."""
    distribution: ClassVar[str]
    """What the package registry calls it."""
    install: ClassVar[tuple[str, ...]] = ()
    """Arguments for ``pip install``, where they are not just the distribution."""
    module: ClassVar[str]
    """What is imported to see whether the library works here."""
    note: ClassVar[str] = ""
    """What a reader must know about how it is used here."""
    lingers: ClassVar[bool] = True
    """It can wait for companions; if not, ``wait`` is ignored."""
    learned_wait: ClassVar[Any] = None
    """What is given for ``wait`` to have it learn how long; None where it can't."""
    bounded: ClassVar[bool] = True
    """It is told to have one handler call under way at once; if not, it can't be."""
    options: ClassVar[frozenset[str]] = frozenset()
    """Which of OPTIONS its constructor takes."""
    bare: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """What its constructor takes to do nothing but batch, for benchmarks."""

    submit: Callable[[Any], Awaitable[Any]]

    def __init__(self, handler: Handler, *, size: int, wait: float) -> None:
        """Make a batcher of at most ``size`` items that wait at most ``wait`` seconds."""
        raise NotImplementedError

    async def close(self) -> None:
        """End it in peace, where it has a way to be ended."""

    async def abort(self) -> None:
        """End it at once, and give up what is under way."""
        raise NotOffered("no way to end it at once")

    @classmethod
    def blocking(
        cls, handler: Callable[[list[Any]], list[Any]], *, size: int, wait: float
    ) -> AbstractContextManager[Callable[[Any], Any]]:
        """Give a function that any thread may call with an item, and that gives its result."""
        raise NotOffered("no way offered")

    @classmethod
    def calling(cls, handler: Handler, *, size: int, wait: float) -> Callable[[Any], Any]:
        """Give what users of the library call with an item, with nothing made here around it."""
        return cls(handler, size=size, wait=wait).submit

    @classmethod
    def require(cls, option: str) -> None:
        """Raise NotOffered unless the constructor takes the option."""
        if option not in cls.options:
            raise NotOffered(OPTIONS[option])
