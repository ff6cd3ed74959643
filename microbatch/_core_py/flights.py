"""Flights: the items of one handler call."""

# The classes of the core share their internals.
# pyright: reportPrivateUsage=false

from collections.abc import Callable
from contextvars import Context
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from microbatch._core_py.slots import Slot, Slots
from microbatch._core_py.tickets import RAISED, RETURNED

if TYPE_CHECKING:
    from microbatch._core_py.lanes import Lane


class Flight(Slots):
    """Be the items of one handler call, from taking them to settling the last.

    Made by a lane. ``size`` counts the items that were taken, ``alive`` those that were not given
    up since (0 once it has landed), and ``failed`` those that got an exception, in a part of it
    too. ``departed`` is when they were taken, and ``ended`` when their handler call ended, 0
    before. ``task`` and ``reason`` are the owner's to use.
    """

    def __class_getitem__(cls, parameters: Any) -> GenericAlias:
        return GenericAlias(cls, parameters)

    def __init__(self) -> None:
        super().__init__()
        self.size = 0
        self.alive = 0
        self.failed = 0
        self.departed = 0.0
        self.ended = 0.0
        self.task: Any = None
        self.reason: Any = None
        self._lane: Lane
        self._whole: Flight | None = None  # what it is a part of
        self._counted = ""  # "late" or "dropped" already, so not once more when they are settled

    @property
    def items(self) -> list[Any]:
        """The items that are neither settled nor given up."""
        return [slot.item for slot in self._here()]

    @property
    def waits(self) -> list[float]:
        """Seconds from submission to departure, of each item that departed."""
        return [self.departed - slot.submitted for slot in self._slots]

    @property
    def contexts(self) -> list[Context | None]:
        """The context of each item's submission; None where it is settled, or none was captured."""
        here = (slot.ticket if slot.home is self else None for slot in self._slots)
        return [None if ticket is None else ticket._captured for ticket in here]

    @property
    def awaited(self) -> tuple[int, ...]:
        """The places of the items that are neither settled nor given up."""
        return tuple(place for place, slot in enumerate(self._slots) if slot.home is self)

    def end(self) -> None:
        """Measure the handler call, which has ended just now."""
        self.ended = self._lane._clock()
        self._lane.measures.handler_time.add(self.ended - self.departed)

    def settle(
        self, place: int, value: Any, individual: Callable[[BaseException], BaseException]
    ) -> bool:
        """Settle one item with its result, or with an exception as resolve() does.

        False where it is settled or given up already.
        """
        if not 0 <= place < self.size:
            raise IndexError(f"place must be from 0 to {self.size - 1} in this flight, got {place}")
        slot, state = self._slots[place], RETURNED
        if slot.home is self and isinstance(value, BaseException):
            state, value = RAISED, individual(value)
        if slot.home is not self:
            return False
        self.alive -= 1
        self._settle(slot, state, value)
        if self.alive == 0:
            self._land()
        return True

    def part(self, start: int, stop: int) -> "Flight":
        """Move what is awaited of these places into a flight of its own, which departed with it."""
        part = new_flight(self._lane)
        part._whole = self._whole or self
        part.departed, part.reason, part._counted = self.departed, self.reason, self._counted
        for slot in list(self._slots)[max(start, 0) : stop]:
            if slot.home is self:
                self._lane._move(slot, part)
        self.alive -= part.size
        if part.size:
            self._lane._flights.append(part)
            if self.alive == 0:
                self._land()
        return part

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
            (self._whole or self).failed += state == RAISED
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
