"""Handlers that wait for items of their own batcher, for which nothing could ever free a slot.

Such a handler would wait for ever, so it is told. What can be known is what it awaits by itself: a
ticket, or several through ``gather``. What it awaits in tasks of their own, as in a ``TaskGroup``,
or in threads, cannot be known.
"""

import asyncio
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

from microbatch._core import InFlightBatch, KeyQueue, Lane, Ticket
from microbatch._dispatch.reordering import ReorderBuffer, line_of, line_of_queue
from microbatch._handlers.runs import UnderWay
from microbatch.options import Options

__all__ = ["DeadlockDetector"]

GATHERING = "_GatheringFuture"
"""What ``gather`` gives; other futures that have children may not wait for all of them."""
ROOM = (
    "for which there could never be room: call the function itself, or give the batcher more room "
    "(capacity)"
)


class DeadlockDetector:
    """Find the handlers that wait in vain; ``handlers()`` gives the batches with their calls."""

    def __init__(
        self,
        lane: Lane,
        options: Options,
        name: str,
        *,
        reorder_buffer: ReorderBuffer | None,
        handlers: Callable[[], UnderWay],
    ) -> None:
        self._lane = lane
        self._reorder_buffer = reorder_buffer
        self._most_per_key = options.max_concurrent_batches_per_key or math.inf
        self._name = name
        self._why = why_in_vain(options)
        self._handlers = handlers
        self._given_up_when_late = options.cancel_abandoned
        self._fails_when_late = options.fails_when_late
        self.suspected = False
        """Whether a handler waited for an item of its own batcher when that was looked at last."""
        lane.in_line = (
            reorder_buffer is not None or self._most_per_key < math.inf or options.dedupe_in_flight
        )

    def tell(self) -> None:
        """Fail what one of the handlers waits for that wait in vain.

        It is the one that would be given up first, for what ends sooner may free a slot for others;
        where none would be, it is the youngest.
        """
        error = functools.partial(self._error, ROOM if self._no_room() else self._why)
        for ticket in self._in_vain():
            self._lane.take_ticket(ticket).fail(error)
        self._lane.wake_soon()

    def _error(self, why: str, _: Ticket[Any]) -> RuntimeError:
        return RuntimeError(
            f"the handler of batcher {self._name!r} awaits an item of its own batcher, {why}"
        )

    def _no_room(self) -> bool:
        """Tell whether all that is to be handled waits for admission, and not for a slot."""
        lane = self._lane
        return lane.free_slots > 0 and lane.waiting > 0 and not lane.queued

    def _in_vain(self) -> list[Ticket[Any]]:
        calls = self._handlers()
        waits = {batch: self._awaited_by(call and call[1]) for batch, call in calls.items()}
        stuck = {batch: tickets for batch, tickets in waits.items() if tickets}
        self.suspected = bool(stuck)
        while going_on := [
            batch
            for batch, tickets in stuck.items()
            if not all(self._is_hopeless(ticket, batch, stuck, waits) for ticket in tickets)
        ]:
            for batch in going_on:
                del stuck[batch]
        if not stuck:
            return []
        served = {batch: call[0] for batch, call in calls.items() if call}
        return stuck[min(stuck, key=lambda batch: (self._end(served[batch]), -batch.departed))]

    def _end(self, batch: InFlightBatch[Any]) -> float:
        """Say when a handler call is cancelled unless it ends before; infinity for never."""
        if self._fails_when_late:
            return batch.first_deadline
        if not self._given_up_when_late:
            return math.inf
        awaited = (deadline for deadline in batch.deadlines if deadline is not None)
        return max(awaited, default=math.inf)

    def _awaited_by(self, waiter: Any) -> list[Ticket[Any]]:
        """Give the tickets of this lane that something waits for; none where it may be more."""
        if issubclass(type(waiter), Ticket):
            return [] if self._lane.whereabouts(waiter) is None else [waiter]
        if issubclass(type(waiter), asyncio.Task):
            return self._awaited_by(getattr(waiter, "_fut_waiter", None))
        if type(waiter).__name__ != GATHERING:
            return []
        awaited = [self._awaited_by(child) for child in waiter._children if not child.done()]
        return [ticket for tickets in awaited for ticket in tickets] if all(awaited) else []

    def _is_hopeless(
        self,
        ticket: Ticket[Any],
        batch: InFlightBatch[Any],
        stuck: Mapping[InFlightBatch[Any], object],
        running: Mapping[InFlightBatch[Any], object],
    ) -> bool:
        """Tell whether a ticket can have no result before the handler that awaits it ends."""
        places = self._lane.whereabouts(ticket)
        if places is None or ticket.deadline < math.inf:
            return False
        batches, queues = places
        return (
            any(each in stuck or self._is_behind(each, batch) for each in batches)
            or any(self._is_never_taken(queue, batch, stuck, running) for queue in queues)
            or (bool(queues) and self._is_never_let_in(stuck, running))
        )

    def _is_behind(self, batch: InFlightBatch[Any], other: InFlightBatch[Any]) -> bool:
        """Tell whether the results of a batch are held until another has ended."""
        return self._reorder_buffer is not None and self._reorder_buffer.is_behind(batch, other)

    def _is_never_taken(
        self,
        queue: KeyQueue,
        batch: InFlightBatch[Any],
        stuck: Mapping[InFlightBatch[Any], object],
        running: Mapping[InFlightBatch[Any], object],
    ) -> bool:
        if self._reorder_buffer is not None and line_of_queue(queue) == line_of(batch):
            return True
        if not self._lane.free_slots > 0 and stuck.keys() == running.keys():
            return True
        if queue.in_flight < self._most_per_key:
            return False
        return all(each in stuck for each in running if each.queue is queue)

    def _is_never_let_in(
        self,
        stuck: Mapping[InFlightBatch[Any], object],
        running: Mapping[InFlightBatch[Any], object],
    ) -> bool:
        """Tell whether whoever has the room waits for more, and keeps it for ever."""
        if not self._no_room() or stuck.keys() != running.keys():
            return False
        lane = self._lane
        in_flight = lane.unsettled - lane.joined - lane.waiting
        calls = self._handlers().values()
        endless = [served.deadlines.count(math.inf) for served, _ in filter(None, calls)]
        return sum(endless) == in_flight


def why_in_vain(options: Options) -> str:
    """Say what such an item waits for in vain, and what would help."""
    slots = "more slots (max_concurrent_batches)"
    if options.max_concurrent_batches_per_key is not None:
        slots = "more slots (max_concurrent_batches, max_concurrent_batches_per_key)"
    if options.is_ordered:
        return (
            "whose result is held until the handler has ended: call the function itself, or give "
            f"the batcher ordering='unordered' and {slots}"
        )
    if options.dedupe_in_flight:
        return (
            "for which no slot could ever be free, or which is the one that it works on: call the "
            f"function itself, or give the batcher dedupe_in_flight=False and {slots}"
        )
    return (
        "for which no slot could ever be free: call the function itself, or give the batcher "
        f"{slots}"
    )
