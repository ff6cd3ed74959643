"""Deadlines: those in line, which rise along the slots, and those of a ticket's own."""

# The classes of the core share their internals.
# pyright: reportPrivateUsage=false

import heapq
import math
from collections.abc import Iterable

from microbatch._core_py.slots import Slot, Slots
from microbatch._core_py.tickets import Ticket


def late_of(home: Slots, now: float) -> list[Slot]:
    """Give the slots that are late, but for tickets with a deadline of their own."""
    late: list[Slot] = []
    for slot in home._here():
        if slot.ticket._own_deadline:
            continue
        if slot.ticket.deadline > now:
            if home._rises:  # and so are all after it
                break
            continue
        late.append(slot)
    return late


def earliest(home: Slots) -> float:
    """Give the earliest deadline, but for those that are a ticket's own; infinity without one."""
    in_line = (slot.ticket.deadline for slot in home._here() if not slot.ticket._own_deadline)
    return next(in_line, math.inf) if home._rises else min(in_line, default=math.inf)


class OwnDeadlines:
    """Be a heap of tickets by deadline; settled ones leave it when they come up, or in a sweep."""

    def __init__(self) -> None:
        self.live = 0  # tickets that are not settled
        self._heap: list[tuple[float, int, Ticket]] = []
        self._number = 0  # decides between equal deadlines

    def add(self, ticket: Ticket) -> None:
        """Take in a ticket whose deadline is finite."""
        if len(self._heap) > max(64, 2 * self.live):
            self._heap = [each for each in self._heap if not each[2].done()]
            heapq.heapify(self._heap)
        self._number += 1
        self.live += 1
        heapq.heappush(self._heap, (ticket.deadline, self._number, ticket))

    def replace(self, tickets: Iterable[Ticket]) -> None:
        """Take in these for those that stand here; their deadlines have changed."""
        self.live -= sum(not each[2].done() for each in self._heap)
        self._heap = []
        for ticket in tickets:
            if ticket._own_deadline and ticket.deadline < math.inf:
                self.add(ticket)

    def earliest(self) -> float:
        """Give the deadline of the ticket that comes first; infinity without one."""
        while self._heap and self._heap[0][2].done():
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def pop(self) -> Ticket:
        """Take out the ticket that comes first."""
        return heapq.heappop(self._heap)[2]
