"""Groups: the queued items of one key, for batches of one key each, by weight and by priority."""

# The classes of the core share their internals.
# pyright: reportPrivateUsage=false

import heapq
import math
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microbatch._core_py.grouping import Groups
    from microbatch._core_py.lanes import Lane
    from microbatch._core_py.sharing import Shared
    from microbatch._core_py.slots import Slot

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
        self._pressing = False  # whether it counts as one of which a batch should go at once
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
        oldest = self._oldest()
        return math.inf if oldest is None else oldest.submitted

    @property
    def _presses(self) -> bool:
        """Whether a batch of it should go at once."""
        return not self._blocked and (self.full or self.heavy)

    @property
    def _blocked(self) -> bool:
        return self.in_flight >= self._groups._most_per_key

    def _is_needed(self) -> bool:
        return self._held > 0 or self.in_flight > 0

    def _is_here(self, slot: "Slot") -> bool:
        return slot.home is self._lane._queue

    def _oldest(self) -> "Slot | None":
        while self._line and not self._is_here(self._line[0]):
            self._line.popleft()
        return self._line[0] if self._line else None

    def _first(self) -> "Slot | None":
        """Give the slot that is taken next."""
        if not self._groups._ranked:
            return self._oldest()
        while self._ranks and not self._is_here(self._ranks[0][2]):
            heapq.heappop(self._ranks)
        return self._ranks[0][2] if self._ranks else None

    def _add(self, slot: "Slot") -> None:
        self._line.append(slot)
        self.queued += 1
        self.weight += slot.weight
        if self._groups._ranked:
            heapq.heappush(self._ranks, (slot.rank, slot.number, slot))
        if max(len(self._line), len(self._ranks)) > 2 * self.queued + SWEEP:
            self._sweep()

    def _sweep(self) -> None:
        self._line = deque(filter(self._is_here, self._line))
        if self._groups._ranked:
            self._ranks = [(slot.rank, slot.number, slot) for slot in self._line]
            heapq.heapify(self._ranks)

    def _remove(self, slot: "Slot") -> None:
        self.queued -= 1
        # Sums of floats drift; what is empty weighs nothing.
        self.weight = self.weight - slot.weight if self.queued else 0.0
        if not self.queued:
            self._entry = 0
