"""What was submitted, what handlers answered, and so what each ticket may settle with."""

from __future__ import annotations

import weakref
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from microbatch import (
    BatcherClosedError,
    BatchError,
    BatchTimeoutError,
    CapacityError,
    HandlerCancelledError,
    ResultCountError,
)
from tests.hostile.mischief import Spite
from tests.hostile.things import Refusal, Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.hostile.things import Item

OUT_OF_TIME = "out of time"
DROPPED = "dropped"
CLOSED = "closed"
SPITE = "spite"
COUNT = "count"
CANCELLED = "handler cancelled"
NOTHING = "nothing"


class Violation(AssertionError):
    """A promise that was broken."""


class Entry:
    """One ticket, and the numbers of its items."""

    __slots__ = (
        "calls",
        "cancelled",
        "cancelled_at",
        "deadline",
        "done",
        "many",
        "numbers",
        "ticket",
        "watched",
    )

    def __init__(self, ticket: Any, numbers: list[int], *, many: bool) -> None:
        self.ticket = ticket
        self.numbers = numbers
        self.many = many
        self.cancelled = False  # somebody may have cancelled it
        self.cancelled_at: int | None = None  # the turn in which it was, certainly
        self.watched = 0  # callbacks that were added
        self.calls = 0  # and that were called
        self.done = False
        self.deadline = float("inf")


class Ledger:
    """Keep the books of one scenario."""

    def __init__(self, allowed: Callable[[Entry, str], bool], shared: bool) -> None:
        self.allowed = allowed
        """Whether an entry may fail for a reason that is no answer's."""
        self.shared = shared
        self.entries: list[Entry] = []
        self.entry_of: dict[int, Entry] = {}
        self.settled: list[Entry] = []
        self.identity: dict[int, Any] = {}
        self.answers: dict[Any, list[Any]] = defaultdict(list)
        self.references: list[weakref.ref[Any]] = []
        self.accepted = 0
        self.counts: dict[str, int] = defaultdict(int)
        """Of single tickets, by how they ended."""

    def know(self, thing: Any) -> None:
        """Look later whether it was let go."""
        self.references.append(weakref.ref(thing))

    def accept(self, ticket: Any, items: list[Item], *, many: bool) -> Entry:
        """Take note of a submission that was accepted."""
        entry = Entry(ticket, [item.number for item in items], many=many)
        self.accepted += len(items)
        self.entries.append(entry)
        for item in items:
            self.entry_of[item.number] = entry
        return entry

    def describe(self, item: Item) -> None:
        """Note what makes an item equal to others: asked by dedupe()."""
        self.identity[item.number] = (item.key, item.same) if self.shared else item.number

    def answer(self, number: int, token: Any) -> None:
        """Take note of what an item was answered."""
        self.answers[self.identity[number]].append(token)

    # ---------------------------------------------------------------------------------- checking
    def look(self) -> list[Entry]:
        """Check what has settled; give these entries."""
        done = [entry for entry in self.entries if entry.ticket.done()]
        if done:
            for entry in done:
                entry.done = True
                self.check(entry)
            self.entries = [entry for entry in self.entries if not entry.done]
            self.settled += done
        return done

    def check(self, entry: Entry) -> None:
        ticket = entry.ticket
        if ticket.cancelled():
            if not entry.cancelled:
                raise Violation(f"{entry.numbers} was cancelled by nobody")
            self.count(entry, "cancelled")
            return
        error = ticket.exception()
        if error is not None:
            self.count(entry, self.check_error(entry, entry.numbers, error))
        elif not entry.many:
            self.check_value(entry.numbers[0], ticket.result())
            self.count(entry, "completed")
        else:
            self.check_list(entry, ticket.result())

    def count(self, entry: Entry, end: str) -> None:
        if not entry.many:
            self.counts[end] += 1

    def check_list(self, entry: Entry, values: Any) -> None:
        if type(values) is not list or len(values) != len(entry.numbers):
            raise Violation(f"{entry.numbers} got {values!r}")
        for number, value in zip(entry.numbers, values, strict=True):
            if isinstance(value, BaseException):
                self.check_error(entry, [number], value)
            else:
                self.check_value(number, value)

    def check_value(self, number: int, value: Any) -> None:
        if value is None:
            token: Any = NOTHING
        elif type(value) is Result:
            token = ("result", value.number)
        else:
            raise Violation(f"{number} got {type(value)}, which nobody answered")
        answers = self.answers[self.identity[number]]
        if token not in answers:
            raise Violation(f"{number} got {token}, and was answered {answers}")

    def check_error(self, entry: Entry, numbers: list[int], error: BaseException) -> str:
        """Raise unless the error was due; say how its item counts."""
        if isinstance(error, BatchTimeoutError):
            self.check_allowed(entry, OUT_OF_TIME)
            return "late"
        if isinstance(error, CapacityError):
            self.check_allowed(entry, DROPPED)
            return "dropped"
        if isinstance(error, BatcherClosedError):
            self.check_allowed(entry, CLOSED)
            return "failed"
        token = token_of(error)
        if not any(token in self.answers[self.identity[number]] for number in numbers):
            raise Violation(f"{numbers} failed with {error!r}, which nobody raised for it")
        return "failed"

    def check_allowed(self, entry: Entry, reason: str) -> None:
        if not self.allowed(entry, reason):
            raise Violation(f"{entry.numbers} is {reason}, and should not be")

    def check_callbacks(self) -> None:
        """See that each callback of a settled ticket was called, once."""
        for entry in self.settled:
            if entry.calls != entry.watched:
                raise Violation(
                    f"{entry.watched} callbacks of {entry.numbers} were called {entry.calls} times"
                )

    def check_counts(self, statistics: Any, ends: list[str]) -> None:
        """See that the statistics tell the same, where no ticket was for many."""
        for end in ends:
            if self.counts[end] != getattr(statistics, end):
                raise Violation(
                    f"{self.counts[end]} items are {end}, and not {getattr(statistics, end)}"
                )


def token_of(error: BaseException) -> Any:
    """Say what a caller's exception goes back to."""
    if isinstance(error, Refusal):
        return error.token
    if isinstance(error, Spite):
        return SPITE
    if isinstance(error, ResultCountError):
        return COUNT
    if isinstance(error, HandlerCancelledError):
        return CANCELLED
    if isinstance(error, BatchError) and error.__cause__ is not None:
        return token_of(error.__cause__)
    return repr(error)
