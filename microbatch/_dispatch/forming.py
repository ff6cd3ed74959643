"""When a batch should go, and why: late, so that it is full."""

import math
from collections.abc import Callable
from typing import Any

from microbatch._core import Flight, Group, Lane
from microbatch.batch import Reason
from microbatch.options import Options

__all__ = ["Forming"]

RESOLUTION = 1e-9
"""Seconds; a loop may fire a timer one tick of its clock early."""


class Forming:
    """Form the batches of one lane, each at the time when a handler call may start."""

    def __init__(self, lane: Lane, clock: Callable[[], float], options: Options) -> None:
        self.options = options
        self.closing = False
        self.draining = False
        """Whether somebody waits for the lane to be empty."""
        self._lane = lane
        self._clock = clock
        self._flushed_at = -math.inf

    def flush(self) -> None:
        """Let everything that is queued now go without companions."""
        self._flushed_at = self._clock()

    def next_batch(self) -> tuple[Flight[Any], Reason] | None:
        """Take the batch that should go now, and say why; None when all should wait."""
        lane, full = self._lane, self.options.max_batch_size
        if lane.grouped:
            return self._next_of_groups()
        queued = lane.queued
        if not queued:
            return None
        reason = "size" if queued >= full else self._due_early(lane.oldest)
        return reason and (lane.take(full), reason)

    def _next_of_groups(self) -> tuple[Flight[Any], Reason] | None:
        group = self._lane.next_group(self._due_before(), self._lane.crowded)
        if group is None:
            return None
        reason = self._why(group)
        return self._lane.take_group(group), reason

    def _why(self, group: Group) -> Reason:
        if group.full:
            return "size"
        if group.heavy:
            return "weight"
        return self._due_early(group.oldest) or "latency"

    def _due_before(self) -> float:
        """Say since when an item must be queued to go without companions."""
        latency = self.options.max_latency
        if self.closing or self.draining or not latency:
            return math.inf
        now = self._clock()
        # The timer was set for the sum of two floats, and this is a difference.
        return max(self._flushed_at, now - latency + RESOLUTION + 2 * math.ulp(now))

    def _due_early(self, oldest: float) -> Reason | None:
        """Say why a batch should go that is not full, and whose oldest item came then."""
        if self._lane.crowded:
            return "capacity"
        if self.closing:
            return "close"
        if self.draining or oldest <= self._flushed_at:
            return "flush"
        latency = self.options.max_latency
        if not latency:
            return "natural"
        return "latency" if oldest + latency <= self._clock() + RESOLUTION else None
