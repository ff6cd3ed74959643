"""What a lane does, in plain lists, written to be obvious and for nothing else."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from microbatch.errors import BatcherClosedError, CapacityError
from tests.core.world import Cancelled, InvalidState


@dataclasses.dataclass(eq=False)
class Item:
    value: int
    ticket: Ticket
    index: int
    late: bool = False
    dropped: bool = False
    settled: bool = False


@dataclasses.dataclass(eq=False)
class Ticket:
    number: int
    submitted: float
    deadline: float
    own_deadline: bool
    many: bool
    return_exceptions: bool = False
    items: list[Item] = dataclasses.field(default_factory=list)
    results: dict[int, Any] = dataclasses.field(default_factory=dict)
    state: str = "pending"
    value: Any = None
    callbacks: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(eq=False)
class Flight:
    number: int | None
    places: list[Item]  # all that it ever had
    here: list[Item]  # what is still in it
    alive: int
    departed: float


class Model:
    """Take the same calls as a World, by number where those take objects."""

    def __init__(self, **options: Any) -> None:
        self.now = 100.0
        self.options = options
        self.batch_size: int = options["max_batch_size"]
        self.latency: float = options["max_latency"]
        self.overflow: str = options["overflow"]
        self.capacity = math.inf if options["capacity"] is None else options["capacity"]
        self.timeout = math.inf if options["timeout"] is None else options["timeout"]
        self.slot_free = True
        self.closed = False
        self.queue: list[Item] = []
        self.flying: list[Flight] = []
        self.flights: list[Flight] = []
        self.tickets: list[Ticket] = []
        self.to_wake: list[Ticket] = []
        self.soon: list[str] = []
        self.armed = math.inf
        self.held = False
        self.log: list[tuple[Any, ...]] = []
        self.counters = dict.fromkeys(
            ("submitted", "completed", "failed", "cancelled", "late", "dropped", "rejected"), 0
        )

    # ------------------------------------------------------------------------------- what is seen
    @property
    def unsettled(self) -> int:
        return sum(not item.settled for ticket in self.tickets for item in ticket.items)

    @property
    def waiting(self) -> int:
        in_flight = self.unsettled - len(self.queue)
        room = max(self.capacity - in_flight, 0)
        return int(max(len(self.queue) - room, 0))

    @property
    def queued(self) -> int:
        return len(self.queue) - self.waiting

    @property
    def oldest(self) -> float:
        return self.queue[0].ticket.submitted if self.queue else math.inf

    @property
    def next_deadline(self) -> float:
        """When the next item is late that was not taken as late yet."""
        pending = [t for t in self.tickets if t.state == "pending"]
        deadlines = [t.deadline for t in pending for i in t.items if not i.settled and not i.late]
        return min(deadlines, default=math.inf)

    @property
    def overdue(self) -> bool:
        return self.next_deadline <= self.now

    def outcome(self, ticket: Ticket) -> Any:
        if ticket.state == "pending":
            return InvalidState("the result is not there yet")
        if ticket.state == "cancelled":
            return Cancelled() if ticket.value is None else Cancelled(ticket.value)
        return ticket.value

    # --------------------------------------------------------------------------------- submitting
    def submit(
        self,
        values: list[int],
        timeout: Any,
        *,
        how: str = "submit",
        return_exceptions: bool = False,
    ) -> Ticket:
        if how == "_submit_waiting":
            self.refuse_when_closed(1)
        elif how == "submit_nowait" and self.overflow == "wait" and not self.closed:
            if self.unsettled >= self.capacity:
                self.refuse(1)
        else:
            self.make_way(len(values))
        own = timeout is not ...
        seconds = self.timeout if timeout is ... else math.inf if timeout is None else timeout
        ticket = Ticket(
            len(self.tickets),
            self.now,
            self.now + seconds,
            own,
            how == "submit_many",
            return_exceptions,
        )
        if not values:
            ticket.state, ticket.value = "returned", []
            self.tickets.append(ticket)
            return ticket
        if not self.unsettled:
            self.held = True
            self.log.append(("hold",))
        self.tickets.append(ticket)
        ticket.items = [Item(value, ticket, index) for index, value in enumerate(values)]
        self.queue += ticket.items
        self.counters["submitted"] += len(values)
        self.look_at_queue(ticket)
        return ticket

    def refuse_when_closed(self, count: int) -> None:
        if self.closed:
            self.counters["rejected"] += count
            raise BatcherClosedError

    def refuse(self, count: int) -> None:
        self.counters["rejected"] += count
        raise CapacityError

    def make_way(self, count: int) -> None:
        self.refuse_when_closed(count)
        too_many = self.unsettled + count - self.capacity
        if self.overflow == "wait" or too_many <= 0 or not count:
            return
        too_many = min(too_many, count)
        if self.overflow == "reject" or too_many > len(self.queue):
            self.refuse(count)
        some_waited = self.waiting > 0
        for item in self.queue[: int(too_many)]:
            self.queue.remove(item)
            self.counters["dropped"] += 1
            item.dropped = True
            self.settle(item, CapacityError())
        self.let_in(some_waited)
        self.wake_soon()

    def look_at_queue(self, ticket: Ticket) -> None:
        if not self.slot_free or not self.queued:
            self.arm(ticket.deadline)
            return
        full = self.queued >= self.batch_size or self.unsettled >= self.capacity
        if self.latency:
            self.arm(min(ticket.deadline, ticket.submitted + self.latency))
        else:
            if not full:
                self.call_soon("due")
            self.arm(ticket.deadline)
        if full:
            self.log.append(("due",))

    # ------------------------------------------------------------------------------------- taking
    def take(self, limit: int) -> Flight:
        taken = self.queue[: min(limit, self.queued)]
        self.queue = self.queue[len(taken) :]
        return self.fly(taken, departed=self.now)

    def fly(self, items: list[Item], departed: float = 0.0) -> Flight:
        flight = Flight(len(self.flights), list(items), list(items), len(items), departed)
        self.flights.append(flight)
        self.flying.append(flight)
        return flight

    def give_up(self, item: Item) -> Flight | None:
        """Take an item out of wherever it is, and tell which flight that was."""
        if item in self.queue:
            self.queue.remove(item)
            return None
        (flight,) = (flight for flight in self.flying if item in flight.here)
        flight.here.remove(item)
        flight.alive -= 1
        return flight

    def tell_abandoned(self, hit: list[Flight]) -> None:
        for flight in hit:
            if flight.alive == 0:
                self.flying = [each for each in self.flying if each is not flight]
                self.log.append(("abandoned", flight.number))

    def take_late(self) -> tuple[Flight, Flight, list[Flight]]:
        def is_late(item: Item) -> bool:
            return item.ticket.deadline <= self.now and not item.late

        everywhere = [*self.queue, *(item for flight in self.flying for item in flight.here)]
        late = [item for item in everywhere if is_late(item)]
        common = [item for item in late if not item.ticket.own_deadline]
        own = [item for item in late if item.ticket.own_deadline]
        own.sort(key=lambda item: (item.ticket.deadline, item.ticket.number, item.index))
        queued: list[Item] = []
        in_flight: list[Item] = []
        hit: list[Flight] = []
        for item in [*common, *own]:
            flight = self.give_up(item)
            (queued if flight is None else in_flight).append(item)
            if flight is not None and flight not in hit:
                hit.append(flight)
            item.late = True
        self.counters["late"] += len(late)
        self.tell_abandoned(hit)
        return self.fly(queued), self.fly(in_flight), hit

    def take_all(self) -> Flight:
        every = [*self.queue, *(item for flight in self.flying for item in flight.here)]
        for item in every:
            self.uncount_late(item)
            self.give_up(item)
        for flight in self.flying:
            flight.alive = 0
        self.flying = []
        return self.fly(every)

    def uncount_late(self, item: Item) -> None:
        if item.late:
            self.counters["late"] -= 1
            item.late = False

    # ----------------------------------------------------------------------------------- settling
    def let_in(self, some_waited: bool) -> None:
        """Have those looked at that waited for admission."""
        if some_waited and self.slot_free:
            self.call_soon("due")

    def resolve(self, flight: Flight, results: list[Any]) -> None:
        some_waited = self.waiting > 0
        for item, result in zip(flight.places, results, strict=True):
            if item in flight.here:
                self.settle(item, result)
        self.land(flight)
        self.let_in(some_waited)

    def fail(self, flight: Flight, error: BaseException) -> None:
        some_waited = self.waiting > 0
        for item in flight.here:
            self.settle(item, error)
        self.land(flight)
        self.let_in(some_waited)

    def settle_at(self, flight: Flight, place: int, result: Any) -> bool:
        item = flight.places[place]
        if item not in flight.here:
            return False
        some_waited = self.waiting > 0
        flight.here.remove(item)
        flight.alive -= 1
        self.settle(item, result)
        if not flight.alive:
            self.land(flight)
        self.let_in(some_waited)
        return True

    def part(self, flight: Flight, start: int, stop: int) -> Flight:
        items = [item for item in flight.places[start:stop] if item in flight.here]
        flight.here = [item for item in flight.here if item not in items]
        flight.alive -= len(items)
        part = self.fly(items, departed=flight.departed)
        if items and not flight.alive:
            self.land(flight)
        return part

    def land(self, flight: Flight) -> None:
        flight.here, flight.alive = [], 0
        self.flying = [each for each in self.flying if each is not flight]

    def settle(self, item: Item, result: Any) -> None:
        item.settled = True
        failed = isinstance(result, BaseException)
        if not item.late and not item.dropped:
            self.counters["failed" if failed else "completed"] += 1
        ticket = item.ticket
        ticket.results[item.index] = result
        if len(ticket.results) < len(ticket.items):
            return
        in_order = [ticket.results[index] for index in range(len(ticket.items))]
        failures = [result for result in in_order if isinstance(result, BaseException)]
        if not ticket.many:
            self.finish(ticket, "raised" if failed else "returned", result)
        elif failures and not ticket.return_exceptions:
            self.finish(ticket, "raised", failures[0])
        else:
            self.finish(ticket, "returned", in_order)

    def finish(self, ticket: Ticket, state: str, value: Any) -> None:
        ticket.state, ticket.value = state, value
        if ticket.callbacks:
            self.to_wake.append(ticket)

    def cancel(self, ticket: Ticket, message: Any) -> bool:
        if ticket.state != "pending":
            return False
        some_waited = self.waiting > 0
        hit = []
        for item in ticket.items:
            if not item.settled:
                self.uncount_late(item)
                flight = self.give_up(item)
                item.settled = True
                self.counters["cancelled"] += 1
                if flight is not None and flight not in hit:
                    hit.append(flight)
        self.finish(ticket, "cancelled", message)
        self.wake_soon()
        self.let_in(some_waited)
        self.tell_abandoned(hit)
        return True

    # -------------------------------------------------------------------------------------- waking
    def call_soon(self, what: str) -> None:
        if what not in self.soon:
            self.soon.append(what)

    def wake_soon(self) -> None:
        self.call_soon("woken")

    def add_callback(self, ticket: Ticket, name: str) -> None:
        ticket.callbacks.append(name)
        if ticket.state != "pending" and len(ticket.callbacks) == 1:
            self.to_wake.append(ticket)
            self.wake_soon()

    def remove_callback(self, ticket: Ticket, name: str) -> int:
        count = ticket.callbacks.count(name)
        ticket.callbacks = [other for other in ticket.callbacks if other != name]
        return count

    def wake(self) -> None:
        for _ in range(len(self.to_wake)):
            if not self.to_wake:  # a callback woke them
                break
            ticket = self.to_wake.pop(0)
            names, ticket.callbacks = ticket.callbacks, []
            while names:
                name = names.pop(0)
                try:
                    self.call_back(ticket, name)
                except KeyboardInterrupt:
                    if names:
                        ticket.callbacks = names + ticket.callbacks
                        self.to_wake.append(ticket)
                    self.wake_soon()
                    raise

    def call_back(self, ticket: Ticket, name: str) -> None:
        self.log.append(("called", name, ticket.number))
        if name.startswith("raise"):
            self.log.append(("reported", "ValueError", name, ticket.number))
        elif name.startswith("exit"):
            raise KeyboardInterrupt
        elif name.startswith("add"):
            self.add_callback(ticket, "plain")
        elif name.startswith("wake"):
            self.wake()
        elif name.startswith("cancel"):
            self.cancel(self.tickets[0], None)

    # --------------------------------------------------------------------------------------- time
    def run_soon(self) -> None:
        for _ in range(len(self.soon)):  # what one of them adds is for the next turn
            if self.soon.pop(0) == "due":
                self.log.append(("due",))
                continue
            self.wake()
            if not self.unsettled:
                self.rest()

    def advance(self, seconds: float) -> None:
        self.now += seconds
        if self.armed <= self.now:
            self.armed = math.inf
            self.log.append(("due",))

    def arm(self, when: float) -> None:
        if when < self.armed:
            self.armed = when
            self.log.append(("armed", when))

    def rearm(self) -> None:
        if not self.unsettled:
            self.rest()
            return
        self.arm(self.next_deadline)
        if self.slot_free and self.queued:
            self.arm(self.oldest + self.latency)

    def rest(self) -> None:
        self.armed = math.inf
        self.held = False
        self.log.append(("idle",))
