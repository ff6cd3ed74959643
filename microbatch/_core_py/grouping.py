"""Grouping: which group an item belongs to, and which group is next."""

# The classes of the core share their internals.
# pyright: reportPrivateUsage=false

import heapq
import math
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import EllipsisType
from typing import TYPE_CHECKING, Any, TypeAlias

from microbatch._core_py.flights import Flight, new_flight
from microbatch._core_py.groups import SWEEP, Group
from microbatch._core_py.sharing import Shared
from microbatch._core_py.slots import Slot
from microbatch._core_py.tickets import Ticket
from microbatch.errors import OverweightError

if TYPE_CHECKING:
    from microbatch._core_py.lanes import Lane

Entry: TypeAlias = tuple[float, int, int, Group]
"""The age or the rank of a slot, its number, and the number of the entry of its group."""


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
    by age, which wait for company, or the *ripe* by rank, which may go at once. Of equal ones the
    group goes first whose item was admitted first. An entry is stale when its number is no longer
    the group's.
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
        self._young: list[Entry] = []
        self._ripe: list[Entry] = []
        self._pressing = 0  # groups of which a batch should go at once
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
        group = self._hold_group(key)
        try:
            return Traits(group, weight, rank, self._find_shared(group, item))
        except BaseException:
            self._let_go(group)
            raise

    def _ask_nothing(self) -> Traits:
        """Give what an item is that was pushed when items did not stand in groups yet."""
        return Traits(self._hold_group(None), 1.0, 0.0, None)

    def _hold_group(self, key: Any) -> Group:
        try:
            group = self._by_key.get(key)
        except TypeError:
            check_hashable("key must be hashable", key)
            raise
        if group is None:
            group = self._by_key.setdefault(key, Group(self._lane, self, key))
        group._held += 1
        return group

    def _find_shared(self, group: Group, item: Any) -> Shared | None:
        if self._dedupe is None:
            return None
        same = self._dedupe(item)
        try:
            shared = group.shared.get(same)
        except TypeError:
            check_hashable("dedupe must give what is hashable", same)
            raise
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
        if group._is_needed():
            return
        try:
            if self._by_key.get(group.key) is group:
                del self._by_key[group.key]
                if group._is_needed():  # what compares keys has submitted an item
                    self._by_key.setdefault(group.key, group)
        except Exception:  # whatever comparing keys does, the items go on
            return
        if not self._by_key:  # all entries are stale, and what is empty takes no room
            self._by_key, self._young, self._ripe = {}, [], []

    def _stand(self, ticket: Ticket, items: list[Any], traits: list[Traits]) -> list[Slot]:
        """Give each item of a ticket a place in the queue, or with an equal one."""
        if self._dedupe is not None:  # with whose deadlines those of its callers are not in line
            ticket._own_deadline = True
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
        while not shared.open:  # it departed meanwhile
            shared = self._heir(shared)
        if shared.slot is None:
            shared.submitted = ticket.submitted
            shared.slot = self._stand_alone(shared, item, 0, traits)
        else:
            traits.group._held -= 1  # whose item it is holds it
            self._lane.joined += 1
            self._lane.deduplicated += 1
        return shared.board(ticket, item, index)

    def _heir(self, shared: Shared) -> Shared:
        if shared.heir is None:
            shared.heir = self._new_shared(shared.group, shared.same)
        return shared.heir

    def _rank_all(self) -> None:
        """Go by rank from now on."""
        self._ranked = True
        for group in self._by_key.values():
            group._sweep()

    def _squeeze(self) -> None:
        """Forget what left before it was admitted."""
        queue = self._lane._queue
        self._waiting = deque(slot for slot in self._waiting if slot.home is queue)

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
        self._reckon(group)
        if group._blocked:
            return
        if group._ripe and group._entry:
            moves_up = self._ranked and group._first() is slot
        else:
            moves_up = group._pressing or not group._entry
        if moves_up:
            self._enter(group)

    def _left(self, slot: Slot) -> None:
        """Take note that a slot is no longer queued."""
        group, slot.group = slot.group, None  # where it was queued a hole stays, for a while
        assert group is not None
        group._held -= 1
        if slot.number:
            self._admitted -= 1
            group._remove(slot)
            self._reckon(group)
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

    def _look(self) -> bool:
        """Tell whether a batch should go at once, after a submission."""
        self._admit()
        lane = self._lane
        if not lane.slot_free or not self._any:
            return False
        if self._pressing or lane.crowded:
            return True
        if not lane._latency:
            lane._due_soon()
        return False

    def _company(self) -> float:
        """Say until when the first group waits for company; infinity where none may go."""
        if not self._lane.slot_free or not self._lane._latency:
            return math.inf
        self._admit()
        if len(self._ripe) > self._pressing:
            self._sort_out()
        group = self._first_young()
        return math.inf if group is None else group.oldest + self._lane._latency

    @property
    def _any(self) -> bool:
        """Whether any group may go."""
        return self._first_young() is not None or self._first_ripe() is not None

    # ---------------------------------------------------------------------------- which is next
    def _reckon(self, group: Group) -> None:
        """Take note whether a batch of a group should go at once."""
        self._pressing += group._presses - group._pressing
        group._pressing = group._presses

    def _enter(self, group: Group) -> None:
        """Give a group its entry, in place of the one it had."""
        self._entry_number += 1
        group._entry = self._entry_number
        group._ripe = group._pressing or not self._lane._latency
        self._push(group)

    def _push(self, group: Group) -> None:
        if group._ripe:
            self._ripe = self._swept(self._ripe)
            heapq.heappush(self._ripe, ripe_entry(group))
        else:
            self._young = self._swept(self._young)
            heapq.heappush(self._young, young_entry(group))

    def _swept(self, heap: list[Entry]) -> list[Entry]:
        if len(heap) > 2 * len(self._by_key) + SWEEP:
            heap = [entry for entry in heap if entry[2] == entry[3]._entry]
            heapq.heapify(heap)
        return heap

    def _reconsider(self) -> None:
        """Enter all groups anew, when the options have changed."""
        for group in list(self._by_key.values()):
            self._reckon(group)
            if group._entry:
                self._enter(group)

    def _sort_out(self) -> None:
        """Let groups wait for company again of which no batch was taken when it could be."""
        ripe, self._ripe = self._ripe, []
        for *_, number, group in ripe:
            if number == group._entry:
                self._enter(group)

    def _first_young(self) -> Group | None:
        return first_of(self._young, young_entry)

    def _first_ripe(self) -> Group | None:
        return first_of(self._ripe, ripe_entry)

    def _next(self, before: float, anyway: bool) -> Group | None:
        self._admit()
        while (young := self._first_young()) and young.oldest <= before:
            heapq.heappop(self._young)
            young._ripe = True
            self._push(young)
        while ripe := self._first_ripe():
            if ripe._pressing or ripe.oldest <= before or not self._lane._latency:
                return ripe
            heapq.heappop(self._ripe)
            self._enter(ripe)  # those that made it ripe have gone
        return self._first_young() if anyway else None

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
        self._reckon(group)
        group._entry = 0
        if group.queued and not group._blocked:
            self._enter(group)
        return flight

    def _land(self, group: Group) -> None:
        group.in_flight -= 1
        self._reckon(group)
        if group.queued and not group._entry and not group._blocked:
            self._enter(group)
        self._forget(group)


def ripe_entry(group: Group) -> Entry:
    """Give a group its place among those that may go at once."""
    first = group._first()
    assert first is not None
    return first.rank, first.number, group._entry, group


def young_entry(group: Group) -> Entry:
    """Give a group its place among those that wait for company."""
    oldest = group._oldest()
    assert oldest is not None
    return oldest.submitted, oldest.number, group._entry, group


def first_of(heap: list[Entry], make: Callable[[Group], Entry]) -> Group | None:
    """Give the first group of a heap, after putting in order what has changed."""
    while heap:
        *_, number, group = entry = heap[0]
        if number != group._entry:
            heapq.heappop(heap)
        elif entry != (now := make(group)):  # its first item has gone
            heapq.heapreplace(heap, now)
        else:
            return group
    return None


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
    if isinstance(value, bool) or not hasattr(value.__class__, "__float__"):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def check_hashable(rule: str, value: Any) -> None:
    """Raise TypeError for what cannot be hashed."""
    try:
        hash(value)
    except TypeError:
        raise TypeError(f"{rule}, got {value!r}") from None
