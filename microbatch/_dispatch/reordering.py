"""Conclude batches in the order in which they departed, those of each key for themselves."""

from collections import deque
from collections.abc import Callable
from typing import Any

from microbatch._core import InFlightBatch, KeyQueue

__all__ = ["ReorderBuffer", "line_of", "line_of_queue"]


class ReorderBuffer:
    """Hold what has ended until all that departed before it has ended too.

    ``call_soon(callback, *args)`` and ``wake()`` are for when an exit request has got in between.
    """

    def __init__(self, call_soon: Callable[..., object], wake: Callable[[], object]) -> None:
        self._call_soon, self._wake = call_soon, wake
        self._departed: dict[KeyQueue | None, deque[InFlightBatch[Any]]] = {}
        self._ended: dict[InFlightBatch[Any], Callable[[], object]] = {}

    def depart(self, batch: InFlightBatch[Any]) -> None:
        """Put a batch behind those that were taken before it."""
        line = self._departed.setdefault(line_of(batch), deque())
        place = len(line)
        while place and line[place - 1].number > batch.number:  # a finalizer had it start first
            place -= 1
        line.insert(place, batch)

    def end(self, batch: InFlightBatch[Any], conclude: Callable[[], object]) -> None:
        """Conclude a batch when it is its turn, and now those whose turn it is."""
        self._ended[batch] = conclude
        self._conclude(line_of(batch))

    def is_behind(self, batch: InFlightBatch[Any], other: InFlightBatch[Any]) -> bool:
        """Tell whether a batch is held until another one has ended."""
        line = self._departed.get(line_of(other), ())
        return batch in line and other in line and line.index(batch) > line.index(other)

    def _conclude(self, line: KeyQueue | None) -> None:
        try:
            while conclude := self._next(line):
                conclude()
        except BaseException:
            self._call_soon(self._go_on, line)
            raise

    def _go_on(self, line: KeyQueue | None) -> None:
        try:
            self._conclude(line)
        finally:
            self._wake()

    def _next(self, line: KeyQueue | None) -> Callable[[], object] | None:
        departed = self._departed.get(line)
        if departed is None or departed[0] not in self._ended:
            return None
        batch = departed.popleft()
        if not departed:
            del self._departed[line]
        return self._ended.pop(batch)


def line_of(batch: InFlightBatch[Any]) -> KeyQueue | None:
    """Give what batches have in common that keep an order.

    Those without a key are all in one line.
    """
    return line_of_queue(batch.queue)


def line_of_queue(queue: KeyQueue | None) -> KeyQueue | None:
    """Give what the batches of a key have in common."""
    return None if queue is None or queue.key is None else queue
