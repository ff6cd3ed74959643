"""Groups: what is queued, by key, for batches of one key each, by weight and by priority."""

# The classes of the core share their internals.
# pyright: reportPrivateUsage=false

import heapq
import math
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from microbatch._core_py.flights import Flight, new_flight
from microbatch._core_py.sharing import Shared
from microbatch._core_py.slots import Slot
from microbatch._core_py.tickets import Ticket
from microbatch.errors import OverweightError

if TYPE_CHECKING:
    from microbatch._core_py.lanes import Lane

SWEEP = 64
"""A heap may have so many stale entries, and as many again as there are valid ones."""


class Group:
    """Be the queued items of one key, in the order in which they are taken.

    ``queued`` counts those that could be taken, and ``weight`` is theirs together. ``in_flight``
    counts the batches of this key that are under way.
    """

    def __init__(self, lane: "Lane", groups: "Groups", key: Any) -> None:
        self.key = key
        self.queued = 0
        self.weight = 0.0
        self.in_flight = 0
        self.shared: dict[Any, Shared] = {}  # by what dedupe() says, where that is asked
        self._lane = lane
        self._groups = groups
        self._held = 0  # items that refer to it, those that wait for admission too
        self._entry = 0  # the number of its entry in one of the heaps of Groups; 0: it has none
        self._ripe = False  # which of the two
        self._line: deque[Slot] = deque()  # by age
        self._ranks: list[tuple[float, int, Slot]] = []  # by rank, where there are priorities

    @property
    def full(self) -> bool:
        """Whether a batch of it would have no place left."""
        return self.queued >= self._lane._batch_size

    @property
    def heavy(self) -> bool:
        """Whether a batch of it would be as heavy as it may."""
        return self.weight >= self._lane._batch_weight

    @property
    def oldest(self) -> float:
        """When the oldest of its queued items was submitted; infinity without one."""
        while self._line and not self._is_here(self._line[0]):
            self._line.popleft()
        return self._line[0].submitted if self._line else math.inf

    @property
    def _rank(self) -> float:
        first = self._first()
        return math.inf if first is None else first.rank

    def _is_here(self, slot: Slot) -> bool:
        return slot.home is self._lane._queue

    def _first(self) -> Slot | None:
        """Give the slot that is taken next."""
        if not self._groups._ranked:
            return self._line[0] if self.oldest < math.inf else None
        while self._ranks and not self._is_here(self._ranks[0][2]):
            heapq.heappop(self._ranks)
        return self._ranks[0][2] if self._ranks else None

    def _add(self, slot: Slot) -> None:
        self._line.append(slot)
        self.queued += 1
        self.weight += slot.weight
        if self._groups._ranked:
            heapq.heappush(self._ranks, (slot.rank, slot.number, slot))
        if len(self._line) > 2 * self.queued + SWEEP:
            self._sweep()

    def _sweep(self) -> None:
        self._line = deque(filter(self._is_here, self._line))
        if self._groups._ranked:
            self._ranks = [(slot.rank, slot.number, slot) for slot in self._line]
            heapq.heapify(self._ranks)

    def _remove(self, slot: Slot) -> None:
        self.queued -= 1
        # Sums of floats drift; what is empty weighs nothing.
        self.weight = self.weight - slot.weight if self.queued else 0.0
        if not self.queued:
            self._entry = 0


@dataclass
class Traits:
    """Be what is known of an item before it is accepted; its group is held for it."""

    group: Group
    weight: float
    priority: float
    shared: Shared | None


class Groups:
    """Put queued items into groups, and say which group is next.

    A group with queued items, and a batch to spare, has an entry in one of two heaps: the *young*
    by age, which wait for company, or the *ripe* by rank, which may go at once. An entry is stale
    when its number is no longer the group's.
    """

    def __init__(self, lane: "Lane") -> None:
        self._lane = lane
        self._key: Callable[[Any], Hashable] | None = None
        self._weigh: Callable[[Any], float] | None = None
        self._priority: Callable[[Any], float] | None = None
        self._dedupe: Callable[[Any], Hashable] | None = None
        self._refuses_overweight = False
        self._ageing = 1.0
        self._most_per_key = math.inf
        self._ranked = False
        self._by_key: dict[Any, Group] = {}
        self._waiting: deque[Slot] = deque()  # for admission, and those that left meanwhile
        self._admitted = 0
        self._number = 0  # of the item that was admitted last
        self._entry_number = 0
        self._young: list[tuple[float, int, Group]] = []
        self._ripe: list[tuple[float, int, Group]] = []
        self._pressing = False  # whether a batch became full
        self._idle: list[Group] = []  # to be forgotten, once it is safe to run the user's code
        self._gone: list[Shared] = []

    # ------------------------------------------------------------------------------- submitting
    def _ask_all(self, items: list[Any], weight: Any, key: Any, priority: Any) -> list[Traits]:
        """Ask the user's functions about items; whatever they raise goes on to the caller."""
        traits: list[Traits] = []
        try:
            for item in items:
                traits.append(self._ask(item, weight, key, priority))  # noqa: PERF401
        except BaseException:
            self._refuse(traits)
            raise
        return traits

    def _ask(self, item: Any, weight: Any, key: Any, priority: Any) -> Traits:
        weight = check_weight(answer(self._weigh, item, weight, 1.0))
        if self._refuses_overweight and weight > self._lane._batch_weight:
            self._lane.rejected += 1
            raise OverweightError(
                f"weight must be <= max_batch_weight ({self._lane._batch_weight:g}) "
                f"for batcher {self._lane.name!r}, got {weight:g}"
            )
        rank = check_priority(answer(self._priority, item, priority, 0.0))
        key = answer(self._key, item, key, None)
        group = self._by_key.get(key)
        if group is None:
            group = self._by_key.setdefault(key, Group(self._lane, self, key))
        group._held += 1
        try:
            return Traits(group, weight, rank, self._find_shared(group, item))
        except BaseException:
            self._let_go(group)
            raise

    def _find_shared(self, group: Group, item: Any) -> Shared | None:
        if self._dedupe is None:
            return None
        same = self._dedupe(item)
        shared = group.shared.get(same)
        if shared is None or not shared.open:
            shared = group.shared[same] = self._new_shared(group, same)
        return shared

    def _new_shared(self, group: Group, same: Any) -> Shared:
        shared = Shared.__new__(Shared)
        shared._start_shared(self._lane, group, same)
        return shared

    def _refuse(self, traits: list[Traits]) -> None:
        """Forget about items that are not accepted."""
        for each in traits:
            if each.shared is not None and not each.shared.count:
                each.shared.forget()
            self._let_go(each.group)

    def _let_go(self, group: Group) -> None:
        group._held -= 1
        self._forget(group)

    def _forget(self, group: Group) -> None:
        """Drop a group that nothing refers to."""
        if group._held or group.in_flight:
            return
        try:
            if self._by_key.get(group.key) is group:
                del self._by_key[group.key]
        except Exception:  # whatever comparing keys does, the items go on
            return

    def _stand(self, ticket: Ticket, items: list[Any], traits: list[Traits]) -> list[Slot]:
        """Give each item of a ticket a place in the queue, or with an equal one."""
        return [
            self._stand_alone(ticket, item, index, each)
            if each.shared is None
            else self._share(ticket, item, index, each, each.shared)
            for index, (item, each) in enumerate(zip(items, traits, strict=True))
        ]

    def _stand_alone(self, ticket: Ticket, item: Any, index: int, traits: Traits) -> Slot:
        lane = self._lane
        slot = Slot(ticket, item, index, lane._queue)
        lane._queue._slots.append(slot)
        lane._live += 1
        slot.group, slot.weight = traits.group, traits.weight
        slot.rank = slot.submitted + traits.priority * self._ageing
        self._waiting.append(slot)
        if traits.priority and not self._ranked:
            self._rank_all()
        return slot

    def _share(self, ticket: Ticket, item: Any, index: int, traits: Traits, shared: Shared) -> Slot:
        if not shared.open:  # it departed meanwhile
            shared = self._new_shared(traits.group, shared.same)
        if shared.slot is None:
            shared.slot = self._stand_alone(shared, item, 0, traits)
        else:
            self._let_go(traits.group)  # whose item it is keeps it
            self._lane.joined += 1
            self._lane.deduplicated += 1
        return shared.board(ticket, item, index)

    def _rank_all(self) -> None:
        """Go by rank from now on."""
        self._ranked = True
        for group in self._by_key.values():
            group._sweep()

    def _admit(self) -> None:
        """Let in what the capacity has room for."""
        lane = self._lane
        while self._waiting and self._admitted < lane._live - lane._beyond:
            slot = self._waiting.popleft()
            if slot.home is lane._queue:
                self._let_in(slot)

    def _let_in(self, slot: Slot) -> None:
        self._admitted += 1
        self._number += 1
        slot.number = self._number
        group = slot.group
        assert group is not None
        group._add(slot)
        if self._is_blocked(group):
            return
        moves_up = self._ranked and slot.rank <= group._rank
        if not group._entry or (moves_up if group._ripe else self._presses(group)):
            self._enter(group)

    def _left(self, slot: Slot) -> None:
        """Take note that a slot is no longer queued."""
        group = slot.group
        assert group is not None
        group._held -= 1
        if slot.number:
            self._admitted -= 1
            group._remove(slot)
        if not group._held:
            self._idle.append(group)
        if isinstance(slot.ticket, Shared):
            slot.ticket.depart()
            self._gone.append(slot.ticket)

    def _tidy(self) -> None:
        """Forget what has gone."""
        gone, self._gone = self._gone, []
        for shared in gone:
            shared.forget()
        idle, self._idle = self._idle, []
        for group in idle:
            self._forget(group)

    def _take_over(self) -> None:
        """Take in what was queued before items stood in groups."""
        group = Group(self._lane, self, None)
        for slot in self._lane._queue._here():
            slot.group, slot.rank = group, slot.submitted
            group._held += 1
            self._waiting.append(slot)
        if group._held:
            self._by_key[None] = group
        self._admit()

    def _look(self) -> tuple[bool, float]:
        """Tell whether a batch should go at once, and when the next would go without company."""
        self._pressing = False
        self._admit()
        lane = self._lane
        if not lane.slot_free:
            return False, math.inf
        full = self._any and lane.unsettled - lane.joined >= lane._capacity
        if self._pressing or full:
            return True, self._company()
        if not lane._latency and self._any:
            lane._due_soon()
        return False, self._company()

    def _company(self) -> float:
        """Say until when the first group waits for company; infinity where none may go."""
        if not self._lane.slot_free:
            return math.inf
        group = self._first_young()
        return math.inf if group is None else group.oldest + self._lane._latency

    @property
    def _any(self) -> bool:
        """Whether any group may go."""
        return self._first_young() is not None or self._first_ripe() is not None

    # ---------------------------------------------------------------------------- which is next
    def _presses(self, group: Group) -> bool:
        return group.full or group.heavy

    def _is_blocked(self, group: Group) -> bool:
        return group.in_flight >= self._most_per_key

    def _enter(self, group: Group) -> None:
        """Give a group its entry, in place of the one it had."""
        presses = self._presses(group)
        self._pressing = self._pressing or presses
        self._entry_number += 1
        group._entry, group._ripe = self._entry_number, presses or not self._lane._latency
        if group._ripe:
            self._ripe = self._pushed(self._ripe, group._rank, group)
        else:
            self._young = self._pushed(self._young, group.oldest, group)

    def _pushed(
        self, heap: list[tuple[float, int, Group]], value: float, group: Group
    ) -> list[tuple[float, int, Group]]:
        if len(heap) > 2 * len(self._by_key) + SWEEP:
            heap = [entry for entry in heap if entry[1] == entry[2]._entry]
            heapq.heapify(heap)
        heapq.heappush(heap, (value, group._entry, group))
        return heap

    def _reconsider(self) -> None:
        """Enter all groups anew, when the options have changed."""
        for group in list(self._by_key.values()):
            if group._entry:
                self._enter(group)

    def _first_young(self) -> Group | None:
        while self._young:
            value, number, group = self._young[0]
            if number != group._entry:
                heapq.heappop(self._young)
            elif value != group.oldest:  # its oldest item has gone
                heapq.heapreplace(self._young, (group.oldest, number, group))
            else:
                return group
        return None

    def _next(self, before: float, anyway: bool) -> Group | None:
        self._admit()
        while (young := self._first_young()) and young.oldest <= before:
            heapq.heappop(self._young)
            young._ripe = True
            self._ripe = self._pushed(self._ripe, young._rank, young)
        while ripe := self._first_ripe():
            if self._presses(ripe) or ripe.oldest <= before or not self._lane._latency:
                return ripe
            heapq.heappop(self._ripe)
            self._enter(ripe)  # those that made it ripe have gone
        return self._first_young() if anyway else None

    def _first_ripe(self) -> Group | None:
        while self._ripe:
            value, number, group = self._ripe[0]
            if number != group._entry:
                heapq.heappop(self._ripe)
            elif value != group._rank:  # its first item has gone
                heapq.heapreplace(self._ripe, (group._rank, number, group))
            else:
                return group
        return None

    # ----------------------------------------------------------------------------------- taking
    def _take(self, group: Group) -> Flight:
        lane, flight = self._lane, new_flight(self._lane)
        while flight.size < lane._batch_size and (slot := group._first()):
            if flight.size and flight.weight + slot.weight > lane._batch_weight:
                break
            flight.weight += slot.weight
            lane._move(slot, flight)
        flight.group, flight._rises = group, not self._ranked
        group.in_flight += 1
        group._entry = 0
        if group.queued and not self._is_blocked(group):
            self._enter(group)
        return flight

    def _land(self, group: Group) -> None:
        group.in_flight -= 1
        if group.queued and not group._entry:
            self._enter(group)
        self._forget(group)


def answer(function: Callable[[Any], Any] | None, item: Any, given: Any, usual: Any) -> Any:
    """Give what was given with an item, or else what the user's function says of it."""
    if not isinstance(given, EllipsisType):
        return given
    return usual if function is None else function(item)


def check_weight(weight: Any) -> float:
    """Give a weight as a float; TypeError or ValueError for what is none."""
    number = check_number("weight", weight)
    if not 0 <= number < math.inf:
        raise ValueError(f"weight must be >= 0 and finite, got {weight!r}")
    return number


def check_priority(priority: Any) -> float:
    """Give a priority as a float; TypeError or ValueError for what is none."""
    number = check_number("priority", priority)
    if not -math.inf < number < math.inf:
        raise ValueError(f"priority must be finite, got {priority!r}")
    return number


def check_number(name: str, value: Any) -> float:
    """Give a number as a float; TypeError for what is none."""
    if isinstance(value, bool) or not hasattr(type(value), "__float__"):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return float(value)
