"""Sharing: equal items that are queued together, and handled once for all their callers."""

# The classes of the core share their internals.
# pyright: reportPrivateUsage=false

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from microbatch._core_py.slots import Slot, Slots
from microbatch._core_py.tickets import IN_FLIGHT, QUEUED, RETURNED, Many, Ticket

if TYPE_CHECKING:
    from microbatch._core_py.groups import Group
    from microbatch._core_py.lanes import Lane


class Riders(Slots):
    """Be the slots of the callers who share one item."""

    def __init__(self, shared: "Shared") -> None:
        super().__init__()
        self.shared = shared


class Shared(Ticket):
    """Stand in the queue, and then in a flight, for all callers of an item.

    Nobody awaits it. It is given up with the last of its callers, and has no deadline but theirs.
    """

    __slots__ = ("count", "dropped", "group", "heir", "riders", "same", "slot")

    def _start_shared(self, lane: "Lane", group: "Group", same: Any) -> None:
        self._start(lane, None)
        self.group, self.same = group, same
        self.slot: Slot | None = None  # where it stands, once somebody is on board
        self.riders = Riders(self)
        self.count = 0  # of those on board
        self.dropped = False  # so they are counted already
        self.heir: Shared | None = None  # that takes callers in its stead

    @property
    def open(self) -> bool:
        """Whether it takes more callers."""
        return self._state == QUEUED

    def board(self, ticket: Ticket, item: Any, index: int) -> Slot:
        """Take one caller's item on board."""
        slot = Slot(ticket, item, index, self.riders)
        self.riders._slots.append(slot)
        self.count += 1
        return slot

    def leave(self) -> bool:
        """Count one who leaves or is settled; tell whether others are left."""
        self.count -= 1
        if self.count:
            self._lane.joined -= 1
        return self.count > 0

    def settle(self, make: Callable[[Ticket], tuple[str, Any]], counted: bool) -> None:
        """Settle each caller's item with what ``make(ticket)`` says."""
        self._state = RETURNED
        for slot in list(self.riders._here()):
            outcome = make(slot.ticket) if slot.home is self.riders else None
            if outcome is not None and slot.home is self.riders:  # nobody cancelled it meanwhile
                self.leave()
                self._lane._settle(slot, *outcome, counted)

    def depart(self) -> None:
        """Take no more callers; those on board are in flight."""
        self._state = IN_FLIGHT
        for slot in self.riders._here():
            if not isinstance(slot.ticket, Many):
                slot.ticket._state = IN_FLIGHT

    def forget(self) -> None:
        """Be found by no new caller; but the heir, if there is one."""
        shared, heir = self.group.shared, self.heir
        try:
            if shared.get(self.same) is self:
                if heir is not None and heir.open:
                    shared[self.same] = heir
                else:
                    del shared[self.same]
        except Exception:  # whatever comparing does, the item goes on
            return


def mark(slot: Slot, *, dropped: bool) -> int:
    """Take note whether an item is dropped; tell how many callers that concerns."""
    if isinstance(slot.ticket, Shared):
        slot.ticket.dropped = dropped
        return slot.ticket.count
    return 1
