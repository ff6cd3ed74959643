"""Deadlines: those in line, which rise along the slots, and those of a ticket's own."""

# The classes of the core share their internals.
# pyright: reportPrivateUsage=false

import heapq
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from microbatch._core_py.leaving import Leaving
from microbatch._core_py.sharing import Shared
from microbatch._core_py.slots import Slot, Slots
from microbatch._core_py.tickets import Ticket

if TYPE_CHECKING:
    from microbatch._core_py.lanes import Lane


def next_deadline(lane: "Lane") -> float:
    """Say when the next item of a lane is late; infinity where none will be."""
    return min(lane._own_deadlines.earliest(), *map(earliest, homes(lane)))


def take_late(lane: "Lane", leaving: Leaving, now: float) -> None:
    """Take what has passed its deadline: by where it stands, and then those out of line."""
    for home in list(homes(lane)):
        leaving.take(late_of(home, now))
    while lane._own_deadlines.earliest() <= now:
        leaving.take(lane._own_deadlines.pop()._slots)


def retime(lane: "Lane") -> None:
    """Give the tickets without a timeout of their own the one that is in force now."""
    tickets = {each: None for home in homes(lane) for each in tickets_of(home)}
    for ticket in tickets:
        if not ticket._own_timeout:
            ticket.deadline = ticket.submitted + lane._timeout
    lane._own_deadlines.replace(sorted(tickets, key=lambda ticket: ticket.submitted))


def homes(lane: "Lane") -> Iterator[Slots]:
    """Give the rows of slots where items may become late."""
    yield lane._queue
    yield from (flight for flight in lane._flights if not flight._counted)


def tickets_of(home: Slots) -> Iterator[Ticket]:
    """Give the callers' tickets that have items there, some of them more than once."""
    for slot in home._here():
        if isinstance(slot.ticket, Shared):
            yield from (each.ticket for each in slot.ticket.riders._here())
        else:
            yield slot.ticket


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


def check_timeout(timeout: Any) -> None:
    """Raise TypeError or ValueError for what is no timeout."""
    if timeout is None or timeout is ...:
        return
    if isinstance(timeout, bool) or not hasattr(timeout.__class__, "__float__"):
        raise TypeError(f"timeout must be a number of seconds or None, got {timeout!r}")
    try:
        positive = float(timeout) > 0
    except OverflowError:
        raise ValueError(
            f"timeout must be a finite number of seconds or None, got {timeout!r}"
        ) from None
    if not positive:
        raise ValueError(f"timeout must be > 0, got {timeout!r}")
