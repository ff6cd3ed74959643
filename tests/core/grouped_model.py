"""What a lane does whose items stand in groups, in plain lists, written to be obvious."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from microbatch.errors import BatcherClosedError, CapacityError, OverweightError
from tests.core.world import Cancelled, InvalidState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ONLY = "the batches of a lane without groups"


@dataclasses.dataclass(frozen=True)
class Thing:
    """Be an item, and say what it is asked; or raise LookupError when it is asked ``bad``."""

    number: int
    key: Any = "k"
    weight: Any = 1.0
    priority: Any = 0.0
    same: Any = None
    bad: str = ""

    def asked(self, name: str) -> Any:
        if self.bad == name:
            raise LookupError(name)
        return getattr(self, name)


@dataclasses.dataclass(eq=False)
class Caller:
    """Be one of those who wait for an item."""

    ticket: Ticket
    index: int
    value: Thing
    late: bool = False
    dropped: bool = False
    settled: bool = False


@dataclasses.dataclass(eq=False)
class Item:
    value: Thing
    callers: list[Caller]
    submitted: float
    key: Any = None
    weight: float = 1.0
    rank: float = 0.0
    same: Any = None
    admitted: bool = False


@dataclasses.dataclass(eq=False)
class Ticket:
    number: int
    submitted: float
    deadline: float
    own_timeout: bool
    in_line: bool  # late with those submitted with it, and before those with their own deadline
    many: bool
    order: int  # among those that are not in line
    return_exceptions: bool = False
    callers: list[Caller] = dataclasses.field(default_factory=list)
    results: dict[int, Any] = dataclasses.field(default_factory=dict)
    state: str = "pending"
    value: Any = None


@dataclasses.dataclass(eq=False)
class Flight:
    number: int
    places: list[Item]  # all that it ever had
    here: list[Item]  # what is still in it
    alive: int
    departed: float
    key: Any = ONLY
    weight: float = 0.0
    is_late: bool = False
    is_batch: bool = False  # taken by key, and not left yet


class GroupedModel:
    """Take the same calls as a World, by number where those take objects."""

    def __init__(self, **options: Any) -> None:
        self.now = 100.0
        self.timeout = math.inf
        self.grouped = False
        self.functions: set[str] = set()
        self.refuse_overweight, self.ageing, self.most_per_key = False, 1.0, math.inf
        self.slot_free, self.closed = True, False
        self.queue: list[Item] = []
        self.flying: list[Flight] = []
        self.flights: list[Flight] = []
        self.tickets: list[Ticket] = []
        self.soon: list[str] = []
        self.armed = math.inf
        self.under_way: list[Any] = []  # the key of each batch
        self.order = 0
        self.log: list[tuple[Any, ...]] = []
        names = "submitted completed failed cancelled late dropped rejected deduplicated"
        self.counters = dict.fromkeys(names.split(), 0)
        self.configure(**options)

    def configure(self, **options: Any) -> None:
        self.batch_size: int = options["max_batch_size"]
        self.latency: float = options["max_latency"]
        self.overflow: str = options["overflow"]
        self.capacity = math.inf if options["capacity"] is None else options["capacity"]
        weight = options["max_batch_weight"]
        self.batch_weight = math.inf if weight is None else weight
        timeout = math.inf if options["timeout"] is None else options["timeout"]
        changed, self.timeout = timeout != self.timeout, timeout
        if changed and self.unsettled:
            self.retime()
        self.admit()

    def retime(self) -> None:
        """Those without a timeout of their own have the new one, unless they are late already."""
        items = [*self.queue, *(i for f in self.flying if not f.is_late for i in f.here)]
        tickets = list(dict.fromkeys(caller.ticket for item in items for caller in item.callers))
        for ticket in sorted(tickets, key=lambda ticket: ticket.submitted):
            if not ticket.own_timeout:
                ticket.deadline = ticket.submitted + self.timeout
            self.order += 1
            ticket.order = self.order
        self.arm(self.next_deadline)

    def group(self, functions: set[str], **rules: Any) -> None:
        self.grouped, self.functions = True, functions
        self.refuse_overweight, self.ageing = rules["refuse_overweight"], rules["ageing"]
        most = rules["max_batches_per_key"]
        self.most_per_key = math.inf if most is None else most

    # ------------------------------------------------------------------------------- what is seen
    @property
    def unsettled(self) -> int:
        return sum(not caller.settled for ticket in self.tickets for caller in ticket.callers)

    @property
    def load(self) -> int:
        """How many unsettled items there are, shared ones counted once."""
        return len(self.queue) + sum(len(flight.here) for flight in self.flying)

    @property
    def joined(self) -> int:
        return self.unsettled - self.load

    @property
    def room(self) -> int:
        """How many of the queued items the capacity has room for."""
        return int(min(max(self.capacity - (self.load - len(self.queue)), 0), len(self.queue)))

    @property
    def queued(self) -> int:
        return sum(item.admitted for item in self.queue) if self.grouped else self.room

    @property
    def waiting(self) -> int:
        return len(self.queue) - self.queued

    @property
    def crowded(self) -> bool:
        """Whether nothing more could be admitted."""
        return (self.load if self.overflow == "wait" else self.unsettled) >= self.capacity

    @property
    def oldest(self) -> float:
        return self.queue[0].submitted if self.queue else math.inf

    @property
    def next_deadline(self) -> float:
        pending = [t for t in self.tickets for c in t.callers if not c.settled and not c.late]
        return min((ticket.deadline for ticket in pending), default=math.inf)

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
        values: list[Thing],
        *,
        how: str = "submit",
        timeout: Any = ...,
        return_exceptions: bool = False,
        **own: Any,
    ) -> Ticket:
        if how == "submit_nowait" and self.overflow == "wait" and not self.closed:
            self.refuse_if(self.crowded, 1)
        if how == "_submit_waiting" or self.grouped or own:
            self.refuse_when_closed(len(values))
        asked = self.ask_all(values, own)
        if how != "_submit_waiting":
            self.make_way(len(values))
        ticket = self.new_ticket(how, timeout, return_exceptions)
        if not values:
            ticket.state, ticket.value = "returned", []
            return ticket
        if not self.unsettled:
            self.log.append(("hold",))
        for index, (value, item) in enumerate(zip(values, asked, strict=True)):
            self.stand(Caller(ticket, index, value), item)
        self.counters["submitted"] += len(values)
        self.admit()
        self.look(ticket)
        return ticket

    def ask_all(self, values: list[Thing], own: dict[str, Any]) -> list[Item]:
        if not self.grouped and not own:
            return [Item(value, [], self.now, rank=self.now) for value in values]
        if "weight" in own and self.batch_weight == math.inf:
            raise ValueError
        self.grouped = True
        self.admit()
        return [self.ask(value, own) for value in values]

    def ask(self, value: Thing, own: dict[str, Any]) -> Item:
        def answer(name: str, usual: Any) -> Any:
            if name in own:
                return own[name]
            return value.asked(name) if name in self.functions else usual

        weight = answer("weight", 1.0)
        if not 0 <= weight < math.inf:
            raise ValueError
        if self.refuse_overweight and weight > self.batch_weight:
            self.counters["rejected"] += 1
            raise OverweightError
        priority = answer("priority", 0.0)
        if not math.isfinite(priority):
            raise ValueError
        item = Item(value, [], self.now, key=answer("key", None), weight=weight)
        hash(item.key)
        item.rank = self.now + priority * self.ageing
        item.same = answer("same", None)
        hash(item.same)
        return item

    def new_ticket(self, how: str, timeout: Any, return_exceptions: bool) -> Ticket:
        seconds = self.timeout if timeout is ... else math.inf if timeout is None else timeout
        in_line = timeout is ... and "same" not in self.functions
        self.order += 1
        number, many = len(self.tickets), how == "submit_many"
        ticket = Ticket(
            number, self.now, self.now + seconds, timeout is not ..., in_line, many, self.order
        )
        ticket.return_exceptions = return_exceptions
        self.tickets.append(ticket)
        return ticket

    def stand(self, caller: Caller, item: Item) -> None:
        """Stand in line, or with an equal item that does."""
        caller.ticket.callers.append(caller)
        if "same" in self.functions:
            for other in self.queue:
                if (other.key, other.same) == (item.key, item.same):
                    other.callers.append(caller)
                    self.counters["deduplicated"] += 1
                    return
        item.callers.append(caller)
        self.queue.append(item)

    def refuse_when_closed(self, count: int) -> None:
        if self.closed:
            self.counters["rejected"] += count
            raise BatcherClosedError

    def refuse_if(self, refused: bool, count: int) -> None:
        if refused:
            self.counters["rejected"] += count
            raise CapacityError

    def make_way(self, count: int) -> None:
        self.refuse_when_closed(count)
        too_many = min(self.unsettled + count - self.capacity, count)
        if self.overflow == "wait" or too_many <= 0:
            return
        could_go = sum(len(item.callers) for item in self.queue)
        self.refuse_if(self.overflow == "reject" or too_many > could_go, count)
        some_waited = self.waiting > 0
        while too_many > 0:
            item = self.queue.pop(0)
            too_many -= len(item.callers)
            for caller in item.callers:
                caller.dropped = True
                self.counters["dropped"] += 1
            self.settle_item(item, CapacityError())
        self.let_in(some_waited)
        self.call_soon("woken")

    # ------------------------------------------------------------------------------------- groups
    def admit(self) -> None:
        """Let in the first of those that wait; what is admitted stays so."""
        for item in self.queue if self.grouped else ():
            if self.queued < self.room:
                item.admitted = True

    def keys(self) -> list[Any]:
        """Give the keys of which a batch could be taken."""
        keys = dict.fromkeys(item.key for item in self.queue if item.admitted)
        return [key for key in keys if self.under_way.count(key) < self.most_per_key]

    def of(self, key: Any) -> list[Item]:
        """Give a group's items in the order in which they are taken."""
        mine = [item for item in self.queue if item.admitted and item.key == key]
        return sorted(mine, key=lambda item: item.rank)

    def age(self, key: Any) -> float:
        return min((item.submitted for item in self.of(key)), default=math.inf)

    def weight(self, key: Any) -> float:
        return sum(item.weight for item in self.of(key))

    def presses(self, key: Any) -> bool:
        """Whether a batch of a key should go at once."""
        return len(self.of(key)) >= self.batch_size or self.weight(key) >= self.batch_weight

    @property
    def company(self) -> float:
        """Until when the first of the groups waits that are not due at once."""
        if not self.slot_free or not self.latency:
            return math.inf
        young = [key for key in self.keys() if not self.presses(key)]
        return min((self.age(key) + self.latency for key in young), default=math.inf)

    def next_group(self, before: float, anyway: bool) -> Any:
        def is_ripe(key: Any) -> bool:
            return self.presses(key) or self.age(key) <= before or not self.latency

        keys = self.keys()
        ripe = [self.of(key)[0] for key in keys if is_ripe(key)]
        if ripe:
            in_line = [item for item in self.queue if item in ripe]
            return min(in_line, key=lambda item: item.rank).key
        if anyway and keys:
            return next(item for item in self.queue if item.admitted and item.key in keys).key
        return ONLY

    def take_group(self, key: Any) -> Flight:
        taken: list[Item] = []
        for item in self.of(key)[: self.batch_size]:
            if taken and sum(each.weight for each in taken) + item.weight > self.batch_weight:
                break
            taken.append(item)
        return self.take_away(taken, key)

    def take(self, limit: int) -> Flight:
        return self.take_away(self.queue[: min(limit, self.queued)], ONLY)

    def take_away(self, items: list[Item], key: Any) -> Flight:
        for item in items:
            self.queue.remove(item)
        flight = self.fly(items, departed=self.now)
        flight.key, flight.weight = key, sum(item.weight for item in items)
        flight.is_batch = key is not ONLY
        if flight.is_batch:
            self.under_way.append(key)
        return flight

    def leave_group(self, flight: Flight) -> None:
        if flight.is_batch:
            flight.is_batch = False
            self.under_way.remove(flight.key)

    def look(self, ticket: Ticket) -> None:
        """See to it that the new items are looked at in time."""
        due = False
        when = min(ticket.deadline, self.company)
        if self.grouped:
            some = self.slot_free and bool(self.keys())
            due = some and (self.crowded or any(self.presses(key) for key in self.keys()))
        else:
            some = self.slot_free and self.queued > 0
            due = some and (self.crowded or self.queued >= self.batch_size)
            if some and self.latency:
                when = min(when, ticket.submitted + self.latency)
        if some and not due and not self.latency:
            self.call_soon("due")
        self.arm(when)
        if due:
            self.log.append(("due",))

    # ------------------------------------------------------------------------------------ leaving
    def fly(self, items: Iterable[Item], departed: float = 0.0) -> Flight:
        places = list(items)
        flight = Flight(len(self.flights), places, [*places], len(places), departed)
        self.flights.append(flight)
        self.flying.append(flight)
        return flight

    def item_of(self, caller: Caller) -> tuple[Item, Flight | None]:
        homes: list[tuple[list[Item], Flight | None]] = [(self.queue, None)]
        for items, flight in homes + [(flight.here, flight) for flight in self.flying]:
            for item in items:
                if caller in item.callers:
                    return item, flight
        raise AssertionError

    def give_up(self, caller: Caller, hit: list[Flight]) -> Flight | None:
        """Take a caller out of wherever it is, the item with the last; tell which flight it was."""
        item, flight = self.item_of(caller)
        item.callers.remove(caller)
        if flight is None:
            self.queue = [each for each in self.queue if each.callers]
            return None
        if not item.callers:
            flight.here.remove(item)
            flight.alive -= 1
        hit.append(flight)
        return flight

    def tell_abandoned(self, hit: list[Flight]) -> None:
        for flight in dict.fromkeys(hit):
            if flight.alive == 0:
                self.flying.remove(flight)
                self.log.append(("abandoned", flight.number))

    def take_late(self) -> tuple[Flight, Flight, list[Flight]]:
        late = [
            caller
            for item in [*self.queue, *(item for flight in self.flying for item in flight.here)]
            for caller in item.callers
            if caller.ticket.deadline <= self.now and not caller.late
        ]
        common = [caller for caller in late if caller.ticket.in_line]
        own = [caller for caller in late if not caller.ticket.in_line]
        own.sort(key=lambda caller: (caller.ticket.deadline, caller.ticket.order, caller.index))
        queued: list[Item] = []
        in_flight: list[Item] = []
        hit: list[Flight] = []
        for caller in [*common, *own]:
            alone = Item(caller.value, [caller], caller.ticket.submitted)
            (queued if self.give_up(caller, hit) is None else in_flight).append(alone)
            caller.late = True
        self.counters["late"] += len(late)
        flights = self.fly(queued), self.fly(in_flight)
        for flight in flights:
            flight.is_late = True
        self.tell_abandoned(hit)
        return *flights, hit

    def take_all(self) -> Flight:
        every = [*self.queue, *(item for flight in self.flying for item in flight.here)]
        for item in every:
            for caller in item.callers:
                self.uncount_late(caller)
        for flight in self.flying:
            flight.here, flight.alive = [], 0
        self.queue, self.flying = [], []
        return self.fly(every)

    def uncount_late(self, caller: Caller) -> None:
        if caller.late:
            self.counters["late"] -= 1
            caller.late = False

    def cancel(self, ticket: Ticket, message: Any) -> bool:
        if ticket.state != "pending":
            return False
        some_waited = self.waiting > 0
        hit: list[Flight] = []
        for caller in ticket.callers:
            if not caller.settled:
                self.uncount_late(caller)
                self.give_up(caller, hit)
                caller.settled = True
                self.counters["cancelled"] += 1
        ticket.state, ticket.value = "cancelled", message
        self.call_soon("woken")
        self.let_in(some_waited)
        self.tell_abandoned(hit)
        return True

    # ----------------------------------------------------------------------------------- settling
    def let_in(self, some_waited: bool) -> None:
        """Have those looked at that waited for admission."""
        if some_waited and self.slot_free:
            self.call_soon("due")

    def resolve(self, flight: Flight, results: list[Any]) -> None:
        some_waited = self.waiting > 0
        for item, result in zip(flight.places, results, strict=True):
            if item in flight.here:
                self.settle_item(item, result)
        self.land(flight)
        self.let_in(some_waited)

    def fail(self, flight: Flight, error: BaseException) -> None:
        some_waited = self.waiting > 0
        for item in flight.here:
            self.settle_item(item, error)
        self.land(flight)
        self.let_in(some_waited)

    def settle_at(self, flight: Flight, place: int, result: Any) -> bool:
        item = flight.places[place]
        if item not in flight.here:
            return False
        some_waited = self.waiting > 0
        flight.here.remove(item)
        flight.alive -= 1
        self.settle_item(item, result)
        if not flight.alive:
            self.land(flight)
        self.let_in(some_waited)
        return True

    def part(self, flight: Flight, start: int, stop: int) -> Flight:
        items = [item for item in flight.places[start:stop] if item in flight.here]
        flight.here = [item for item in flight.here if item not in items]
        flight.alive -= len(items)
        part = self.fly(items, departed=flight.departed)
        part.key, part.weight = flight.key, sum(item.weight for item in items)
        part.is_late = flight.is_late
        if items and not flight.alive:
            self.land(flight)
        return part

    def land(self, flight: Flight) -> None:
        flight.here, flight.alive = [], 0
        self.flying = [each for each in self.flying if each is not flight]

    def settle_item(self, item: Item, result: Any) -> None:
        for caller in item.callers:
            self.settle(caller, result)

    def settle(self, caller: Caller, result: Any) -> None:
        caller.settled = True
        failed = isinstance(result, BaseException)
        if not caller.late and not caller.dropped:
            self.counters["failed" if failed else "completed"] += 1
        ticket = caller.ticket
        ticket.results[caller.index] = result
        if len(ticket.results) < len(ticket.callers):
            return
        in_order = [ticket.results[index] for index in range(len(ticket.callers))]
        failures = [result for result in in_order if isinstance(result, BaseException)]
        if not ticket.many:
            ticket.state, ticket.value = ("raised" if failed else "returned"), result
        elif failures and not ticket.return_exceptions:
            ticket.state, ticket.value = "raised", failures[0]
        else:
            ticket.state, ticket.value = "returned", in_order

    # --------------------------------------------------------------------------------------- time
    def call_soon(self, what: str) -> None:
        if what not in self.soon:
            self.soon.append(what)

    def run_soon(self) -> None:
        calls, self.soon = self.soon, []
        for call in calls:
            if call == "due":
                self.log.append(("due",))
            elif not self.unsettled:
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
        if self.grouped:
            self.arm(self.company)
        elif self.slot_free and self.queued:
            self.arm(self.oldest + self.latency)

    def rest(self) -> None:
        self.armed = math.inf
        self.log.append(("idle",))


def user_function(name: str) -> Callable[[Thing], Any]:
    """Make what a lane asks about its items."""
    return lambda thing: thing.asked(name)
