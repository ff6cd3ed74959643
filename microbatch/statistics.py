"""What a batcher has done so far, as a snapshot that never changes."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from itertools import accumulate
from types import MappingProxyType
from typing import Any, TypeAlias

__all__ = ["BatcherStatistics", "Distribution"]

LOWEST = 2.0**-30
"""The bound of the lowest bucket."""
BELOW_A_THOUSAND = 999.5
"""What is below has three digits before the point, if it is rounded to three."""

Facts: TypeAlias = list[tuple[str, str]]
"""What is shown: a name and a figure for each line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How values were distributed, up to a sixteenth of each.

    The buckets are sixteen for each doubling; the powers of two are bounds of theirs, and whole
    numbers up to 32 have one each. All from 0 to 2 ** -30 (about a nanosecond) are in one bucket,
    and so are all above 2 ** 34.
    """

    buckets: tuple[tuple[float, int], ...] = ()
    """The upper bound of each bucket that is not empty, which is in it, and how many values the
    bucket holds, in rising order."""
    sum: float = 0.0
    """The sum of the values."""
    min: float = math.inf
    """The least value; infinity before the first."""
    max: float = -math.inf
    """The greatest value; minus infinity before the first."""

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(count for _, count in self.buckets)

    @property
    def mean(self) -> float:
        """The mean of the values; 0.0 before the first."""
        return self.sum / self.count if self.buckets else 0.0

    def quantile(self, q: float) -> float:
        """Give a value that a part ``q`` of the values, from 0 to 1, do not exceed.

        It is at most a sixteenth above the least such value; 0.0 before the first. ``quantile(0)``
        and ``quantile(1)`` are the least value and the greatest.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"q must be from 0 to 1, got {q!r}")
        if not self.buckets:
            return 0.0
        if q == 0:
            return self.min
        reached = list(accumulate(count for _, count in self.buckets))
        bound, _ = self.buckets[bisect_left(reached, q * reached[-1])]
        return min(bound, self.max)

    def cumulative(self, bounds: Iterable[float]) -> list[int]:
        """Count, for each of some rising bounds, the values that do not exceed it.

        Exact for bounds of buckets, such as powers of two; elsewhere it leaves out those that may
        exceed it.
        """
        counts: list[int] = []
        passed, rest = 0, list(reversed(self.buckets))
        for bound in bounds:
            while rest and rest[-1][0] <= bound:
                passed += rest.pop()[1]
            counts.append(passed)
        return counts

    def _facts(self) -> Facts:
        if not self.buckets:
            return [("values", "0")]
        figures = {"mean": self.mean, "p50": self.quantile(0.5), "p99": self.quantile(0.99)}
        figures |= {"min": self.min, "max": self.max}
        return [("values", str(self.count)), *((name, f"{x:.3g}") for name, x in figures.items())]

    def __repr__(self) -> str:
        return text_of("Distribution", self._facts())

    def _repr_html_(self) -> str:
        """Give a table, for notebooks."""
        return table_of("Distribution", self._facts())

    def __add__(self, other: "Distribution") -> "Distribution":
        buckets = Counter(dict(self.buckets))
        buckets.update(dict(other.buckets))
        return Distribution(
            buckets=tuple(sorted(buckets.items())),
            sum=self.sum + other.sum,
            min=min(self.min, other.min),
            max=max(self.max, other.max),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BatcherStatistics:
    """Count the items and batches of one batcher, over all its event loops.

    Every accepted item is in exactly one of ``completed``, ``failed``, ``cancelled``, ``late``,
    ``dropped``, ``waiting``, ``queued``, ``joined`` and ``in_flight``; together they make
    ``submitted``.

    Adding two gives the statistics of two batchers together.
    """

    submitted: int = 0
    """Items accepted, those that wait for admission too."""
    completed: int = 0
    """Items that got a result."""
    failed: int = 0
    """Items that got an exception from the handler, or from closing."""
    cancelled: int = 0
    """Items that their caller gave up."""
    late: int = 0
    """Items whose timeout passed first."""
    dropped: int = 0
    """Items dropped for newer ones (``overflow="drop_oldest"``)."""
    rejected: int = 0
    """Items refused, so never submitted."""
    deduplicated: int = 0
    """Items that joined an equal one that was queued, or in flight, instead of being handled."""
    waiting: int = 0
    """Items that wait for admission now."""
    queued: int = 0
    """Items admitted and queued now."""
    joined: int = 0
    """Items that are queued or in flight now as another, equal one."""
    in_flight: int = 0
    """Items that a handler works on now, and that somebody awaits."""
    slots_busy: int = 0
    """Handler calls under way now."""
    batched: int = 0
    """Items handed to the handler so far, each counted once."""
    retried: int = 0
    """Items handed to the handler again, by ``retry`` or ``on_error="bisect"``; each of them counts
    as often as it was sent again."""
    batches: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Batches dispatched so far, by reason."""
    failed_batches: int = 0
    """Batches whose handler raised, or gave what are no results for its items."""
    cancelled_batches: int = 0
    """Batches whose handler was cancelled, or cancelled itself."""
    batch_size: Distribution = Distribution()
    """Items in a batch, when it was dispatched."""
    occupancy: Distribution = Distribution()
    """The size of a batch as a part of ``max_batch_size``; 1.0 is a full one."""
    queue_wait: Distribution = Distribution()
    """Seconds from an item's submission to its dispatch, admission included."""
    handler_time: Distribution = Distribution()
    """Seconds from a batch's dispatch to the end of its handler call."""

    @property
    def calls(self) -> int:
        """Batches dispatched so far, for whatever reason."""
        return sum(self.batches.values())

    @property
    def mean_batch_size(self) -> float:
        """Items per batch dispatched so far; 0.0 before the first."""
        return self.batched / self.calls if self.batches else 0.0

    def _facts(self) -> Facts:
        """Say what is not zero, and how long items waited and batches took."""
        counts = [(each.name, getattr(self, each.name)) for each in fields(self)]
        facts = [
            (name.replace("_", " "), str(count))
            for name, count in counts
            if isinstance(count, int) and count and name != "batched"
        ]
        if not self.calls:
            return facts or [("submitted", "0")]
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.batches.items())
        return [
            *facts,
            ("batches", f"{self.calls} ({reasons})"),
            ("mean batch size", f"{self.mean_batch_size:.3g}"),
            ("queue wait", times_of(self.queue_wait)),
            ("handler time", times_of(self.handler_time)),
        ]

    def __repr__(self) -> str:
        return text_of("BatcherStatistics", self._facts())

    def _repr_html_(self) -> str:
        """Give a table, for notebooks."""
        return table_of("BatcherStatistics", self._facts())

    def __add__(self, other: "BatcherStatistics") -> "BatcherStatistics":
        names = [each.name for each in fields(self) if each.name != "batches"]
        sums: dict[str, Any] = {name: getattr(self, name) + getattr(other, name) for name in names}
        batches = Counter(self.batches)
        batches.update(other.batches)
        return BatcherStatistics(**sums, batches=MappingProxyType(dict(batches)))


# ---------------------------------------------------------------------------------- to be looked at
def text_of(title: str, facts: Facts) -> str:
    """Show facts on a line."""
    return f"<{title}: {', '.join(f'{name} {figure}' for name, figure in facts)}>"


def table_of(title: str, facts: Facts) -> str:
    """Show facts as a table in HTML."""
    from html import escape  # noqa: PLC0415 - only notebooks need it

    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(figure)}</td></tr>" for name, figure in facts
    )
    return f"<table><caption>{title}</caption>{rows}</table>"


def times_of(seconds: Distribution) -> str:
    """Show how long something took in the middle, and in the worst of a hundred cases."""
    return f"p50 {duration(seconds.quantile(0.5))}, p99 {duration(seconds.quantile(0.99))}"


def duration(seconds: float) -> str:
    """Show a time to three digits; what is in the lowest bucket is none."""
    if seconds <= LOWEST:
        return "0 s"
    for unit, part in (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if seconds < BELOW_A_THOUSAND * part:
            return f"{seconds / part:.3g} {unit}"
    return f"{seconds:.0f} s"
