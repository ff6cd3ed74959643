"""What is between a streaming handler call and the reader of one item."""

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, Final, TypeVar, cast, final

__all__ = ["END", "Channel", "End", "WakeEvent", "of_entry", "set_all"]


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


class WakeEvent:
    """What one task waits for again and again, where a future would have to be made each time.

    It follows the protocol by which asyncio's tasks wait for futures, and keeps no state: who waits
    may be woken for no reason, looks whether what it waits for is there, and waits again.
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
        self.set_soon()
        return False

    def set_soon(self) -> None:
        """Wake the task in the loop's next turn."""
        self._loop.call_soon(self.set)

    def set(self) -> None:
        """Wake the task now; never from within another."""
        if self._wake is not None:
            (wake, context), self._wake = self._wake, None
            context.run(wake, self._done)


def set_all(events: list[WakeEvent]) -> None:
    """Wake the tasks of many events; when one of them exits, the rest are woken soon."""
    events.reverse()
    try:
        while events:
            events.pop().set()
    finally:
        for event in reversed(events):
            event.set_soon()


class Channel:
    """What a stream's item is queued as, and the buffer of its chunks."""

    __slots__ = ("chunks", "item", "reader", "writer")

    def __init__(self, item: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.item = item
        self.chunks: deque[Any] = deque()
        self.reader = WakeEvent(loop)
        self.writer: WakeEvent | None = None
        """What the handler call waits for when there is no room."""

    def take(self) -> Any:
        """Take the next chunk, and make room."""
        chunk = self.chunks.popleft()
        self._tell_writer()
        return chunk

    def end(self, _: object) -> None:
        """Wake whoever waits, for the item has come to its end; the ticket's callback."""
        self.reader.set()
        self._tell_writer()

    def _tell_writer(self) -> None:
        if self.writer is not None and self.writer.awaited:
            self.writer.set_soon()


def of_entry(function: F, *, streams: bool) -> F:
    """Make a user's function of an item, or None, take what the item is queued as."""
    if function is None or not streams:
        return function
    of_item: Any = function

    def of_channel(entry: Any) -> Any:
        return of_item(entry.item if isinstance(entry, Channel) else entry)

    return cast("F", of_channel)
