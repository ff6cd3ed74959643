"""Map a source of items through a submit function, reading only so far ahead."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any, Generic, TypeVar

from microbatch._core import Lane, Ticket
from microbatch._streams.window import Window
from microbatch.errors import BatchTimeoutError

__all__ = ["MappedSource"]

T = TypeVar("T")
R = TypeVar("R")


class MappedSource(Generic[T, R]):
    """Submit what a source yields, and give the results; a window bounds the outstanding ones."""

    def __init__(
        self,
        submit: Callable[[T], Ticket[R]],
        source: Iterable[T] | AsyncIterable[T],
        *,
        find_lane: Callable[[], Lane],
        window: Window,
        ordered: bool,
        return_exceptions: bool,
        with_items: bool,
        leave_out_late: bool,
    ) -> None:
        self._submit = submit
        self._source = source
        self._find_lane = find_lane
        self._window = window
        self._ordered = ordered
        self._return_exceptions = return_exceptions
        self._with_items = with_items
        self._leave_out_late = leave_out_late
        self._outstanding: dict[Ticket[R], T | None] = {}  # with the items, if these are given
        self._joined: set[Ticket[R]] = set()  # of these, which are handled with an equal item
        self._ready: deque[Ticket[R]] = deque()  # to be given next, done or not
        self._changed = asyncio.Event()
        self._room = asyncio.Event()

    async def results(self) -> AsyncIterator[Any]:
        """Yield results; on the way out, whatever is outstanding is cancelled."""
        lane = self._find_lane()  # tells where no loop runs
        reader = asyncio.create_task(self._read(lane), name="microbatch.map")
        reader.add_done_callback(lambda _: self._changed.set())
        try:
            while ticket := await self._next(reader):
                try:
                    outcome: R | Exception = await ticket
                except Exception as error:
                    if self._return_exceptions:
                        outcome = error
                    elif self._leave_out_late and isinstance(error, BatchTimeoutError):
                        continue
                    else:
                        raise
                finally:
                    item = self._give_back(ticket)
                    ticket = None  # or what it failed with would know itself, by its traceback
                yield (item, outcome) if self._with_items else outcome
                del outcome  # as above
            reader.result()
        finally:
            await self._stop(reader)

    async def _next(self, reader: "asyncio.Task[None]") -> Ticket[R] | None:
        """Wait for the ticket to give next; None after the last."""
        while not self._ready:
            if reader.done() and not self._outstanding:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._ready.popleft()

    def _give_back(self, ticket: Ticket[R]) -> T | None:
        """Make room for others, and give the ticket's item."""
        item = self._outstanding.pop(ticket)
        self._joined.discard(ticket)
        if self._window.half_empty(len(self._outstanding), len(self._joined)):
            self._room.set()
        return item

    async def _stop(self, reader: "asyncio.Task[None]") -> None:
        for ticket in self._outstanding:
            ticket.cancel()
        reader.cancel()
        await asyncio.wait([reader])
        if not reader.cancelled():
            reader.exception()  # told already, or nobody is left to hear of it

    # ----------------------------------------------------------------------------------- reading
    async def _read(self, lane: Lane) -> None:
        if isinstance(self._source, AsyncIterable):
            async for item in self._source:
                self._send(item, lane)
                await self._wait_for_room()
        else:
            for item in self._source:
                self._send(item, lane)
                if self._full():
                    await self._wait_for_room()

    def _send(self, item: T, lane: Lane) -> None:
        deduplicated = lane.deduplicated
        ticket = self._submit(item)
        self._outstanding[ticket] = item if self._with_items else None
        if lane.deduplicated != deduplicated:
            self._joined.add(ticket)
        if self._ordered:
            self._offer(ticket)
        else:
            ticket.add_done_callback(self._offer)

    def _offer(self, ticket: Ticket[R]) -> None:
        self._ready.append(ticket)
        self._changed.set()

    def _full(self) -> bool:
        return self._window.full(len(self._outstanding), len(self._joined))

    async def _wait_for_room(self) -> None:
        while self._full():
            self._room.clear()
            await self._room.wait()
