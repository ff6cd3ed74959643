"""Histograms: what a lane measures of its items and batches."""

import math
from collections import Counter
from collections.abc import Iterable

STEPS = 16
"""Buckets for each doubling."""
LEAST, MOST = 2.0**-30, 2.0**34


class Histogram:
    """Count values in buckets that grow with them: sixteen for each doubling.

    A bucket holds its upper bound, which is at most a sixteenth above any other value in it. So
    the powers of two are bounds, and whole numbers up to 32 have a bucket each. One bucket takes
    all that is not above 2 ** -30, and one all that is above 2 ** 34.

    ``sum``, ``min`` and ``max`` are those of the values; infinity and its negative without any.
    """

    def __init__(self) -> None:
        self.sum = 0.0
        self.min, self.max = math.inf, -math.inf
        self._counts: Counter[float] = Counter()  # by the bucket's bound

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bound_above(value)] += 1
        self.sum += value
        self.min, self.max = min(self.min, value), max(self.max, value)

    @property
    def buckets(self) -> list[tuple[float, int]]:
        """The upper bound of each bucket that is not empty, and its count, in rising order."""
        return sorted(self._counts.copy().items())


def bound_above(value: float) -> float:
    """Give the upper bound of the bucket that holds a value."""
    if not value > LEAST:
        return LEAST
    if value > MOST:
        return math.inf
    fraction, exponent = math.frexp(value)  # value == fraction * 2**exponent, 0.5 <= fraction < 1
    return math.ldexp(math.ceil(fraction * 2 * STEPS) / (2 * STEPS), exponent)


class Measures:
    """Be the histograms of one lane."""

    def __init__(self) -> None:
        self.batch_size, self.occupancy = Histogram(), Histogram()
        self.queue_wait, self.handler_time = Histogram(), Histogram()

    def _departed(self, waits: Iterable[float], batch_size: int) -> None:
        """Measure a batch that was taken just now."""
        size = 0
        for wait in waits:
            size += 1
            self.queue_wait.add(wait)
        if size:
            self.batch_size.add(size)
            self.occupancy.add(size / batch_size)
