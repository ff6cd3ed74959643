"""Hand each caller of a flight its part of what became of a handler call."""

import asyncio
import functools
from typing import Any, NamedTuple

from microbatch._core import Flight, Ticket
from microbatch.errors import HandlerCancelledError
from microbatch.outcome import individual, results_of

__all__ = ["SETTLED", "Interrupted", "Settling", "as_it_is"]

SETTLED: Any = object()
"""What a call answers that has settled its items by itself."""


class Interrupted(NamedTuple):
    """Be the answer of a call that has failed with results for some of its items."""

    results: dict[int, Any]
    """By place."""
    error: Exception


class Settling:
    """Settle the flights of one batcher; whatever goes wrong, no caller may hang."""

    def __init__(self, name: str) -> None:
        self._name = name

    def by_task(
        self, flight: Flight[Any], task: asyncio.Task[Any], name: str = ""
    ) -> BaseException | None:
        """Hand out what a task answered, the handler's unless a name says whose.

        Gives what the whole call failed with, if it did; a CancelledError when it was cancelled.
        """
        error: BaseException | None = None
        try:
            if task.cancelled():
                error = asyncio.CancelledError()
                flight.fail(self.cancelled_error)
            elif (error := task.exception()) is not None:  # an exit request has gone its own way
                self.error(flight, error)
            elif isinstance(answer := task.result(), Interrupted):
                error = self.interrupted(flight, answer)
            elif answer is not SETTLED:
                error = self.answer(flight, answer, name or self._name)
        finally:
            if flight.alive:
                flight.fail(self.cancelled_error)
        return error

    def answer(self, flight: Flight[Any], answer: Any, name: str) -> Exception | None:
        """Hand out the results of a call; a wrong number of them is everybody's error."""
        try:
            results = results_of(answer, flight.size, name)
        except Exception as wrong:
            self.error(flight, wrong)
            return wrong
        flight.resolve(results, individual)
        return None

    def interrupted(self, flight: Flight[Any], answer: Interrupted) -> Exception:
        """Hand out the results that there are, and the failure to the others."""
        results, error = answer
        flight.resolve(tuple(results.get(place, error) for place in range(flight.size)), individual)
        return error

    def error(self, flight: Flight[Any], error: BaseException) -> None:
        """Hand out an exception, to each caller a copy."""
        flight.fail(functools.partial(own_error, error))

    def cancelled_error(self, _: Ticket[Any] | None = None) -> HandlerCancelledError:
        """Say to a caller that the handler was cancelled."""
        return HandlerCancelledError(f"the handler of batcher {self._name!r} was cancelled")


def as_it_is(error: BaseException) -> BaseException:
    """Give an error that was made for one caller alone."""
    return error


def own_error(error: BaseException, _: Ticket[Any]) -> BaseException:
    """Make one caller's own copy of an error."""
    return individual(error)
