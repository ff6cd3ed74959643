"""A world whose tickets and batches are known by their numbers, to be compared with a model."""

from __future__ import annotations

import contextvars
import weakref
from typing import TYPE_CHECKING, Any

from microbatch import _core
from tests.core.world import CALLER, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.core.model import Thing


class Pinned:
    """What a lane holds while it has unsettled items."""


class Peer(World):
    """Know everything by its number, so that it can be compared with a Model."""

    def __init__(self, **options: Any) -> None:
        self.pinned: weakref.ref[Pinned] | None = None
        self.tickets: list[Any] = []
        self.batches: list[Any] = []
        self.callbacks: dict[tuple[int, str], Callable[[Any], None]] = {}
        super().__init__(_core, pin=self.pin, **options)

    def pin(self) -> Pinned:
        pinned = Pinned()
        self.pinned = weakref.ref(pinned)
        return pinned

    def _call_at(self, when: float, callback: Callable[[], object]) -> Any:
        self.handles = [handle for handle in self.handles if not handle.cancelled]
        return super()._call_at(when, callback)

    @property
    def pins(self) -> bool:
        return self.pinned is not None and self.pinned() is not None

    @property
    def will_be_due(self) -> bool:
        """Whether the owner is about to be told to look."""
        return self.lane.due in self.soon

    def numbered_log(self) -> list[tuple[Any, ...]]:
        """Give the log since the last time, with numbers for the objects."""
        log, self.log[:] = self.log[:], []
        return [self.numbered(entry) for entry in log]

    def numbered(self, entry: tuple[Any, ...]) -> tuple[Any, ...]:
        if entry[0] == "abandoned":
            return ("abandoned", self.batches.index(entry[1]))
        if entry[0] == "reported":
            _, error, callback, ticket = entry
            name = next(name for (_, name), known in self.callbacks.items() if known is callback)
            return ("reported", type(error).__name__, name, self.tickets.index(ticket))
        return entry

    # ------------------------------------------------------------------------------------ actions
    def submit_as(self, how: str, values: list[Thing], **options: Any) -> None:
        argument = values if how == "submit_many" else values[0]
        self.tickets.append(getattr(self.submitter, how)(argument, **options))

    def keep(self, *batches: Any) -> None:
        self.batches += batches

    def callback(self, number: int, name: str) -> Callable[[Any], None]:
        """Give the one callback of that name for a ticket."""
        ticket = self.tickets[number]

        def call(given: Any) -> None:
            assert given is ticket
            assert CALLER.get() == f"{number} {name}"
            self.log.append(("called", name, number))
            self.act(number, name)

        return self.callbacks.setdefault((number, name), call)

    def act(self, number: int, name: str) -> None:
        if name == "raise":
            raise ValueError
        if name == "exit":
            raise KeyboardInterrupt
        if name == "add":
            self.add_callback(number, "plain")
        elif name == "wake":
            self.lane.wake()
        elif name == "cancel":
            self.tickets[0].cancel()

    def add_callback(self, number: int, name: str) -> None:
        context = contextvars.Context()
        context.run(CALLER.set, f"{number} {name}")
        self.tickets[number].add_done_callback(self.callback(number, name), context=context)

    def remove_callback(self, number: int, name: str) -> Any:
        return self.tickets[number].remove_done_callback(self.callback(number, name))


def attempt(action: Callable[[], Any]) -> tuple[str, Any]:
    """Say what came of a call, so that it can be compared."""
    try:
        return ("returned", action())
    except (Exception, KeyboardInterrupt) as error:
        return ("raised", error)


def comparable(value: Any) -> Any:
    """Make outcomes equal where they should be: a handler's errors are told apart, others not."""
    if isinstance(value, BaseException):
        return (type(value).__name__, value.args if isinstance(value, ValueError) else ())
    return [comparable(each) for each in value] if isinstance(value, list) else value


def copied(error: BaseException) -> BaseException:
    """Make one caller's own copy of an error."""
    return type(error)(*error.args)


def user_function(name: str) -> Callable[[Thing], Any]:
    """Make what a lane asks about its items."""
    return lambda thing: thing.asked(name)
