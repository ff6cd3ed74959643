"""The slots that the queue and the flights are made of."""

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microbatch._core_py.groups import Group
    from microbatch._core_py.tickets import Ticket


class Slot:
    """Hold one unsettled item, and know its ticket and where it is."""

    __slots__ = (
        "group",
        "home",
        "index",
        "item",
        "number",
        "rank",
        "submitted",
        "ticket",
        "weight",
    )

    def __init__(self, ticket: "Ticket", item: Any, index: int, home: "Slots") -> None:
        self.ticket = ticket
        self.item = item
        self.index = index  # among the items of its ticket
        self.submitted = ticket.submitted
        self.home: Slots | None = home
        # For lanes whose items stand in groups:
        self.group: Group | None = None
        self.number = 0  # in the order of admission; 0 before it
        self.weight = 1.0
        self.rank = 0.0

    def vacate(self) -> None:
        """Leave home, and let go of the ticket and the item."""
        self.home = None  # first: a finalizer may ask
        del self.ticket, self.item


class Slots:
    """Keep slots in their order; one that has left, or was vacated, is a hole."""

    def __init__(self) -> None:
        self._slots: deque[Slot] = deque()
        self._rises = True  # whether those after a slot were submitted after it

    def _here(self) -> Iterator[Slot]:
        """Pass over the holes."""
        return (slot for slot in self._slots if slot.home is self)

    def _squeeze(self) -> None:
        """Forget the holes."""
        self._slots = deque(self._here())

    def _skip_holes(self) -> None:
        """Forget the holes before the first slot."""
        while self._slots and self._slots[0].home is not self:
            self._slots.popleft()

    def _pop(self) -> Slot:
        """Take out the first slot."""
        self._skip_holes()
        return self._slots.popleft()
