"""Map an iterable through a submit function from a thread, reading only so far ahead."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from microbatch._streams.window import Window
from microbatch.errors import BatchTimeoutError

__all__ = ["BlockingMappedSource"]

T = TypeVar("T")
R = TypeVar("R")

PATIENCE = 0.001
"""Seconds that a source may take while results are ready to be given."""


class BlockingMappedSource(Generic[T, R]):
    """Submit what a source yields, and give the results; a window bounds the outstanding ones.

    ``submit`` takes an item and what to call, on the loop, if it joins an equal one. ``catch_up``
    waits until the loop has begun all that was submitted; it is None where no item joins another.
    """

    def __init__(
        self,
        submit: Callable[[T, Callable[[], None] | None], Future[R]],
        source: Iterable[T],
        *,
        window: Window,
        catch_up: Callable[[], object] | None,
        ordered: bool,
        return_exceptions: bool,
        with_items: bool,
        leave_out_late: bool,
    ) -> None:
        self._submit = submit
        self._source = source
        self._window = window
        self._catch_up = catch_up
        self._return_exceptions = return_exceptions
        self._with_items = with_items
        self._leave_out_late = leave_out_late
        self._read_so_far = 0
        # With the number of each, and the item if it is given.
        self._outstanding: dict[Future[R], tuple[int, T | None]] = {}
        self._joined: set[int] = set()  # the numbers of those that are handled with an equal item
        self._ready: InOrder[R] | AsDone[R] = InOrder() if ordered else AsDone()
        self._failure: Exception | None = None
        self._exhausted = False
        self._filling = True

    def results(self) -> Iterator[Any]:
        """Yield results; on the way out, whatever is outstanding is cancelled."""
        try:
            items = iter(self._source)
            while self._read_ahead(items) or self._outstanding:
                future = self._ready.next()
                number, item = self._outstanding.pop(future)
                self._joined.discard(number)
                try:
                    outcome: R | Exception = future.result()
                except Exception as error:
                    if self._return_exceptions:
                        outcome = error
                    elif self._leave_out_late and isinstance(error, BatchTimeoutError):
                        continue
                    else:
                        raise
                finally:
                    del future  # or what it failed with would know itself, by its traceback
                yield (item, outcome) if self._with_items else outcome
                del outcome  # as above
            if self._failure is not None:
                raise self._failure
        finally:
            for future in self._outstanding:
                future.cancel()

    def _read_ahead(self, items: Iterator[T]) -> bool:
        """Submit what there is room for, in bursts; tell whether anything is outstanding.

        Where the source is slow, the results that are ready go first.
        """
        if self._window.half_empty(len(self._outstanding), len(self._joined)):
            self._filling = True
        started = time.monotonic()
        while self._filling and not self._exhausted:
            self._read(items)
            self._filling = not self._full()
            if self._ready.any() and time.monotonic() - started >= PATIENCE:
                break
        return bool(self._outstanding)

    def _full(self) -> bool:
        """Tell whether nothing more may be read, after asking the loop which items joined."""
        full = self._window.full
        if full(len(self._outstanding), len(self._joined)) and self._catch_up is not None:
            self._catch_up()
        return full(len(self._outstanding), len(self._joined))

    def _read(self, items: Iterator[T]) -> None:
        number = self._read_so_far
        on_joining = None if self._catch_up is None else partial(self._joined.add, number)
        try:
            item = next(items)
            future = self._submit(item, on_joining)
        except StopIteration:
            self._exhausted = True
        except Exception as error:  # told after what came before it
            self._exhausted, self._failure = True, error
        else:
            self._read_so_far = number + 1
            self._outstanding[future] = number, item if self._with_items else None
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
