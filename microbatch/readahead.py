"""Map an iterable through a submit function from a thread, reading only so far ahead."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from microbatch.errors import BatchTimeoutError

__all__ = ["ReadAhead"]

T = TypeVar("T")
R = TypeVar("R")

PATIENCE = 0.001
"""Seconds that a source may take while results are ready to be given."""


class ReadAhead(Generic[T, R]):
    """Submit what a source yields, and give the outcomes; at most ``window`` are outstanding."""

    def __init__(
        self,
        submit: Callable[[T], Future[R]],
        source: Iterable[T],
        *,
        window: int,
        ordered: bool,
        return_exceptions: bool,
        leave_out_late: bool,
    ) -> None:
        self._submit = submit
        self._source = source
        self._window = window
        self._return_exceptions = return_exceptions
        self._leave_out_late = leave_out_late
        self._outstanding: set[Future[R]] = set()
        self._ready: InOrder[R] | AsDone[R] = InOrder() if ordered else AsDone()
        self._failure: Exception | None = None
        self._exhausted = False
        self._filling = True

    def outcomes(self) -> Iterator[Any]:
        """Yield results; on the way out, whatever is outstanding is cancelled."""
        try:
            items = iter(self._source)
            while self._read_ahead(items) or self._outstanding:
                future = self._ready.next()
                self._outstanding.discard(future)
                try:
                    outcome: R | Exception = future.result()
                except Exception as error:
                    if self._return_exceptions:
                        outcome = error
                    elif self._leave_out_late and isinstance(error, BatchTimeoutError):
                        continue
                    else:
                        raise
                del future
                yield outcome
            if self._failure is not None:
                raise self._failure
        finally:
            for future in self._outstanding:
                future.cancel()

    def _read_ahead(self, items: Iterator[T]) -> bool:
        """Submit what there is room for, in bursts; tell whether anything is outstanding.

        Where the source is slow, the results that are ready go first.
        """
        if len(self._outstanding) <= self._window // 2:
            self._filling = True
        started = time.monotonic()
        while self._filling and not self._exhausted:
            self._read(items)
            self._filling = len(self._outstanding) < self._window
            if self._ready.any() and time.monotonic() - started >= PATIENCE:
                break
        return bool(self._outstanding)

    def _read(self, items: Iterator[T]) -> None:
        try:
            item = next(items)
            future = self._submit(item)
        except StopIteration:
            self._exhausted = True
        except Exception as error:  # told after what came before it
            self._exhausted, self._failure = True, error
        else:
            self._outstanding.add(future)
            self._ready.add(future)


class InOrder(Generic[R]):
    """Give futures in the order in which they came."""

    def __init__(self) -> None:
        self._futures: deque[Future[R]] = deque()

    def add(self, future: Future[R]) -> None:
        """Take one that is to be given."""
        self._futures.append(future)

    def any(self) -> bool:
        """Tell whether the next one is done."""
        return bool(self._futures) and self._futures[0].done()

    def next(self) -> Future[R]:
        """Wait for the next one, and give it."""
        self._futures[0].exception()
        return self._futures.popleft()


class AsDone(Generic[R]):
    """Give futures as they are done."""

    def __init__(self) -> None:
        self._done: SimpleQueue[Future[R]] = SimpleQueue()

    def add(self, future: Future[R]) -> None:
        """Take one that is to be given once it is done."""
        future.add_done_callback(self._done.put)

    def any(self) -> bool:
        """Tell whether one is done."""
        return not self._done.empty()

    def next(self) -> Future[R]:
        """Wait for one that is done, and give it."""
        return self._done.get()
