"""Flights: the items of one handler call."""

# The classes of the core share their internals.
# pyright: reportPrivateUsage=false

from collections.abc import Callable
from contextvars import Context
from functools import partial
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from microbatch._core_py.sharing import Shared
from microbatch._core_py.slots import Slot, Slots
from microbatch._core_py.tickets import RAISED, RETURNED

if TYPE_CHECKING:
    from microbatch._core_py.groups import Group
    from microbatch._core_py.lanes import Lane


class Flight(Slots):
    """Be the items of one handler call, from taking them to settling the last.

    Made by a lane. ``size`` counts the items that were taken, ``alive`` those that were not given
    up since (0 once it has landed), and ``failed`` those that got an exception, in a part of it
    too. ``departed`` is when they were taken, and ``ended`` when their handler call ended, 0
    before. ``task``, ``reason``, ``places`` and ``attempt`` are the owner's to use.
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
        self.places: Any = None
        self.attempt = 1
        self.group: Group | None = None
        self.weight = 0.0
        self._lane: Lane
        self._whole: Flight | None = None  # what it is a part of
        self._counted = ""  # "late" or "dropped" already, so not once more when they are settled

    @property
    def name(self) -> str:
        """The name of its lane."""
        return self._lane.name

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
    def deadlines(self) -> list[float | None]:
        """When each item is late, the last of its callers' where they share it.

        Infinity where it never is; None where it is settled or given up.
        """
        return [deadline_of(slot) if slot.home is self else None for slot in self._slots]

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
        slot = self._slots[place]
        outcome = None if is_shared(slot) else of(value, individual)
        if slot.home is not self:  # making it may have run code that cancelled the ticket
            return False
        self._count(failed=isinstance(value, BaseException))
        self.alive -= 1
        if outcome is None:
            self._settle_shared(slot, partial(of, value, individual))
        else:
            self._lane._settle(slot, *outcome, bool(self._counted))
        if self.alive == 0:
            self._land()
        return True

    def part(self, start: int, stop: int) -> "Flight":
        """Move what is awaited of these places into a flight of its own, which departed with it.

        It is of the same group, and the same batch: leave_group() wants but one of the two.
        """
        part = new_flight(self._lane)
        part._whole = self._whole or self
        part.departed, part.reason, part._counted = self.departed, self.reason, self._counted
        part.group, part._rises = self.group, self._rises
        for slot in list(self._slots)[max(start, 0) : stop]:
            if slot.home is self:
                part.weight += slot.weight
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
            if slot.home is self:
                failed = isinstance(value, BaseException)
                self._settle(slot, partial(of, value, individual), failed=failed)
        self._land()

    def fail(self, make_error: Callable[[Any], BaseException]) -> None:
        """Settle each item with an exception of its own, ``make_error(ticket)``."""
        for slot in self._slots:
            if slot.home is self:
                self._settle(slot, lambda ticket: (RAISED, make_error(ticket)), failed=True)
        self._land()

    def _settle(self, slot: Slot, make: Callable[[Any], tuple[str, Any]], *, failed: bool) -> None:
        if is_shared(slot):
            self._count(failed=failed)
            self._settle_shared(slot, make)
            return
        outcome = make(slot.ticket)
        if slot.home is self:
            self._count(failed=failed)
            self._lane._settle(slot, *outcome, bool(self._counted))

    def _count(self, *, failed: bool) -> None:
        (self._whole or self).failed += failed

    def _settle_shared(self, slot: Slot, make: Callable[[Any], tuple[str, Any]]) -> None:
        shared = slot.ticket
        assert isinstance(shared, Shared)
        slot.vacate()
        shared.settle(make, bool(self._counted))

    def _land(self) -> None:
        self.alive = 0
        if self in self._lane._flights:
            self._lane._flights.remove(self)


def is_shared(slot: Slot) -> bool:
    """Tell whether a slot's item is that of several callers."""
    return slot.home is not None and isinstance(slot.ticket, Shared)


def deadline_of(slot: Slot) -> float:
    """Say when nobody waits for a slot's item any more; infinity where that is never."""
    ticket = slot.ticket
    if isinstance(ticket, Shared):
        return max(each.ticket.deadline for each in ticket.riders._here())
    return ticket.deadline


def of(
    value: Any, individual: Callable[[BaseException], BaseException], _: Any = None
) -> tuple[str, Any]:
    """Give the state and the value of one caller's outcome; an exception is made its own."""
    if isinstance(value, BaseException):
        return RAISED, individual(value)
    return RETURNED, value


def callers(home: Slots) -> int:
    """Count the callers' items in a row of slots, where some share theirs."""
    tickets = [slot.ticket for slot in home._here()]
    return sum(each.count if isinstance(each, Shared) else 1 for each in tickets)


def new_flight(lane: "Lane") -> Flight:
    """Make an empty flight of that lane."""
    flight = Flight()
    flight._lane = lane
    return flight
