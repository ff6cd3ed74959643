"""The core in plain Python: what ``_core.pyx`` does in C, written to be read.

The two have the same names and the same behaviour, and one test suite. This one is the
specification, the oracle of the tests, and what runs where nothing was compiled.

An item lives in an *entry*, which is in one of the lane's *homes*: the queue, or a flight. Moving
it is a matter of telling it its new home; the old home passes over entries that are not its own.
A *ticket* answers for one entry, or for the many of one ``submit_many``, and settles once.

Nothing here knows an event loop. A lane is given the clock and the ways to be called back; it
says when something is due, and its owner decides what to do about it.
"""

# The classes of this module share their internals.
# pyright: reportPrivateUsage=false

import heapq
import math
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextvars import Context, copy_context
from types import EllipsisType, GenericAlias
from typing import Any, Self, TypeAlias

from microbatch.errors import BatcherClosedError, CapacityError

__all__ = ["CallableFront", "Flight", "Front", "Lane", "Router", "Ticket", "TimerDescriptor"]

Timeout: TypeAlias = float | EllipsisType | None
"""Seconds, None for no limit, or ``...`` for the lane's own."""

RESOLUTION = 1e-9
"""Seconds: a loop may fire a timer one tick of its clock early."""

QUEUED, IN_FLIGHT = "queued", "in flight"
RETURNED, RAISED, CANCELLED = "returned", "raised", "cancelled"
PENDING = (QUEUED, IN_FLIGHT)


class _Entry:
    """Be one unsettled item, and know its ticket and where it is."""

    __slots__ = ("home", "index", "item", "submitted", "ticket")

    def __init__(self, ticket: "Ticket", item: Any, index: int, home: "_Home") -> None:
        self.ticket = ticket
        self.item = item
        self.index = index  # among the items of its ticket
        self.submitted = ticket.submitted
        self.home: _Home | None = home

    def settled(self) -> None:
        """Leave home, and let go of the ticket and the item."""
        del self.ticket, self.item
        self.home = None


class _Home:
    """Keep entries in their order."""

    def __init__(self) -> None:
        self._entries: deque[_Entry] = deque()

    def _here(self) -> Iterator[_Entry]:
        """Pass over the entries that are settled, or have gone elsewhere."""
        return (entry for entry in self._entries if entry.home is self)


# --------------------------------------------------------------------------------------- tickets
class Ticket:
    """Be the awaitable answer to one submission; made by a batcher, never by hand.

    Await it, or hand it to whatever takes an asyncio future: ``gather``, ``wait``, ``wait_for``,
    ``shield``, ``as_completed``. It settles exactly once. Cancelling it, or the task that awaits
    it, gives up its items and no others.
    """

    __slots__ = (
        "_asyncio_future_blocking",  # the mark of a future, and its handshake with a task
        "_callbacks",
        "_entries",
        "_lane",
        "_own_deadline",  # set for this ticket alone, so it stands in the heap
        "_state",
        "_value",  # the result, the exception, or the message of a cancellation
        "deadline",
        "submitted",
    )

    def __class_getitem__(cls, parameters: Any) -> GenericAlias:
        return GenericAlias(cls, parameters)

    def __init__(self) -> None:
        raise TypeError("a Ticket is made by submitting an item, never by hand")

    def _start(self, lane: "Lane", timeout: Timeout) -> None:
        self._asyncio_future_blocking = False
        self._callbacks: list[tuple[Callable[[Any], object], Context]] = []
        self._entries: list[_Entry] = []
        self._lane = lane
        self._own_deadline = timeout is not ...
        self._state = QUEUED
        self._value: Any = None
        self.submitted = lane._clock()
        self.deadline = self.submitted + lane._seconds(timeout)

    def __await__(self) -> Generator[Any, None, Any]:
        while not self.done():
            self._asyncio_future_blocking = True
            yield self
        return self.result()

    def get_loop(self) -> Any:
        """Give the event loop that the ticket belongs to."""
        return self._lane.loop

    def done(self) -> bool:
        """Tell whether the ticket has settled: with a result, an exception or a cancellation."""
        return self._state not in PENDING

    def cancelled(self) -> bool:
        """Tell whether the ticket was cancelled."""
        return self._state == CANCELLED

    def result(self) -> Any:
        """Give the result, or raise what the ticket failed with.

        Raises the loop's CancelledError when it was cancelled, and its InvalidStateError before it
        is done.
        """
        if self._state == RETURNED:
            return self._value
        if self._state == RAISED:
            # Without this every call would add to the same traceback.
            raise self._value.with_traceback(None)
        raise self._why_no_result()

    def exception(self) -> BaseException | None:
        """Give what the ticket failed with, None when it has a result; else raise as result()."""
        if self._state == RETURNED:
            return None
        if self._state == RAISED:
            error: BaseException = self._value
            return error
        raise self._why_no_result()

    def _why_no_result(self) -> BaseException:
        if self._state == CANCELLED:
            return self._make_cancelled_error()
        return self._lane._invalid_state_error("the result is not there yet")

    def _make_cancelled_error(self) -> BaseException:
        """Make the CancelledError of this ticket; asyncio asks for it by this name."""
        message = () if self._value is None else (self._value,)
        return self._lane._cancelled_error(*message)

    def cancel(self, msg: Any = None) -> bool:
        """Give up the items, queued or in flight; False when the ticket is done already.

        Settles at once. The handler never sees what was still queued.
        """
        if self.done():
            return False
        self._lane._cancel(self, msg)
        return True

    def add_done_callback(
        self, fn: Callable[[Any], object], /, *, context: Context | None = None
    ) -> None:
        """Have ``fn(ticket)`` called by the loop once the ticket is done, in ``context``.

        Without a context it is called in a copy of this call's. Callbacks are called in the order
        in which they were added, never from within this call.
        """
        self._callbacks.append((fn, copy_context() if context is None else context))
        if self.done() and len(self._callbacks) == 1:
            self._lane._settled.append(self)
            self._lane.wake_soon()

    def remove_done_callback(self, fn: Callable[[Any], object]) -> int:
        """Take back every callback that equals ``fn``; give their number."""
        before = len(self._callbacks)
        self._callbacks = [pair for pair in self._callbacks if pair[0] != fn]
        return before - len(self._callbacks)

    def _store(self, index: int, state: str, value: Any) -> str | None:  # noqa: ARG002
        """Keep an item's outcome, and give the ticket's own once it is known."""
        self._value = value
        return state

    def __repr__(self) -> str:
        return f"<Ticket of {self._lane.name!r}: {self._state}>"


class _Many(Ticket):
    """Be the one ticket of many items; its result is the list of theirs, in their order."""

    __slots__ = ("_failures", "_remaining", "_return_exceptions", "_values")

    def _start_many(self, count: int, return_exceptions: bool) -> None:
        self._values: list[Any] = [None] * count
        self._remaining = count
        self._failures: list[int] = []
        self._return_exceptions = return_exceptions

    def _store(self, index: int, state: str, value: Any) -> str | None:
        self._values[index] = value
        if state == RAISED:
            self._failures.append(index)
        self._remaining -= 1
        return None if self._remaining else self._conclude()

    def _conclude(self) -> str:
        """Make one outcome of all: the list, or the first of the failures by its place."""
        if self._failures and not self._return_exceptions:
            self._value = self._values[min(self._failures)]
            return RAISED
        self._value = self._values
        return RETURNED


# --------------------------------------------------------------------------------------- flights
class Flight(_Home):
    """Be the items of one handler call, from taking them to settling the last.

    Made by a lane. ``size`` counts the items that were taken, ``alive`` those that were not given
    up since (0 once it has landed), and ``departed`` is when they were taken. ``task`` and
    ``reason`` are the owner's to use.
    """

    def __class_getitem__(cls, parameters: Any) -> GenericAlias:
        return GenericAlias(cls, parameters)

    def __init__(self) -> None:
        super().__init__()
        self.size = 0
        self.alive = 0
        self.departed = 0.0
        self.task: Any = None
        self.reason: Any = None
        self._lane: Lane
        self._counted = False  # as late or dropped, so not once more when it is settled

    @property
    def items(self) -> list[Any]:
        """The items that are neither settled nor given up."""
        return [entry.item for entry in self._here()]

    @property
    def waits(self) -> list[float]:
        """Seconds from submission to departure, of each item that departed."""
        return [self.departed - entry.submitted for entry in self._entries]

    def resolve(
        self, results: tuple[Any, ...], individual: Callable[[BaseException], BaseException]
    ) -> None:
        """Settle each item with its result; ``results`` are as many as ``size``.

        An exception among them is a failure: its caller is given ``individual(exception)``.
        """
        if len(results) != self.size:
            raise ValueError(f"results must be {self.size} for this flight, got {len(results)}")
        for entry, value in zip(self._entries, results, strict=True):
            if entry.home is not self:
                continue
            if isinstance(value, BaseException):
                self._settle(entry, RAISED, individual(value))
            else:
                self._settle(entry, RETURNED, value)
        self._land()

    def fail(self, make_error: Callable[[Any], BaseException]) -> None:
        """Settle each item with an exception of its own, ``make_error(ticket)``."""
        for entry in self._entries:
            if entry.home is self:
                self._settle(entry, RAISED, make_error(entry.ticket))
        self._land()

    def _settle(self, entry: _Entry, state: str, value: Any) -> None:
        # Making the exception may have run code that cancelled the ticket.
        if entry.home is self:
            self._lane._settle(entry, state, value, self._counted)

    def _land(self) -> None:
        self.alive = 0
        if self in self._lane._flights:
            self._lane._flights.remove(self)


# ----------------------------------------------------------------------------------------- lanes
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
        self._clock, self._call_soon, self._call_at = clock, call_soon, call_at
        self._on_due, self._on_abandoned, self._on_idle = on_due, on_abandoned, on_idle
        self._on_callback_error = on_callback_error
        self._cancelled_error, self._invalid_state_error = cancelled_error, invalid_state_error
        self._hold: Callable[[], object] | None = hold
        self._held: object = None
        self._queue, self._live = _Home(), 0
        self._flights: list[Flight] = []
        self._heap: list[tuple[float, int, Ticket]] = []  # of the deadlines that are a ticket's own
        self._heap_number = self._heap_live = 0
        self._settled: deque[Ticket] = deque()  # whose callbacks are still to be called
        self._due_scheduled = self._wake_scheduled = False
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
    ) -> None:
        """Set the options that matter for single items; once, before the first of them."""
        self._batch_size, self._latency, self._overflow = max_batch_size, max_latency, overflow
        self._capacity = math.inf if capacity is None else capacity
        self._timeout = math.inf if timeout is None else timeout

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
        many = _Many.__new__(_Many)
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
        oldest._counted = True
        self.dropped += count
        oldest.fail(self.dropped_error)
        self.wake_soon()

    def dropped_error(self, _: Any) -> CapacityError:
        """Make the exception of an item that is dropped for a newer one."""
        return CapacityError(
            f"batcher {self.name!r} dropped its oldest queued item: capacity is {self._capacity}"
        )

    def _enqueue(self, ticket: Ticket, items: list[Any]) -> None:
        queue = self._queue
        if len(queue._entries) > 2 * self._live + 16:  # most of it has gone elsewhere
            queue._entries = deque(queue._here())
        entries = [_Entry(ticket, item, index, queue) for index, item in enumerate(items)]
        ticket._entries = entries
        queue._entries.extend(entries)
        if ticket._own_deadline and ticket.deadline < math.inf:
            self._heap_push(ticket)
        self._accepted(ticket, len(items))

    def _heap_push(self, ticket: Ticket) -> None:
        if len(self._heap) > max(64, 2 * self._heap_live):  # most of them are done
            self._heap = [entry for entry in self._heap if not entry[2].done()]
            heapq.heapify(self._heap)
        self._heap_number += 1
        self._heap_live += 1
        heapq.heappush(self._heap, (ticket.deadline, self._heap_number, ticket))

    def _accepted(self, ticket: Ticket, count: int) -> None:
        """Count the new items, and see to it that somebody looks at them in time."""
        self._live += count
        self.submitted += count
        self.unsettled += count
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
        entries = self._queue._entries
        while entries and entries[0].home is not self._queue:
            entries.popleft()
        return entries[0].ticket.submitted if entries else math.inf

    def waited(self, seconds: float) -> bool:
        """Tell whether the oldest item that is in no flight has waited that long."""
        return self.oldest + seconds <= self._clock() + RESOLUTION

    def take(self, limit: int) -> Flight:
        """Take the oldest queued items, at most ``limit``, into a flight."""
        flight = self._take_live(min(limit, self.queued))
        flight.departed = self._clock()
        self._flights.append(flight)
        return flight

    def _take_live(self, count: int) -> Flight:
        flight, queue = self._new_flight(), self._queue
        while flight.size < count:
            entry = queue._entries.popleft()
            if entry.home is queue:
                self._move(entry, flight)
        return flight

    def _new_flight(self) -> Flight:
        flight = Flight()
        flight._lane = self
        return flight

    def _move(self, entry: _Entry, flight: Flight) -> None:
        """Give an entry a new home."""
        if entry.home is self._queue:
            self._live -= 1
        entry.home = flight
        flight._entries.append(entry)
        flight.size += 1
        flight.alive += 1
        if not isinstance(entry.ticket, _Many):
            entry.ticket._state = IN_FLIGHT

    def _give_up(self, entries: list[_Entry], flight: Flight, hit: list[Flight]) -> None:
        """Move entries out of wherever they are; ``hit`` collects the flights they were in."""
        for entry in entries:
            home = entry.home
            self._move(entry, flight)
            if isinstance(home, Flight):
                home.alive -= 1
                if home._counted:  # as late, and now it comes to another end
                    self.late -= 1
                if home not in hit:
                    hit.append(home)
                if home.alive == 0:
                    home._land()

    def take_all(self) -> Flight:
        """Take every unsettled item, in flight ones too: what is left when closing times out."""
        every = self._new_flight()
        for home in (self._queue, *self._flights):
            self._give_up(list(home._here()), every, [])
        self._flights.append(every)
        return every

    # --------------------------------------------------------------------------------- settling
    def _settle(self, entry: _Entry, state: str, value: Any, counted: bool) -> None:
        ticket, index = entry.ticket, entry.index
        entry.settled()
        self.unsettled -= 1
        if not counted:
            self.completed += state == RETURNED
            self.failed += state == RAISED
        outcome = ticket._store(index, state, value)
        if outcome is not None:
            self._finish(ticket, outcome)

    def _finish(self, ticket: Ticket, state: str) -> None:
        ticket._state = state
        ticket._entries = []
        if ticket._own_deadline and ticket.deadline < math.inf:
            self._heap_live -= 1
        if ticket._callbacks:
            self._settled.append(ticket)

    def _cancel(self, ticket: Ticket, message: Any) -> None:
        given_up, hit = self._new_flight(), list[Flight]()
        some_waited = self.waiting > 0
        entries = [entry for entry in ticket._entries if entry.home is not None]
        self._give_up(entries, given_up, hit)
        for entry in entries:
            entry.settled()
        self.unsettled -= len(entries)
        self.cancelled += len(entries)
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
        queued, in_flight, hit = self._new_flight(), self._new_flight(), list[Flight]()
        self._give_up(late_of(self._queue, now), queued, hit)
        for flight in self._flights.copy():
            if not flight._counted:
                self._give_up(late_of(flight, now), in_flight, hit)
        while self._heap and self._heap[0][0] <= now:
            for entry in heapq.heappop(self._heap)[2]._entries:
                if entry.home is not None:
                    home = queued if entry.home is self._queue else in_flight
                    self._give_up([entry], home, hit)
        for flight in (queued, in_flight):
            flight._counted = True
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
        while self._heap and self._heap[0][2].done():
            heapq.heappop(self._heap)
        deadlines = [self._heap[0][0]] if self._heap else []
        for home in (self._queue, *(flight for flight in self._flights if not flight._counted)):
            common = (e.ticket.deadline for e in home._here() if not e.ticket._own_deadline)
            deadlines.append(next(common, math.inf))  # they rise along the entries
        return min(deadlines)

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

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._armed, self._timer = math.inf, None
        self._held = None
        self._on_idle()

    # ----------------------------------------------------------------------------------- waking
    def wake_soon(self) -> None:
        """Have the callbacks of settled tickets called by the loop."""
        if not self._wake_scheduled:
            self._wake_scheduled = True
            self._call_soon(self._woken)

    def _woken(self) -> None:
        """Be what wake_soon() has called."""
        self._wake_scheduled = False
        self.wake()
        if self.unsettled == 0:
            self._rest()

    def wake(self) -> None:
        """Call the callbacks of the tickets that have settled so far.

        An exit request that one of them raises goes on to the caller; the others are called soon.
        """
        left = len(self._settled)
        try:
            while left and self._settled:  # a callback may wake others itself
                left -= 1
                self._call_back(self._settled.popleft())
        except BaseException:
            self.wake_soon()
            raise

    def _call_back(self, ticket: Ticket) -> None:
        callbacks, ticket._callbacks = ticket._callbacks, []
        try:
            while callbacks:
                self._call(*callbacks.pop(0), ticket)
        finally:
            if callbacks:
                ticket._callbacks[:0] = callbacks
                self._settled.append(ticket)

    def _call(self, callback: Callable[[Any], object], context: Context, ticket: Ticket) -> None:
        try:
            context.run(callback, ticket)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._on_callback_error(error, callback, ticket)


def late_of(home: _Home, now: float) -> list[_Entry]:
    """Give the entries that are late, but for those with a deadline of their own."""
    late: list[_Entry] = []
    for entry in home._here():
        if entry.ticket._own_deadline:
            continue
        if entry.ticket.deadline > now:  # and so are all after it
            break
        late.append(entry)
    return late


def check_timeout(timeout: Any) -> None:
    """Raise TypeError or ValueError for what is no timeout."""
    if timeout is None or timeout is ...:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds or None, got {timeout!r}")
    if not timeout > 0:
        raise ValueError(f"timeout must be > 0, got {timeout!r}")


# ---------------------------------------------------------------------------------------- fronts
class Router:
    """Know the lane of the running loop."""

    def __init__(self, running_loop: Callable[[], object]) -> None:
        self.running_loop = running_loop

    def find_lane(self) -> Lane:
        """Give the running loop's lane; for the subclass to say."""
        raise NotImplementedError


class Front:
    """Be what items are submitted to."""

    def __class_getitem__(cls, parameters: Any) -> GenericAlias:
        return GenericAlias(cls, parameters)

    def __init__(self, router: Router) -> None:
        self.router = router

    def submit(self, item: Any, *, timeout: Timeout = ...) -> Ticket:
        """Submit one item, and give the ticket to await for its result.

        ``timeout``, in seconds, replaces the option of that name for this item; None is no limit.
        At capacity the item waits for admission, or CapacityError is raised, or the oldest queued
        item is dropped, as ``overflow`` says. Raises BatcherClosedError after closing, and
        RuntimeError where no event loop runs.
        """
        return self.router.find_lane()._push(item, timeout)

    def submit_nowait(self, item: Any, *, timeout: Timeout = ...) -> Ticket:
        """Submit one item as submit() does; raise CapacityError where it would have to wait."""
        lane = self.router.find_lane()
        if lane._overflow == "wait" and lane.unsettled >= lane._capacity and not lane.closed:
            lane._refuse(1)
        return lane._push(item, timeout)

    def _submit_waiting(self, item: Any) -> Ticket:
        """Submit one item as submit() does, and at capacity wait, whatever ``overflow`` says."""
        lane = self.router.find_lane()
        if lane.closed:
            lane._make_way(1)
        return lane._accept(item, ...)

    def submit_many(
        self, items: Iterable[Any], *, timeout: Timeout = ..., return_exceptions: bool = False
    ) -> Ticket:
        """Submit items with one ticket for all, whose result is the list of their results.

        It settles when all have. Where items fail, it raises the exception of the first of them
        by place, or with ``return_exceptions`` has each exception in its place. The items may be
        handled in several batches. For the rest it is as submit().
        """
        return self.router.find_lane()._push_many(list(items), timeout, bool(return_exceptions))


class CallableFront(Front):
    """Be a front that is called as its function would be, and is bound to instances as a method.

    A subclass has ``bind_to(instance, owner)``, which gives the front of an instance and may keep
    it in ``bound``, by the instance's ``id()``; and ``call_unbound(args, kwargs)``, for what is
    not callable as it stands.
    """

    bind_to: Callable[[Any, type | None], Any]
    call_unbound: Callable[[tuple[Any, ...], dict[str, Any]], Any]
    bound: dict[int, Any]
    instance: Any = None  # what this is bound to, alive as long as this
    definition: Any = None  # what was decorated: its owner's

    def set_call(self, arity: int, bind: Callable[..., Any] | None) -> None:
        """Say how a call becomes an item.

        ``arity`` positional arguments are the item as they stand, whatever else is given goes
        through ``bind``; 0 is not callable as it stands.
        """
        self._arity, self._bind, self.bound = arity, bind, {}

    def pinned(self, instance: Any) -> Self:
        """Give a front like this one that keeps ``instance`` alive."""
        front = type(self).__new__(type(self))
        front.router, front._arity, front._bind = self.router, self._arity, self._bind
        front.bound, front.definition, front.instance = self.bound, self.definition, instance
        return front

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        front = None if instance is None else self.bound.get(id(instance))
        return self.bind_to(instance, owner) if front is None else front.pinned(instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._arity == 0:
            return self.call_unbound(args, kwargs)
        if kwargs or len(args) != self._arity:
            assert self._bind is not None
            item = self._bind(*args, **kwargs)
        else:
            item = args[0] if self._arity == 1 else args
        return self.router.find_lane()._push(item, ...)


# ----------------------------------------------------------------------------------------- timer
class TimerDescriptor:
    """Be a Linux timerfd on the monotonic clock, to the microsecond; ``fd`` is -1 without one."""

    def __init__(self) -> None:
        system: Any = os  # it has timerfd since 3.13
        self.fd: int = -1
        if hasattr(system, "timerfd_create"):
            flags = system.TFD_NONBLOCK | system.TFD_CLOEXEC
            self.fd = system.timerfd_create(time.CLOCK_MONOTONIC, flags=flags)

    def arm(self, when: float) -> None:
        """Make the descriptor readable at that time; at once where it has passed."""
        self._set(when)

    def disarm(self) -> None:
        """Make it not readable."""
        self._set(0.0)

    def _set(self, when: float) -> None:
        system: Any = os
        if self.fd >= 0:
            system.timerfd_settime(self.fd, flags=system.TFD_TIMER_ABSTIME, initial=when)

    def close(self) -> None:
        """Give the descriptor back to the system; closing again does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        self.close()
