"""Have free slots wait for company as learned, and count what that gained."""

import math
from collections import deque
from typing import Any, NamedTuple

from microbatch._core import InFlightBatch, Lane
from microbatch._dispatch.learning import EVERY, Ended, LearnedWait
from microbatch.options import Options

__all__ = ["Company", "Gains"]


class FreeSlot(NamedTuple):
    """A slot that may wait for company."""

    until: float
    """When it waits no longer, by the loop's clock; minus infinity where it doesn't wait."""
    since: float = 0.0
    """When it became free."""
    seconds: float = 0.0
    """How long its last handler call took."""
    queued: int = 0
    """How many items were queued then."""


FREE = FreeSlot(-math.inf)


class Gains:
    """Say how long slots wait for company, and count what that has gained."""

    def __init__(self) -> None:
        self.learned_latency = 0.0
        self.expected_arrivals = 0.0
        self.batches_saved = 0
        self.seconds_saved = 0.0
        self._seconds = 0.0  # less those that were lost since

    def add(self, slot: FreeSlot, batch: InFlightBatch[Any]) -> None:
        """Count those who came in the wait: each saved a handler call, and the others waited."""
        waited = min(batch.departed, slot.until) - slot.since
        if waited > 0:
            came = max(batch.size - max(slot.queued, 1), 0)
            self.batches_saved += came > 0
            self._seconds += came * slot.seconds - (batch.size - came / 2) * waited
            self.seconds_saved = max(self.seconds_saved, self._seconds)  # a counter never falls


class Company:
    """Let each slot that becomes free wait for those who come back, as long as learned.

    Batches go from the slot that has been free for longest, so its wait is the one that counts.
    """

    def __init__(self, lane: Lane, options: Options, gains: Gains) -> None:
        self._lane, self._gains = lane, gains
        self._learned = LearnedWait(
            options.max_concurrent_batches,
            options.max_batch_size,
            options.longest_learned_wait,
            lane.take_arrivals,
        )
        self._until_choice = EVERY
        self._free: deque[FreeSlot] = deque()  # known while one of them waits
        self._enough = 0

    def ended(self, batch: InFlightBatch[Any]) -> None:
        """Learn of a batch that has ended, and have its slot wait."""
        self._until_choice -= 1
        if not self._until_choice:
            self._until_choice = EVERY
            self._choose()
        if self._learned.wait or self._free:
            self._wait(batch)

    def departed(self, batch: InFlightBatch[Any]) -> None:
        """Take note that a batch has taken a slot."""
        if self._free:
            slot = self._free.popleft()
            self._enough -= batch.size
            self._gains.add(slot, batch)
            self._tell()

    def _choose(self) -> None:
        ended = Ended(*self._lane.take_ended())
        if ended.batches:  # while somebody drains nothing is learned
            self._learned.choose(ended)
            self._gains.learned_latency = self._learned.wait
            self._gains.expected_arrivals = self._learned.expected

    def _wait(self, batch: InFlightBatch[Any]) -> None:
        free, now, wait = self._free, batch.ended, self._learned.wait
        queued = batch.queue.queued if batch.queue else 0
        if not free:
            free.extend([FREE] * self._lane.free_slots)
        if not (free and free[-1].until > now):
            self._enough = queued
        self._enough += batch.size
        seconds = now - batch.departed
        free.append(FreeSlot(now + wait, now, seconds, queued) if wait else FREE)
        self._tell()

    def _tell(self) -> None:
        """Have the lane wait as the first free slot does; forget them when none of them waits."""
        if self._free and self._free[0] is not FREE:
            slot = self._free[0]
            self._lane.wait(slot.until, slot.until + slot.seconds, max(self._enough, 1))
        elif all(slot is FREE for slot in self._free):
            self._free.clear()
