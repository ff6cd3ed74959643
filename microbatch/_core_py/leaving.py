"""Leaving: taking items out of wherever they are, before they are settled."""

# The classes of the core share their internals.
# pyright: reportPrivateUsage=false

from collections.abc import Iterable
from typing import TYPE_CHECKING

from microbatch._core_py.flights import Flight, new_flight
from microbatch._core_py.sharing import Riders, Shared, mark
from microbatch._core_py.slots import Slot, Slots

if TYPE_CHECKING:
    from microbatch._core_py.lanes import Lane


class Leaving:
    """Move items into ``queued`` and ``in_flight``, by where they are.

    ``hit`` collects the flights that they were in.
    """

    def __init__(self, lane: "Lane", queued: Flight, in_flight: Flight) -> None:
        self.queued, self.in_flight = queued, in_flight
        self.hit: list[Flight] = []
        self._lane = lane
        self._emptied: list[Slot] = []  # of shared items that nobody waits for any more

    def take(self, slots: Iterable[Slot]) -> None:
        """Take slots out; those that were settled meanwhile are passed over."""
        for slot in slots:
            home = slot.home
            if home is not None:
                self._lane._move(slot, self.queued if self._is_queued(home) else self.in_flight)
                self._tell(home, slot)

    def _is_queued(self, home: Slots) -> bool:
        return home.shared.open if isinstance(home, Riders) else home is self._lane._queue

    def _tell(self, home: Slots, slot: Slot) -> None:
        """Tell an item's home that it has left."""
        if isinstance(home, Riders):
            self._leave(home.shared)
        elif isinstance(home, Flight):
            if home._counted == "late":  # and now it comes to another end
                self._lane.late -= 1
            elif home._counted == "dropped":
                self._lane.dropped -= mark(slot, dropped=False)
            self._lose(home)

    def _lose(self, flight: Flight) -> None:
        flight.alive -= 1
        self._note(flight)
        if flight.alive == 0:
            flight._land()

    def _note(self, flight: Flight) -> None:
        if flight not in self.hit:
            self.hit.append(flight)

    def _leave(self, shared: Shared) -> None:
        """Take one caller from a shared item, which is given up with the last."""
        if shared.dropped:
            self._lane.dropped -= 1
        others = shared.leave()
        slot = shared.slot
        assert slot is not None
        home = slot.home
        if others or home is None:  # or it is being settled
            if isinstance(home, Flight):
                self._note(home)
            return
        self._lane._move(slot, new_flight(self._lane))
        self._emptied.append(slot)  # to let go of last
        if isinstance(home, Flight):
            self._lose(home)

    def tell_abandoned(self) -> None:
        """Tell the lane's owner of the flights that nobody waits for any more."""
        for flight in self.hit:
            if flight.alive == 0:
                self._lane._on_abandoned(flight)
        for slot in self._emptied:
            slot.vacate()
