"""What is between a streaming handler call and the reader of one item."""

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, Final, TypeVar, cast, final

__all__ = ["END", "Bell", "Channel", "End", "as_it_is", "of_entry", "ring_all"]


F = TypeVar("F", bound=Callable[[Any], Any] | None)


@final
class End:
    """The type of END."""

    def __repr__(self) -> str:
        return "END"

    def __reduce__(self) -> str:
        return "END"


END: Final = End()
"""Yielded by a streaming handler in an item's place, says that the item is finished."""


class Bell:
    """What one task waits for again and again, where a future would have to be made each time.

    It follows the protocol by which asyncio's tasks wait for futures. It may ring for no reason: a
    task looks whether what it waits for is there, and waits again.
    """

    __slots__ = ("_asyncio_future_blocking", "_done", "_loop", "_wake")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        # A task that is woken asks for a result; of an asyncio future it does so most cheaply.
        self._done: asyncio.Future[None] = loop.create_future()
        self._done.set_result(None)
        self._wake: tuple[Callable[[Any], object], Context] | None = None

    @property
    def awaited(self) -> bool:
        """Whether a task waits."""
        return self._wake is not None

    def __await__(self) -> Generator[Any, None, None]:
        self._asyncio_future_blocking = True
        yield self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Give the loop that a task which waits must run on."""
        return self._loop

    def add_done_callback(self, wake: Callable[[Any], object], *, context: Context) -> None:
        """Keep how to wake the task; called by the task."""
        self._wake = wake, context

    def cancel(self, msg: object = None) -> bool:  # noqa: ARG002
        """Wake the task that was cancelled, which raises CancelledError by itself."""
        self.ring_soon()
        return False

    def ring_soon(self) -> None:
        """Have the loop wake the task."""
        self._loop.call_soon(self.ring)

    def ring(self) -> None:
        """Wake the task now; never from within another."""
        if self._wake is not None:
            (wake, context), self._wake = self._wake, None
            context.run(wake, self._done)


def ring_all(bells: list[Bell]) -> None:
    """Wake the tasks of many bells; when one of them exits, the rest are woken soon."""
    bells.reverse()
    try:
        while bells:
            bells.pop().ring()
    finally:
        for bell in reversed(bells):
            bell.ring_soon()


class Channel:
    """What a stream's item is queued as, and the buffer of its chunks."""

    __slots__ = ("chunks", "item", "reader", "writer")

    def __init__(self, item: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.item = item
        self.chunks: deque[Any] = deque()
        self.reader = Bell(loop)
        self.writer: Bell | None = None
        """What the handler call waits for when there is no room."""

    def take(self) -> Any:
        """Take the next chunk, and make room."""
        chunk = self.chunks.popleft()
        self._tell_writer()
        return chunk

    def end(self, _: object) -> None:
        """Wake whoever waits, for the item has come to its end; the ticket's callback."""
        self.reader.ring()
        self._tell_writer()

    def _tell_writer(self) -> None:
        if self.writer is not None and self.writer.awaited:
            self.writer.ring_soon()


def as_it_is(function: F) -> F:
    """Give a user's function of an item, where items are queued as they are."""
    return function


def of_entry(function: F) -> F:
    """Make a user's function of an item, or None, take what streams are queued as."""
    if function is None:
        return function
    of_item: Any = function

    def of_channel(entry: Any) -> Any:
        return of_item(entry.item if isinstance(entry, Channel) else entry)

    return cast("F", of_channel)
