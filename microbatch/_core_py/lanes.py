"""Lanes: the queue, the deadlines, the timer and the wake-ups of one batcher on one loop."""

# The classes of the core share their internals.
# pyright: reportPrivateUsage=false

import math
from collections.abc import Callable
from types import EllipsisType
from typing import Any

from microbatch._core_py.deadlines import OwnDeadlines, earliest, late_of
from microbatch._core_py.flights import Flight, new_flight
from microbatch._core_py.histograms import Measures
from microbatch._core_py.slots import Slot, Slots
from microbatch._core_py.tickets import (
    CANCELLED,
    IN_FLIGHT,
    RAISED,
    RETURNED,
    Many,
    Ticket,
    Timeout,
)
from microbatch._core_py.waking import Waker
from microbatch.errors import BatcherClosedError, CapacityError

RESOLUTION = 1e-9
"""Seconds: a loop may fire a timer one tick of its clock early."""


class Lane:
    """Be the queue, the deadlines and the wake-ups of one batcher on one loop.

    ``clock`` gives the time. ``call_soon(callback)`` and ``call_at(when, callback)`` call back
    later, never at once; the latter gives a handle with ``cancel()``. The lane calls ``on_due()``
    when a batch or a deadline may be due, ``on_abandoned(flight)`` when nobody waits any more for
    any item of a flight, ``on_idle()`` when nothing is unsettled, and
    ``on_callback_error(error, callback, ticket)`` when a ticket's callback raises. While anything
    is unsettled it holds what ``hold()`` gave. ``done_future`` is for the compiled core only.

    ``slot_free`` is for the owner to set: whether a batch could be dispatched now.
    """

    def __init__(
        self,
        loop: Any,
        name: str,
        *,
        clock: Callable[[], float],
        call_soon: Callable[[Callable[[], object]], object],
        call_at: Callable[[float, Callable[[], object]], Any],
        on_due: Callable[[], object],
        on_abandoned: Callable[[Any], object],
        on_idle: Callable[[], object],
        on_callback_error: Callable[[BaseException, Any, Any], object],
        hold: Callable[[], object] | None,
        cancelled_error: Callable[..., BaseException],
        invalid_state_error: Callable[..., BaseException],
        done_future: object,  # noqa: ARG002
    ) -> None:
        self.loop = loop
        self.name = name
        self.closed = False
        self.submitted = self.completed = self.failed = self.cancelled = 0
        self.late = self.rejected = self.dropped = 0
        self.unsettled = 0
        self.slot_free = False
        self.measures = Measures()
        self._clock, self._call_soon, self._call_at = clock, call_soon, call_at
        self._on_due, self._on_abandoned, self._on_idle = on_due, on_abandoned, on_idle
        self._cancelled_error, self._invalid_state_error = cancelled_error, invalid_state_error
        self._hold: Callable[[], object] | None = hold
        self._held: object = None
        self._queue, self._live = Slots(), 0
        self._flights: list[Flight] = []
        self._own_deadlines = OwnDeadlines()
        self._waker = Waker(self, call_soon, on_callback_error)
        self._due_scheduled = False
        self._timer: Any = None
        self._armed = math.inf

    def configure(
        self,
        *,
        max_batch_size: int,
        max_latency: float,
        capacity: int | None,
        overflow: str,
        timeout: float | None,
        capture: bool = False,
    ) -> None:
        """Set the options that matter for single items; once, before the first of them."""
        self._batch_size, self._latency, self._overflow = max_batch_size, max_latency, overflow
        self._capacity = math.inf if capacity is None else capacity
        self._timeout = math.inf if timeout is None else timeout
        self._capture = capture

    def close(self) -> None:
        """Refuse new items from now on."""
        self.closed = True

    # ------------------------------------------------------------------------------- submitting
    def _push(self, item: Any, timeout: Timeout) -> Ticket:
        check_timeout(timeout)
        self._make_way(1)
        return self._accept(item, timeout)

    def _accept(self, item: Any, timeout: Timeout) -> Ticket:
        ticket = Ticket.__new__(Ticket)
        ticket._start(self, timeout)
        self._enqueue(ticket, [item])
        return ticket

    def _push_many(self, items: list[Any], timeout: Timeout, return_exceptions: bool) -> Ticket:
        check_timeout(timeout)
        self._make_way(len(items))
        many = Many.__new__(Many)
        many._start(self, timeout)
        many._start_many(len(items), return_exceptions)
        if items:
            self._enqueue(many, items)
        else:
            many._state = many._conclude()
        return many

    def _seconds(self, timeout: Timeout) -> float:
        if timeout is None:
            return math.inf
        return self._timeout if isinstance(timeout, EllipsisType) else timeout

    def _make_way(self, count: int) -> None:
        """Refuse ``count`` new items, or drop the oldest queued ones for them, or neither."""
        if self.closed:
            self.rejected += count
            raise BatcherClosedError(f"batcher {self.name!r} is closed")
        excess = self.unsettled + count - self._capacity
        if excess <= 0 or self._overflow == "wait":
            return
        # What waits for admission may exceed the capacity; that is not for these to make up for.
        excess = min(excess, count)
        if self._overflow == "reject" or excess > self._live:
            self._refuse(count)
        self._drop_oldest(int(excess))

    def _refuse(self, count: int) -> None:
        self.rejected += count
        raise CapacityError(
            f"batcher {self.name!r} has no room for {count} more: "
            f"capacity is {self._capacity}, {self.unsettled} items are unsettled"
        )

    def _drop_oldest(self, count: int) -> None:
        oldest = self._take_live(count)
        oldest._counted = "dropped"
        self.dropped += oldest.size
        self._flights.append(oldest)
        oldest.fail(self.dropped_error)
        self.wake_soon()

    def dropped_error(self, _: Any) -> CapacityError:
        """Make the exception of an item that is dropped for a newer one."""
        return CapacityError(
            f"batcher {self.name!r} dropped its oldest queued item: capacity is {self._capacity}"
        )

    def _enqueue(self, ticket: Ticket, items: list[Any]) -> None:
        if len(self._queue._slots) > 2 * self._live + 16:  # most of it has gone elsewhere
            self._queue._squeeze()
        ticket._slots = [Slot(ticket, item, place, self._queue) for place, item in enumerate(items)]
        self._queue._slots.extend(ticket._slots)
        self._accepted(ticket, len(items))

    def _accepted(self, ticket: Ticket, count: int) -> None:
        """Count the new items, and see to it that somebody looks at them in time."""
        self._live += count
        self.submitted += count
        self.unsettled += count
        if ticket._own_deadline and ticket.deadline < math.inf:
            self._own_deadlines.add(ticket)
        if self.unsettled == count and self._hold is not None:
            self._held = self._hold()
        due, when = False, ticket.deadline
        if self.slot_free and self.queued:
            due = self.queued >= self._batch_size or self.unsettled >= self._capacity
            if self._latency > 0:
                when = min(when, ticket.submitted + self._latency)
            elif not due:
                self._due_soon()
        self._arm(when)
        if due:
            self._on_due()

    def _due_soon(self) -> None:
        if not self._due_scheduled:
            self._due_scheduled = True
            self._call_soon(self.due)

    # ----------------------------------------------------------------------------------- taking
    @property
    def queued(self) -> int:
        """How many items could be taken: the oldest, as far as the capacity goes."""
        return self._live - self.waiting

    @property
    def waiting(self) -> int:
        """How many items, the youngest, are beyond the capacity and wait for admission."""
        return int(min(max(self.unsettled - self._capacity, 0), self._live))

    @property
    def oldest(self) -> float:
        """When the oldest item that is in no flight was submitted; infinity without one."""
        self._queue._skip_holes()
        slots = self._queue._slots
        return slots[0].submitted if slots else math.inf

    def waited(self, seconds: float) -> bool:
        """Tell whether the oldest item that is in no flight has waited that long."""
        return self.oldest + seconds <= self._clock() + RESOLUTION

    def take(self, limit: int) -> Flight:
        """Take the oldest queued items, at most ``limit``, into a flight."""
        flight = self._take_live(min(limit, self.queued))
        flight.departed = self._clock()
        self.measures._departed(flight.waits, self._batch_size)
        self._flights.append(flight)
        return flight

    def _take_live(self, count: int) -> Flight:
        flight = new_flight(self)
        while flight.size < count and self._live:
            self._queue._skip_holes()
            self._move(self._queue._slots.popleft(), flight)
        return flight

    def _move(self, slot: Slot, flight: Flight) -> None:
        """Give a slot a new home."""
        if slot.home is self._queue:
            self._live -= 1
        slot.home = flight
        flight._slots.append(slot)
        flight.size += 1
        flight.alive += 1
        if not isinstance(slot.ticket, Many):
            slot.ticket._state = IN_FLIGHT

    def _give_up(self, slots: list[Slot], flight: Flight, hit: list[Flight]) -> None:
        """Move slots out of wherever they are; ``hit`` collects the flights they were in."""
        for slot in slots:
            home = slot.home
            self._move(slot, flight)
            if isinstance(home, Flight):
                home.alive -= 1
                if home._counted == "late":  # and now it comes to another end
                    self.late -= 1
                elif home._counted == "dropped":
                    self.dropped -= 1
                if home not in hit:
                    hit.append(home)
                if home.alive == 0:
                    home._land()

    def take_all(self) -> Flight:
        """Take every unsettled item, in flight ones too: what is left when closing times out."""
        every = new_flight(self)
        for home in (self._queue, *self._flights):
            self._give_up(list(home._here()), every, [])
        self._flights.append(every)
        return every

    # --------------------------------------------------------------------------------- settling
    def _settle(self, slot: Slot, state: str, value: Any, counted: bool) -> None:
        ticket, index, _item = slot.ticket, slot.index, slot.item  # let go of last
        slot.vacate()
        self.unsettled -= 1
        if not counted:
            self.completed += state == RETURNED
            self.failed += state == RAISED
        outcome = ticket._store(index, state, value)
        if outcome is not None:
            self._finish(ticket, outcome)

    def _finish(self, ticket: Ticket, state: str) -> None:
        ticket._state = state
        ticket._slots = []
        if ticket._own_deadline and ticket.deadline < math.inf:
            self._own_deadlines.live -= 1
        if ticket._callbacks:
            self._waker.add(ticket)

    def _cancel(self, ticket: Ticket, message: Any) -> None:
        given_up, hit = new_flight(self), list[Flight]()
        some_waited = self.waiting > 0
        slots = [slot for slot in ticket._slots if slot.home is not None]
        self._give_up(slots, given_up, hit)
        for slot in slots:
            slot.vacate()
        self.unsettled -= len(slots)
        self.cancelled += len(slots)
        ticket._value = message
        self._finish(ticket, CANCELLED)
        if some_waited and self.slot_free:  # and may have been admitted now
            self._due_soon()
        self.wake_soon()
        self._tell_abandoned(hit)

    def _tell_abandoned(self, hit: list[Flight]) -> None:
        for flight in hit:
            if flight.alive == 0:
                self._on_abandoned(flight)

    # -------------------------------------------------------------------------------- deadlines
    def take_late(self) -> tuple[Flight, Flight, list[Flight]]:
        """Take what has passed its deadline: the queued, those in flight, and the flights hit.

        The first two are for the owner to settle; until then their items count as late.
        """
        now = self._clock() + RESOLUTION
        queued, in_flight, hit = new_flight(self), new_flight(self), list[Flight]()
        self._give_up(late_of(self._queue, now), queued, hit)
        for flight in self._flights.copy():
            if not flight._counted:
                self._give_up(late_of(flight, now), in_flight, hit)
        while self._own_deadlines.earliest() <= now:
            for slot in self._own_deadlines.pop()._slots:
                if slot.home is not None:
                    home = queued if slot.home is self._queue else in_flight
                    self._give_up([slot], home, hit)
        for flight in (queued, in_flight):
            flight._counted = "late"
            self.late += flight.size
            if flight.size:
                self._flights.append(flight)
        self._tell_abandoned(hit)
        return queued, in_flight, hit

    @property
    def overdue(self) -> bool:
        """Tell whether take_late() would take anything."""
        return self._next_deadline() <= self._clock() + RESOLUTION

    def _next_deadline(self) -> float:
        homes = (self._queue, *(flight for flight in self._flights if not flight._counted))
        return min(self._own_deadlines.earliest(), *map(earliest, homes))

    # ------------------------------------------------------------------------------------ timer
    def _arm(self, when: float) -> None:
        """Be called back by then; a call that comes sooner will arm the timer anew."""
        if when < self._armed:
            if self._timer is not None:
                self._timer.cancel()
            self._armed = when
            self._timer = self._call_at(when, self.fire)

    def fire(self) -> None:
        """Be the timer's callback."""
        self._armed, self._timer = math.inf, None
        self._on_due()

    def due(self) -> None:
        """Be what is called soon after a submission that need not wait for others."""
        self._due_scheduled = False
        self._on_due()

    def rearm(self) -> None:
        """Set the timer to what is next; called by the owner once it has dispatched what is due."""
        if self.unsettled == 0:
            self._rest()
            return
        self._arm(self._next_deadline())
        if self.slot_free and self.queued:
            self._arm(self.oldest + self._latency)

    def _rest_if_idle(self) -> None:
        if self.unsettled == 0:
            self._rest()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._armed, self._timer = math.inf, None
        self._held = None
        self._on_idle()

    # ----------------------------------------------------------------------------------- waking
    def wake_soon(self) -> None:
        """Have the callbacks of settled tickets called by the loop."""
        self._waker.soon()

    def wake(self) -> None:
        """Call the callbacks of the tickets that have settled so far.

        An exit request that one of them raises goes on to the caller; the others are called soon.
        """
        self._waker.run()


def check_timeout(timeout: Any) -> None:
    """Raise TypeError or ValueError for what is no timeout."""
    if timeout is None or timeout is ...:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds or None, got {timeout!r}")
    if not timeout > 0:
        raise ValueError(f"timeout must be > 0, got {timeout!r}")
