"""Flights: the items of one handler call."""

# The classes of the core share their internals.
# pyright: reportPrivateUsage=false

from collections.abc import Callable
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from microbatch._core_py.slots import Slot, Slots
from microbatch._core_py.tickets import RAISED, RETURNED

if TYPE_CHECKING:
    from microbatch._core_py.lanes import Lane


class Flight(Slots):
    """Be the items of one handler call, from taking them to settling the last.

    Made by a lane. ``size`` counts the items that were taken, ``alive`` those that were not given
    up since (0 once it has landed), and ``departed`` is when they were taken. ``task`` and
    ``reason`` are the owner's to use.
    """

    def __class_getitem__(cls, parameters: Any) -> GenericAlias:
        return GenericAlias(cls, parameters)

    def __init__(self) -> None:
        super().__init__()
        self.size = 0
        self.alive = 0
        self.departed = 0.0
        self.task: Any = None
        self.reason: Any = None
        self._lane: Lane
        self._counted = ""  # "late" or "dropped" already, so not once more when they are settled

    @property
    def items(self) -> list[Any]:
        """The items that are neither settled nor given up."""
        return [slot.item for slot in self._here()]

    @property
    def waits(self) -> list[float]:
        """Seconds from submission to departure, of each item that departed."""
        return [self.departed - slot.submitted for slot in self._slots]

    def resolve(
        self, results: tuple[Any, ...], individual: Callable[[BaseException], BaseException]
    ) -> None:
        """Settle each item with its result; ``results`` are as many as ``size``.

        An exception among them is a failure: its caller is given ``individual(exception)``.
        """
        if len(results) != self.size:
            raise ValueError(f"results must be {self.size} for this flight, got {len(results)}")
        for slot, value in zip(self._slots, results, strict=True):
            if slot.home is not self:
                continue
            if isinstance(value, BaseException):
                self._settle(slot, RAISED, individual(value))
            else:
                self._settle(slot, RETURNED, value)
        self._land()

    def fail(self, make_error: Callable[[Any], BaseException]) -> None:
        """Settle each item with an exception of its own, ``make_error(ticket)``."""
        for slot in self._slots:
            if slot.home is self:
                self._settle(slot, RAISED, make_error(slot.ticket))
        self._land()

    def _settle(self, slot: Slot, state: str, value: Any) -> None:
        # Making the exception may have run code that cancelled the ticket.
        if slot.home is self:
            self._lane._settle(slot, state, value, bool(self._counted))

    def _land(self) -> None:
        self.alive = 0
        if self in self._lane._flights:
            self._lane._flights.remove(self)


def new_flight(lane: "Lane") -> Flight:
    """Make an empty flight of that lane."""
    flight = Flight()
    flight._lane = lane
    return flight
