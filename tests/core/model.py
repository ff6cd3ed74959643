"""What a lane does, in plain lists, written to be obvious and for nothing else."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from microbatch.errors import BatcherClosedError, CapacityError, OverweightError
from tests.core.world import Cancelled, InvalidState


@dataclasses.dataclass(frozen=True)
class Thing:
    """An item that says what it is asked, or raises LookupError when it is asked ``bad``."""

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
    """One of those who wait for an item."""

    ticket: Ticket
    index: int
    value: Thing
    weight: float = 1.0
    uncounted: bool = False  # it was counted as late or dropped, and is not when it is settled
    late: bool = False
    settled: bool = False


@dataclasses.dataclass(eq=False)
class Item:
    """What is handled once, for one caller or for several; the first stands for all."""

    callers: list[Caller]
    since: float
    key: Any = None
    rank: float = 0.0
    same: Any = None
    shared: bool = False
    admitted: bool = False

    @property
    def value(self) -> Thing:
        return self.callers[0].value

    @property
    def weight(self) -> float:
        return self.callers[0].weight

    @property
    def deadline(self) -> float:
        return max(caller.ticket.deadline for caller in self.callers)


@dataclasses.dataclass(eq=False)
class Ticket:
    number: int
    submitted: float
    deadline: float
    own_timeout: bool
    many: bool
    return_exceptions: bool
    callers: list[Caller] = dataclasses.field(default_factory=list)
    results: dict[int, Any] = dataclasses.field(default_factory=dict)
    state: str = "pending"
    value: Any = None
    was_late: bool = False
    callbacks: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(eq=False)
class Batch:
    places: list[Item]  # all that it ever had
    here: list[Item]  # what is still in it
    sinces: list[float]
    weight: float
    whole: Batch | None = None
    key: Any = None
    reason: str | None = None
    departed: float = 0.0
    failed: int = 0
    under_way: bool = False  # taken by next_batch(), and not ended


NOBODY = object()
"""Stand for the key of those who come back while it is not asked who does."""
BINS = 64


@dataclasses.dataclass(frozen=True)
class Wait:
    """For how long, and for how many, the key of the latest batch waits."""

    until: float = -math.inf
    answered: float = -math.inf
    enough: float = math.inf


class Model:
    """Take the same calls as a World, by number where those take objects."""

    def __init__(
        self, functions: set[str], rules: dict[str, Any], slots: int, **options: Any
    ) -> None:
        self.functions = functions
        self.refuse_overweight, self.ageing = rules["refuse_overweight"], rules["ageing"]
        self.joins_in_flight = rules["dedupe_in_flight"]
        self.most_per_key = infinite(rules["max_batches_per_key"])
        self.now, self.flushed, self.timeout = 100.0, -math.inf, math.inf
        self.free_slots, self.closed = slots, False
        self.freed = dict[Any, float]()  # when a key could go again after a batch of it
        self.returning: Any = NOBODY  # the key of the latest batch
        self.have_wait(Wait())  # for those who come back to it
        self.ended, self.width, self.in_turn = 0.0, 0.0, False
        self.arrivals: list[int] = []  # the bin of each
        self.queue: list[Item] = []
        self.batches: list[Batch] = []
        self.tickets: list[Ticket] = []
        self.to_wake: list[Ticket] = []
        self.waking = False  # soon
        self.log: list[tuple[Any, ...]] = []
        names = "submitted completed failed cancelled late dropped rejected deduplicated"
        self.counters = dict.fromkeys(names.split(), 0)
        self.configure(**options)

    def configure(self, **options: Any) -> None:
        self.draining: bool = options["draining"]
        self.batch_size: int = options["max_batch_size"]
        self.latency: float = 0.0 if self.draining else options["max_latency"]
        self.learns: bool = options["learns"] and not self.draining
        self.have_wait(Wait())
        if not self.learns:
            self.returning = NOBODY
        self.overflow: str = options["overflow"]
        self.capacity = infinite(options["capacity"])
        self.batch_weight = infinite(options["max_batch_weight"])
        timeout = infinite(options["timeout"])
        if timeout != self.timeout:
            for ticket in self.pending():
                if not ticket.own_timeout and not ticket.was_late:
                    ticket.deadline = ticket.submitted + timeout
        self.timeout = timeout
        self.admit()

    # ------------------------------------------------------------------------------- what is seen
    def pending(self) -> list[Ticket]:
        return [ticket for ticket in self.tickets if ticket.state == "pending"]

    def flying(self) -> list[Batch]:
        return [batch for batch in self.batches if batch.here]

    @property
    def unsettled(self) -> int:
        return sum(not caller.settled for ticket in self.pending() for caller in ticket.callers)

    @property
    def items(self) -> int:
        """How many unsettled items there are, shared ones counted once."""
        return len(self.queue) + sum(len(batch.here) for batch in self.batches)

    @property
    def joined(self) -> int:
        return self.unsettled - self.items

    @property
    def queued(self) -> int:
        return sum(item.admitted for item in self.queue)

    @property
    def waiting(self) -> int:
        return len(self.queue) - self.queued

    @property
    def crowded(self) -> bool:
        """Whether nothing more could be admitted."""
        return (self.items if self.overflow == "wait" else self.unsettled) >= self.capacity

    @property
    def next_deadline(self) -> float:
        """When the next ticket is late that was not late yet."""
        return min((t.deadline for t in self.pending() if not t.was_late), default=math.inf)

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
    ) -> None:
        if self.closed:
            self.refuse(len(values), BatcherClosedError())
        if how == "submit_nowait" and self.overflow == "wait" and self.crowded:
            self.refuse(1, CapacityError())
        if "weight" in own and self.batch_weight == math.inf:
            raise ValueError
        asked = [self.ask(value, own) for value in values]  # weights and items
        if how != "_submit_waiting":
            self.make_room(len(values))
        seconds = self.timeout if timeout is ... else infinite(timeout)
        ticket = Ticket(
            len(self.tickets),
            self.now,
            self.now + seconds,
            timeout is not ...,
            how == "submit_many",
            return_exceptions,
        )
        self.tickets.append(ticket)
        if not values:
            ticket.state, ticket.value = "returned", []
        for index, (value, (weight, item)) in enumerate(zip(values, asked, strict=True)):
            ticket.callers.append(Caller(ticket, index, value, weight))
            self.stand(ticket.callers[-1], item)
        self.counters["submitted"] += len(values)
        self.admit()

    def ask(self, value: Thing, own: dict[str, Any]) -> tuple[float, Item]:
        def answer(name: str, usual: Any) -> Any:
            if name in own:
                return own[name]
            return value.asked(name) if name in self.functions else usual

        weight = answer("weight", 1.0)
        if not 0 <= weight < math.inf:
            raise ValueError
        if self.refuse_overweight and weight > self.batch_weight:
            self.refuse(1, OverweightError())
        priority = answer("priority", 0.0)
        if not math.isfinite(priority):
            raise ValueError
        item = Item([], self.now, answer("key", None), self.now + priority * self.ageing)
        hash(item.key)
        item.shared, item.same = "same" in self.functions, answer("same", None)
        hash(item.same)
        return weight, item

    def stand(self, caller: Caller, item: Item) -> None:
        """Stand in line, or with an equal item."""
        if item.shared:
            others = [*self.queue]
            if self.joins_in_flight:
                others += [other for batch in self.batches for other in batch.here]
            for other in others:
                if other.shared and (other.key, other.same) == (item.key, item.same):
                    other.callers.append(caller)
                    self.counters["deduplicated"] += 1
                    self.hurry(caller, item.key)
                    return
        item.callers.append(caller)
        self.queue.append(item)

    def refuse(self, count: int, error: Exception) -> None:
        self.counters["rejected"] += count
        raise error

    def make_room(self, count: int) -> None:
        too_many = min(self.unsettled + count - self.capacity, count)
        if self.overflow == "wait" or too_many <= 0:
            return
        could_go = sum(len(item.callers) for item in self.queue)
        if self.overflow == "reject" or too_many > could_go:
            self.refuse(count, CapacityError())
        while too_many > 0:
            item = self.queue.pop(0)
            too_many -= len(item.callers)
            self.counters["dropped"] += len(item.callers)
            for caller in item.callers:
                caller.uncounted = True
            self.settle_item(item, CapacityError())
        self.admit()
        self.waking = True

    def admit(self) -> None:
        """Let in the first of those that wait; what is admitted stays so."""
        for item in self.queue:
            if not item.admitted and self.items - self.waiting < self.capacity:
                item.admitted = True
                self.note_arrival(item)
                self.hurry(item.callers[0], item.key)

    # ------------------------------------------------------------------------- those who come back
    def note_arrival(self, item: Item) -> None:
        if item.key != self.returning:
            return
        if self.in_turn:
            self.arrivals.append(0)
        elif self.width and item.since >= self.ended:
            self.arrivals.append(1 + math.floor((item.since - self.ended) / self.width))

    def hurry(self, caller: Caller, key: Any) -> None:
        """Have nobody wait for others until it is late."""
        if key == self.returning and caller.ticket.deadline < self.company.answered:
            self.have_wait(Wait())
        elif key == self.returning:
            self.meet()

    def wait(self, until: float, answered: float, enough: int) -> None:
        if answered <= self.next_deadline:
            self.have_wait(Wait(until, answered, enough))
            self.meet()

    def have_wait(self, wait: Wait) -> None:
        self.company, self.all_came = wait, False

    def meet(self) -> None:
        """End the wait when as many have come as were waited for."""
        if len(self.of(self.returning)) >= self.company.enough:
            self.company, self.all_came = Wait(), True

    def take_arrivals(self, width: float) -> list[int]:
        counts = [self.arrivals.count(number) for number in range(BINS + 1)]
        self.arrivals, self.width = [], width
        return counts

    def company_of(self, key: Any) -> Wait:
        return self.company if key == self.returning else Wait()

    # ------------------------------------------------------------------------------------- taking
    def of(self, key: Any) -> list[Item]:
        """Give the queued items of a key in the order in which they are taken."""
        mine = [item for item in self.queue if item.admitted and item.key == key]
        return sorted(mine, key=lambda item: item.rank)

    def since(self, key: Any) -> float:
        return min(item.since for item in self.of(key))

    def weight(self, key: Any) -> float:
        return sum(item.weight for item in self.of(key))

    def under_way(self, key: Any) -> int:
        return sum(batch.under_way and batch.key == key for batch in self.batches)

    def free_keys(self) -> list[Any]:
        """Give the keys of which a batch could be taken, the oldest first."""
        keys = dict.fromkeys(item.key for item in self.queue if item.admitted)
        return [key for key in keys if self.under_way(key) < self.most_per_key]

    def is_full(self, key: Any) -> bool:
        return len(self.of(key)) >= self.batch_size

    def is_heavy(self, key: Any) -> bool:
        return self.weight(key) >= self.batch_weight

    def is_flushed(self, key: Any) -> bool:
        return self.draining or self.since(key) <= self.flushed

    def linger_end(self, key: Any) -> float:
        """When it has waited for company long enough: while it may go, and since its last batch."""
        lingering = max(self.since(key), self.freed.get(key, -math.inf)) + self.latency
        return max(lingering, self.company_of(key).until)

    def is_ready(self, key: Any) -> bool:
        if self.is_full(key) or self.is_heavy(key):
            return True
        if self.closed or self.is_flushed(key):
            return True
        return self.linger_end(key) <= self.now

    def next_key(self) -> list[Any]:
        """Give the key of which a batch should go now, or none, in a list."""
        free = self.free_keys()
        first = [self.of(key)[0] for key in free if self.is_ready(key)]
        in_line = [item for item in self.queue if item in first]
        if in_line:
            return [min(in_line, key=lambda item: item.rank).key]
        return [min(free, key=self.linger_end)] if free and self.crowded else []

    @property
    def next_company(self) -> float:
        """When the first of the keys that wait for company has waited long enough."""
        return min((self.linger_end(key) for key in self.free_keys()), default=math.inf)

    def reason(self, key: Any) -> str:
        if self.is_full(key):
            return "size"
        if self.is_heavy(key):
            return "weight"
        if self.crowded:
            return "capacity"
        if self.closed:
            return "close"
        if self.is_flushed(key):
            return "flush"
        return self.reason_of_waiting(key)

    def reason_of_waiting(self, key: Any) -> str:
        if self.all_came and key == self.returning:
            return "expected"
        awaiting = self.since(key) < self.company_of(key).until
        return "latency" if self.latency or awaiting else "natural"

    def next_batch(self) -> Batch | None:
        self.in_turn = False
        for key in self.next_key() if self.free_slots else ():
            self.free_slots -= 1
            taken: list[Item] = []
            for item in self.of(key)[: self.batch_size]:
                if taken and sum(each.weight for each in taken) + item.weight > self.batch_weight:
                    break
                taken.append(item)
            batch = self.new_batch(taken, key=key, reason=self.reason(key), departed=self.now)
            batch.under_way = True
            if key == self.returning:
                self.have_wait(Wait())
            self.queue = [item for item in self.queue if item not in taken]
            return batch
        return None

    def end(self, batch: Batch) -> None:
        is_blocked = self.under_way(batch.key) >= self.most_per_key and self.of(batch.key)
        if self.free_slots == 0 or is_blocked:
            self.freed[batch.key] = self.now
        batch.under_way = False
        if self.learns:
            self.returning = batch.key
            self.have_wait(Wait())
            self.ended, self.in_turn = self.now, True
        self.free_slots += 1

    def new_batch(self, items: list[Item], **known: Any) -> Batch:
        weight = sum(item.weight for item in items)
        batch = Batch([*items], [*items], [item.since for item in items], weight, **known)
        self.batches.append(batch)
        return batch

    def part(self, batch: Batch, start: int, stop: int) -> None:
        items = [item for item in batch.places[start:stop] if item in batch.here]
        batch.here = [item for item in batch.here if item not in items]
        whole = batch.whole or batch
        self.new_batch(
            items, whole=whole, key=batch.key, reason=batch.reason, departed=batch.departed
        )

    # ------------------------------------------------------------------------------------ leaving
    def give_up(self, caller: Caller) -> Batch | None:
        """Take a caller out of wherever it is, the item with the last; tell which batch it was."""
        for batch in (None, *self.batches):
            items = self.queue if batch is None else batch.here
            for item in items:
                if caller in item.callers:
                    if batch is not None and item.callers[0] is caller and item.callers[1:]:
                        heir = item.callers[1]  # what was taken stays so
                        heir.value, caller.value = caller.value, heir.value
                        heir.weight = caller.weight
                    item.callers.remove(caller)
                    if not item.callers:
                        items.remove(item)
                    self.uncount_late(caller)
                    return batch
        raise AssertionError

    def uncount_late(self, caller: Caller) -> None:
        self.counters["late"] -= caller.late
        caller.late = caller.uncounted = False

    def move(self, ticket: Ticket) -> tuple[list[Item], list[Item], list[Batch]]:
        """Take what is left of a ticket out of the queue and out of batches; tell which."""
        queued: list[Item] = []
        in_flight: list[Item] = []
        hit: dict[Batch, None] = {}
        for caller in ticket.callers:
            if caller.settled:
                continue
            batch = self.give_up(caller)
            alone = Item([caller], ticket.submitted)
            (queued if batch is None else in_flight).append(alone)
            if batch is not None:
                hit[batch] = None
        return queued, in_flight, [*hit]

    def tell_abandoned(self, hit: list[Batch]) -> None:
        for batch in dict.fromkeys(hit):
            if not batch.here:
                self.log.append(("abandoned", self.batches.index(batch)))

    def cancel(self, ticket: Ticket, message: Any) -> bool:
        if ticket.state != "pending":
            return False
        queued, in_flight, hit = self.move(ticket)
        self.counters["cancelled"] += len(queued) + len(in_flight)
        for caller in ticket.callers:
            caller.settled = True
        self.finish(ticket, "cancelled", message)
        self.waking = True
        self.admit()
        self.tell_abandoned(hit)
        return True

    def take_late(self) -> tuple[Batch, Batch, list[Batch]]:
        late = [t for t in self.pending() if t.deadline <= self.now and not t.was_late]
        late.sort(key=lambda ticket: (ticket.own_timeout, ticket.own_timeout and ticket.deadline))
        queued: list[Item] = []
        in_flight: list[Item] = []
        every_hit: dict[Batch, None] = {}
        for ticket in late:
            ticket.was_late = True
            waited, flew, hit = self.move(ticket)
            queued += waited
            in_flight += flew
            every_hit |= dict.fromkeys(hit)
        for item in [*queued, *in_flight]:
            item.callers[0].late = item.callers[0].uncounted = True
            self.counters["late"] += 1
        batches = self.new_batch(queued), self.new_batch(in_flight)
        self.admit()
        self.tell_abandoned([*every_hit])
        return *batches, [*every_hit]

    def take_ticket(self, ticket: Ticket) -> list[Batch]:
        queued, in_flight, hit = self.move(ticket)
        both = [*queued, *in_flight]
        both.sort(key=lambda item: item.callers[0].index)
        self.new_batch(both)
        self.admit()
        self.tell_abandoned(hit)
        return hit

    def take_all(self) -> Batch:
        every = [*self.queue, *(item for batch in self.batches for item in batch.here)]
        for item in every:
            for caller in item.callers:
                self.uncount_late(caller)
        for batch in self.batches:
            batch.here = []
        self.queue = []
        return self.new_batch(every)

    # ----------------------------------------------------------------------------------- settling
    def resolve(self, batch: Batch, results: list[Any]) -> None:
        for item, result in zip(batch.places, results, strict=True):
            if item in batch.here:
                self.settle_in(batch, item, result)
        self.admit()

    def fail(self, batch: Batch, error: BaseException) -> None:
        self.resolve(batch, [error] * len(batch.places))

    def settle_at(self, batch: Batch, place: int, result: Any) -> bool:
        item = batch.places[place]
        if item not in batch.here:
            return False
        self.settle_in(batch, item, result)
        self.admit()
        return True

    def settle_in(self, batch: Batch, item: Item, result: Any) -> None:
        batch.here.remove(item)
        (batch.whole or batch).failed += isinstance(result, BaseException)
        self.settle_item(item, result)

    def settle_item(self, item: Item, result: Any) -> None:
        for caller in item.callers:
            self.settle(caller, result)

    def settle(self, caller: Caller, result: Any) -> None:
        caller.settled = True
        failed = isinstance(result, BaseException)
        if not caller.uncounted:
            self.counters["failed" if failed else "completed"] += 1
        ticket = caller.ticket
        ticket.results[caller.index] = result
        if len(ticket.results) < len(ticket.callers):
            return
        in_order = [ticket.results[index] for index in range(len(ticket.callers))]
        failures = [each for each in in_order if isinstance(each, BaseException)]
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

    # -------------------------------------------------------------------------------------- waking
    def wake_soon(self) -> None:
        self.waking = True

    def run_soon(self) -> None:
        if self.waking:
            self.waking = False
            self.wake()

    def add_callback(self, ticket: Ticket, name: str) -> None:
        ticket.callbacks.append(name)
        if ticket.state != "pending" and len(ticket.callbacks) == 1:
            self.to_wake.append(ticket)
            self.waking = True

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
                    self.waking = True
                    raise

    def call_back(self, ticket: Ticket, name: str) -> None:
        self.log.append(("called", name, ticket.number))
        if name == "raise":
            self.log.append(("reported", "ValueError", name, ticket.number))
        elif name == "exit":
            raise KeyboardInterrupt
        elif name == "add":
            self.add_callback(ticket, "plain")
        elif name == "wake":
            self.wake()
        elif name == "cancel":
            self.cancel(self.tickets[0], None)


def infinite(bound: float | None) -> float:
    return math.inf if bound is None else bound
