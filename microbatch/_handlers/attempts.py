"""What is to be done next for a sub-batch: an attempt, a pause, or no more than its outcome."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

__all__ = ["ATTEMPT", "Accepted", "Attempt", "Attempts", "GivenUp", "OneAttempt", "Pause", "Step"]


@dataclass(slots=True, eq=False)
class Attempt:
    """Hand the items to the handler."""


@dataclass(slots=True, eq=False)
class Pause:
    """Wait before the next attempt, as long as ``sleep()`` takes."""

    sleep: Callable[[], Awaitable[None]]


@dataclass(slots=True, eq=False)
class Accepted:
    """Make no more attempts: this is the answer."""

    answer: Any


@dataclass(slots=True, eq=False)
class GivenUp:
    """Make no more attempts: this is the failure."""

    error: BaseException


Step: TypeAlias = Attempt | Pause | Accepted | GivenUp
ATTEMPT = Attempt()


class Attempts(Protocol):
    """The attempts for one sub-batch, as somebody has them follow each other."""

    async def next_step(self) -> Step:
        """Say what is to be done next."""
        ...

    def ended(self, items: list[Any], answer: Any, error: Exception | None, /) -> None:
        """Take what an attempt for these items came to: an answer, or an error."""

    def close(self) -> None:
        """Forget everything, for there is no next step any more."""


class OneAttempt:
    """One attempt, whose outcome stands."""

    def __init__(self) -> None:
        self._step: Step = ATTEMPT

    async def next_step(self) -> Step:
        """Ask for one call of the handler, and then for no more."""
        return self._step

    def ended(self, _: list[Any], answer: Any, error: Exception | None) -> None:
        """Let the outcome stand."""
        self._step = Accepted(answer) if error is None else GivenUp(error)

    def close(self) -> None:
        """Keep nothing that knows its owner."""
