"""Hand each caller of a batch its part of what became of a handler call."""

import asyncio
import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from microbatch._core import InFlightBatch, Ticket
from microbatch._handlers.columns import rows_of
from microbatch._handlers.own_exceptions import individual, original
from microbatch._handlers.results import results_of
from microbatch.errors import HandlerCancelledError
from microbatch.options import Options

__all__ = ["SETTLED", "Individual", "Interrupted", "Settling", "as_it_is", "only_caller"]

Individual: TypeAlias = Callable[[BaseException], BaseException]
"""Makes a caller's own exception of one."""

SETTLED: Any = object()
"""What a call answers that has settled its items by itself."""


class Interrupted(NamedTuple):
    """The answer of a call that has failed with results for some of its items."""

    results: dict[int, Any]
    """By place."""
    error: Exception


class Settling:
    """Settle the batches of one batcher; whatever goes wrong, no caller may hang."""

    def __init__(self, name: str, options: Options) -> None:
        self._name = name
        self._read = rows_of if options.columnar else results_of
        self._alone = only_caller(options)
        self._own_errors = self.own_errors

    def by_task(
        self, batch: InFlightBatch[Any], task: asyncio.Task[Any], name: str = ""
    ) -> BaseException | None:
        """Hand out what a task answered, the handler's unless a name says whose.

        Gives what the whole call failed with, if it did; a CancelledError when it was cancelled.
        """
        error: BaseException | None = None
        try:
            if task.cancelled():
                error = asyncio.CancelledError()
                batch.fail(self.cancelled_error)
            elif (error := task.exception()) is not None:  # an exit request has gone its own way
                self.error(batch, error)
            elif isinstance(answer := task.result(), Interrupted):
                error = self.interrupted(batch, answer)
            elif answer is not SETTLED:
                error = self.answer(batch, answer, name)
        finally:
            if batch.alive:
                batch.fail(self.cancelled_error)
        return error

    def answer(self, batch: InFlightBatch[Any], answer: Any, name: str) -> Exception | None:
        """Hand out the results of a call; a wrong number of them is everybody's error."""
        try:
            if name:
                results = results_of(answer, batch.size, name, hint="")
            else:
                results = self._read(answer, batch.size, self._name)
        except Exception as wrong:
            self.error(batch, wrong)
            return wrong
        batch.answer(results, self._own_errors)
        return None

    def results(self, answer: Any, size: int) -> tuple[Any, ...]:
        """Give what a handler's answer means for each item; nobody else's is ever columnar."""
        return self._read(answer, size, self._name)

    def own_errors(self, batch: InFlightBatch[Any], results: Sequence[Any]) -> Individual:
        """Give what makes each caller's own exception of one among the results of a batch."""
        return functools.partial(own_among, self._alone, batch, results, {})

    def interrupted(self, batch: InFlightBatch[Any], answer: Interrupted) -> Exception:
        """Hand out the results that there are, and the failure to the others."""
        results, error = answer
        every = tuple(results.get(place, error) for place in range(batch.size))
        batch.answer(every, self._own_errors)
        return error

    def error(self, batch: InFlightBatch[Any], error: BaseException) -> None:
        """Hand out an exception, to each caller a copy."""
        own = self._alone if batch.alive == 1 else individual
        batch.fail(functools.partial(own_error, own, error))

    def cancelled_error(self, _: Ticket[Any] | None = None) -> HandlerCancelledError:
        """Say to a caller that the handler was cancelled."""
        return HandlerCancelledError(f"the handler of batcher {self._name!r} was cancelled")


def as_it_is(error: BaseException) -> BaseException:
    """Give an error that was made for one caller alone."""
    return error


def own_error(own: Individual, error: BaseException, _: Ticket[Any]) -> BaseException:
    """Make one caller's own exception of an error."""
    return own(error)


def own_among(
    alone: Individual,
    batch: InFlightBatch[Any],
    results: Sequence[Any],
    callers: dict[int, int],
    error: BaseException,
) -> BaseException:
    """Make one caller's own exception of one among the results.

    ``callers``, which is empty before the first, counts how many get the same.
    """
    if not callers:
        callers.update(Counter(id(results[place]) for place in batch.awaited))
    return (alone if callers.get(id(error)) == 1 else individual)(error)


def only_caller(options: Options) -> Individual:
    """Give what makes the exception of an item that has no companions in failing.

    With ``dedupe`` such an item may have several callers.
    """
    return original if options.dedupe is None else individual
