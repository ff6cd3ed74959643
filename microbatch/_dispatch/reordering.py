"""Conclude batches in the order in which they departed, those of each key for themselves."""

from collections import deque
from collections.abc import Callable
from typing import Any

from microbatch._core import Flight, Group

__all__ = ["ReorderBuffer", "line_of", "line_of_group"]


class ReorderBuffer:
    """Hold what has ended until all that departed before it has ended too.

    ``call_soon(callback, *args)`` and ``wake()`` are for when an exit request has got in between.
    """

    def __init__(self, call_soon: Callable[..., object], wake: Callable[[], object]) -> None:
        self._call_soon, self._wake = call_soon, wake
        self._departed: dict[Group | None, deque[Flight[Any]]] = {}
        self._ended: dict[Flight[Any], Callable[[], object]] = {}

    def depart(self, flight: Flight[Any]) -> None:
        """Put a flight behind those that departed before it."""
        self._departed.setdefault(line_of(flight), deque()).append(flight)

    def end(self, flight: Flight[Any], conclude: Callable[[], object]) -> None:
        """Conclude a flight when it is its turn, and now those whose turn it is."""
        self._ended[flight] = conclude
        self._conclude(line_of(flight))

    def is_behind(self, flight: Flight[Any], other: Flight[Any]) -> bool:
        """Tell whether a flight is held until another one has ended."""
        line = self._departed.get(line_of(other), ())
        return flight in line and other in line and line.index(flight) > line.index(other)

    def _conclude(self, line: Group | None) -> None:
        try:
            while conclude := self._next(line):
                conclude()
        except BaseException:
            self._call_soon(self._go_on, line)
            raise

    def _go_on(self, line: Group | None) -> None:
        try:
            self._conclude(line)
        finally:
            self._wake()

    def _next(self, line: Group | None) -> Callable[[], object] | None:
        departed = self._departed.get(line)
        if departed is None or departed[0] not in self._ended:
            return None
        flight = departed.popleft()
        if not departed:
            del self._departed[line]
        return self._ended.pop(flight)


def line_of(flight: Flight[Any]) -> Group | None:
    """Give what flights have in common that keep an order.

    Those without a key are in line with those from before there were groups.
    """
    return line_of_group(flight.group)


def line_of_group(group: Group | None) -> Group | None:
    """Give what the flights of a group have in common."""
    return None if group is None or group.key is None else group
