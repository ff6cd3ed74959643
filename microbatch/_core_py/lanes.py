"""Lanes: the queue, the deadlines, the timer and the wake-ups of one batcher on one loop."""

# The classes of the core share their internals.
# pyright: reportPrivateUsage=false

import math
from collections.abc import Callable
from types import EllipsisType
from typing import Any

from microbatch._core_py.deadlines import (
    OwnDeadlines,
    check_timeout,
    next_deadline,
    retime,
    take_late,
)
from microbatch._core_py.dropping import drop_for
from microbatch._core_py.flights import Flight, new_flight
from microbatch._core_py.grouping import Groups, Traits
from microbatch._core_py.groups import Group
from microbatch._core_py.histograms import Measures
from microbatch._core_py.leaving import Leaving
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
        self.late = self.rejected = self.dropped = self.deduplicated = 0
        self.unsettled = 0
        self.joined = 0  # of these, how many are handled with an equal one
        self.slot_free = False
        self.measures = Measures()
        self._clock, self._call_soon, self._call_at = clock, call_soon, call_at
        self._on_due, self._on_abandoned, self._on_idle = on_due, on_abandoned, on_idle
        self._cancelled_error, self._invalid_state_error = cancelled_error, invalid_state_error
        self._hold: Callable[[], object] | None = hold
        self._held: object = None
        self._queue, self._live = Slots(), 0
        self._groups: Groups | None = None
        self._batch_weight = self._timeout = math.inf
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
        max_batch_weight: float | None = None,
        capture: bool = False,
    ) -> None:
        """Set the options that matter for single items; what is unsettled obeys them too."""
        if self._groups is not None:
            self._groups._admit()  # by the capacity so far: what is admitted stays so
        self._batch_size, self._latency, self._overflow = max_batch_size, max_latency, overflow
        self._capacity = math.inf if capacity is None else capacity
        self._batch_weight = math.inf if max_batch_weight is None else max_batch_weight
        self._capture = capture
        self._set_timeout(math.inf if timeout is None else timeout)
        if self._groups is not None:
            self._groups._reconsider()

    def _set_timeout(self, timeout: float) -> None:
        changed, self._timeout = timeout != self._timeout, timeout
        if changed and self.unsettled:
            retime(self)
            self._arm(next_deadline(self))

    def group(
        self,
        *,
        key: Callable[[Any], Any] | None = None,
        weigh: Callable[[Any], float] | None = None,
        priority: Callable[[Any], float] | None = None,
        dedupe: Callable[[Any], Any] | None = None,
        refuse_overweight: bool = False,
        ageing: float = 1.0,
        max_batches_per_key: int | None = None,
    ) -> None:
        """Have items stand in groups from now on, by what these functions say of each.

        Called at most once; what is queued already has no key, and weighs 1. ``ageing`` is how many
        seconds of waiting make up for one step of priority. A batch is taken by next_group() and
        take_group() then.
        """
        if self._groups is not None:
            raise RuntimeError("a lane must be grouped only once")
        groups = self._grouped()
        groups._key, groups._weigh, groups._priority = key, weigh, priority
        groups._ageing = ageing
        if priority is not None:
            groups._rank_all()
        groups._dedupe, groups._refuses_overweight = dedupe, refuse_overweight
        if max_batches_per_key is not None:
            groups._most_per_key = max_batches_per_key

    @property
    def grouped(self) -> bool:
        """Whether items stand in groups."""
        return self._groups is not None

    def close(self) -> None:
        """Refuse new items from now on."""
        self.closed = True

    # ------------------------------------------------------------------------------- submitting
    def _push(self, item: Any, timeout: Timeout, *own: Any) -> Ticket:
        """Accept one item; ``own`` are a weight, a key and a priority, or ``...`` for each."""
        check_timeout(timeout)
        traits = self._ask([item], *own)
        self._make_way(1, traits)
        return self._accept(item, timeout, traits)

    def _accept(self, item: Any, timeout: Timeout, traits: list[Traits] | None) -> Ticket:
        ticket = Ticket.__new__(Ticket)
        ticket._start(self, timeout)
        self._enqueue(ticket, [item], traits)
        return ticket

    def _push_many(
        self, items: list[Any], timeout: Timeout, return_exceptions: bool, *own: Any
    ) -> Ticket:
        check_timeout(timeout)
        traits = self._ask(items, *own)
        self._make_way(len(items), traits)
        many = Many.__new__(Many)
        many._start(self, timeout)
        many._start_many(len(items), return_exceptions)
        if items:
            self._enqueue(many, items, traits)
        else:
            many._state = many._conclude()
        return many

    def _ask(
        self, items: list[Any], weight: Any = ..., key: Any = ..., priority: Any = ...
    ) -> list[Traits] | None:
        """Ask what each item weighs, and where it belongs; None where nobody wants to know."""
        if self._groups is None and weight is key is priority is ...:
            return None
        self._refuse_when_closed(len(items))
        if weight is not ... and self._batch_weight == math.inf:
            raise ValueError(f"weight must not be given without max_batch_weight, got {weight!r}")
        return self._grouped()._ask_all(items, weight, key, priority)

    def _grouped(self) -> Groups:
        """Have items stand in groups; those that are queued already have no key and no weight."""
        groups = self._groups
        if groups is None:
            groups = self._groups = Groups(self)
            groups._take_over()
        return groups

    def _seconds(self, timeout: Timeout) -> float:
        if timeout is None:
            return math.inf
        return self._timeout if isinstance(timeout, EllipsisType) else float(timeout)

    def _make_way(self, count: int, traits: list[Traits] | None) -> None:
        """Refuse ``count`` new items, or drop the oldest queued ones for them, or neither."""
        try:
            self._refuse_when_closed(count)
            drop_for(self, count)
        except BaseException:
            if traits is not None:
                self._grouped()._refuse(traits)
            raise

    def _refuse_when_closed(self, count: int) -> None:
        if self.closed:
            self.rejected += count
            raise BatcherClosedError(f"batcher {self.name!r} is closed")

    def _refuse(self, count: int) -> None:
        self.rejected += count
        raise CapacityError(
            f"batcher {self.name!r} has no room for {count} more: "
            f"capacity is {self._capacity}, {self.unsettled} items are unsettled"
        )

    def dropped_error(self, _: Any) -> CapacityError:
        """Make the exception of an item that is dropped for a newer one."""
        return CapacityError(
            f"batcher {self.name!r} dropped its oldest queued item: capacity is {self._capacity}"
        )

    def _enqueue(self, ticket: Ticket, items: list[Any], traits: list[Traits] | None) -> None:
        if len(self._queue._slots) > 2 * self._live + 16:  # most of it has gone elsewhere
            self._queue._squeeze()
            if self._groups is not None:
                self._groups._squeeze()
        self.submitted += len(items)
        self.unsettled += len(items)
        if (
            traits is None and self._groups is not None
        ):  # since a moment ago: a finalizer came first
            traits = [self._groups._ask_nothing() for _ in items]
        if traits is None:
            slots = [Slot(ticket, item, place, self._queue) for place, item in enumerate(items)]
            self._queue._slots.extend(slots)
            self._live += len(slots)
            ticket._slots = slots
        else:
            ticket._slots = self._grouped()._stand(ticket, items, traits)
        self._accepted(ticket, len(items))
        self._tidy()

    def _accepted(self, ticket: Ticket, count: int) -> None:
        """See to it that somebody looks at the new items in time."""
        if ticket._own_deadline and ticket.deadline < math.inf:
            self._own_deadlines.add(ticket)
        if self.unsettled == count and self._hold is not None:
            self._held = self._hold()
        due, when = False, ticket.deadline
        if self._groups is not None:
            due = self._groups._look()
            when = min(when, self._groups._company())
        elif self.slot_free and self.queued:
            due = self.queued >= self._batch_size or self.crowded
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
        queued = self._live - self._beyond
        return queued if self._groups is None else max(queued, self._groups._admitted)

    @property
    def waiting(self) -> int:
        """How many items, the youngest, are beyond the capacity and wait for admission."""
        return self._live - self.queued

    @property
    def _beyond(self) -> int:
        return int(min(max(self._load - self._capacity, 0), self._live))

    @property
    def _load(self) -> int:
        """How many unsettled items there are, equal ones that are handled together as one."""
        return self.unsettled - self.joined

    @property
    def crowded(self) -> bool:
        """Whether nothing more could be admitted, so that to wait for company is pointless."""
        load = self._load if self._overflow == "wait" else self.unsettled
        return load >= self._capacity

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
        flight, count = new_flight(self), min(limit, self.queued)
        while flight.size < count:
            self._move(self._queue._pop(), flight)
        flight.weight = float(flight.size)
        return self._depart(flight)

    def next_group(self, before: float, anyway: bool) -> Group | None:
        """Give the group to take from next; None where all should wait.

        It is the first of those that are full, or heavy, or whose oldest item was submitted by
        ``before``, or of all where the latency is 0: the one whose first item has the lowest rank,
        or was admitted before the others of that rank. With ``anyway`` it may be another, then the
        one with the oldest item.
        """
        return self._grouped()._next(before, anyway)

    def take_group(self, group: Group) -> Flight:
        """Take the first items of a group into a flight, as many as may go together."""
        return self._depart(self._grouped()._take(group))

    def leave_group(self, flight: Flight) -> None:
        """Take note that the batch of a flight is not under way any more."""
        if flight.group is not None:
            self._grouped()._land(flight.group)

    def _depart(self, flight: Flight) -> Flight:
        flight.departed = self._clock()
        self.measures._departed(flight.waits, self._batch_size)
        self._flights.append(flight)
        self._tidy()
        return flight

    def _tidy(self) -> None:
        """Let groups and shared items go that are no longer needed; it may run the users' code."""
        if self._groups is not None:
            self._groups._tidy()

    def _move(self, slot: Slot, flight: Flight) -> None:
        """Give a slot a new home."""
        if slot.home is self._queue:
            self._live -= 1
            if self._groups is not None:
                self._groups._left(slot)
        slot.home = flight
        flight._slots.append(slot)
        flight.size += 1
        flight.alive += 1
        if not isinstance(slot.ticket, Many):
            slot.ticket._state = IN_FLIGHT

    def take_all(self) -> Flight:
        """Take every unsettled item, in flight ones too: what is left when closing times out."""
        every = new_flight(self)
        leaving = Leaving(self, every, every)
        for home in (self._queue, *self._flights):
            leaving.take(list(home._here()))
        self._flights.append(every)
        self._tidy()
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
        given_up = new_flight(self)
        leaving = Leaving(self, given_up, given_up)
        some_waited = self.waiting > 0
        leaving.take(ticket._slots)
        self.unsettled -= given_up.size
        self.cancelled += given_up.size
        ticket._value = message
        self._finish(ticket, CANCELLED)
        if some_waited and self.slot_free:  # and may have been admitted now
            self._due_soon()
        self.wake_soon()
        self._tidy()
        leaving.tell_abandoned()
        for slot in given_up._here():
            slot.vacate()

    # -------------------------------------------------------------------------------- deadlines
    def take_late(self) -> tuple[Flight, Flight, list[Flight]]:
        """Take what has passed its deadline: the queued, those in flight, and the flights hit.

        The first two are for the owner to settle; until then their items count as late.
        """
        if self._groups is not None:
            self._groups._admit()  # what is admitted stays so, whoever leaves
        leaving = Leaving(self, new_flight(self), new_flight(self))
        take_late(self, leaving, self._clock() + RESOLUTION)
        for flight in (leaving.queued, leaving.in_flight):
            flight._counted = "late"
            self.late += flight.size
            if flight.size:
                self._flights.append(flight)
        self._tidy()
        leaving.tell_abandoned()
        return leaving.queued, leaving.in_flight, leaving.hit

    @property
    def overdue(self) -> bool:
        """Tell whether take_late() would take anything."""
        return next_deadline(self) <= self._clock() + RESOLUTION

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
        self._arm(next_deadline(self))
        if self._groups is not None:
            self._arm(self._groups._company())
        elif self.slot_free and self.queued:
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
