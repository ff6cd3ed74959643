"""Map a source of items through a submit function, reading only so far ahead."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Generic, TypeVar

from microbatch._core import Ticket
from microbatch.errors import BatchTimeoutError

__all__ = ["MappedSource"]

T = TypeVar("T")
R = TypeVar("R")


class MappedSource(Generic[T, R]):
    """Submit what a source yields, and give the outcomes; at most ``window`` are outstanding."""

    def __init__(
        self,
        submit: Callable[[T], Ticket[R]],
        source: Iterable[T] | AsyncIterable[T],
        *,
        window: int,
        ordered: bool,
        return_exceptions: bool,
        leave_out_late: bool,
    ) -> None:
        self._submit = submit
        self._source = source
        self._window = window
        self._ordered = ordered
        self._return_exceptions = return_exceptions
        self._leave_out_late = leave_out_late
        self._outstanding: set[Ticket[R]] = set()
        self._ready: deque[Ticket[R]] = deque()  # to be given next, done or not
        self._changed = asyncio.Event()
        self._room = asyncio.Event()

    async def outcomes(self) -> AsyncIterator[R | Exception]:
        """Yield results; on the way out, whatever is outstanding is cancelled."""
        reader = asyncio.create_task(self._read(), name="microbatch.map")
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
                    self._give_back(ticket)
                yield outcome
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

    def _give_back(self, ticket: Ticket[R]) -> None:
        self._outstanding.discard(ticket)
        if len(self._outstanding) <= self._window // 2:  # not at every item: a wake-up costs more
            self._room.set()

    async def _stop(self, reader: "asyncio.Task[None]") -> None:
        for ticket in self._outstanding:
            ticket.cancel()
        reader.cancel()
        await asyncio.wait([reader])
        if not reader.cancelled():
            reader.exception()  # told already, or nobody is left to hear of it

    # ----------------------------------------------------------------------------------- reading
    async def _read(self) -> None:
        if isinstance(self._source, AsyncIterable):
            async for item in self._source:
                self._send(item)
                await self._wait_for_room()
        else:
            for item in self._source:
                self._send(item)
                if len(self._outstanding) >= self._window:
                    await self._wait_for_room()

    def _send(self, item: T) -> None:
        ticket = self._submit(item)
        self._outstanding.add(ticket)
        if self._ordered:
            self._offer(ticket)
        else:
            ticket.add_done_callback(self._offer)

    def _offer(self, ticket: Ticket[R]) -> None:
        self._ready.append(ticket)
        self._changed.set()

    async def _wait_for_room(self) -> None:
        while len(self._outstanding) >= self._window:
            self._room.clear()
            await self._room.wait()
