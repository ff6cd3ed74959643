"""What a batcher has done so far, as a snapshot that never changes.

Each number is declared once, as a field of BatcherStatistics, with what it is. To add one, write
its line there::

    poisoned: int = counter("items", "Items that failed alone.")

and count, where it happens, in an attribute of that name: in the core, of the lane or its measures;
in Python, of the dispatcher or of another that it lists as an owner of numbers. The sum over loops,
the tables and all exporters go by the declarations.
"""

import functools
import math
import operator
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from itertools import accumulate
from types import MappingProxyType
from typing import Any, Literal, Self, TypeAlias, TypedDict, Unpack

__all__ = ["BatcherStatistics", "Distribution", "Kind", "Metric", "Unit", "metrics"]

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


# ------------------------------------------------------------------------------- what a number is
Kind: TypeAlias = Literal["counter", "counter by reason", "gauge", "distribution"]
"""How a number moves: a counter rises, a gauge holds now, a distribution counts values."""
Unit: TypeAlias = Literal["items", "batches", "slots", "seconds", "ratio"]
"""What a number counts, or what its values are in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """Say what one field of the statistics is, to whoever adds, shows or exports it."""

    name: str
    """The field's name."""
    kind: Kind
    """How it moves."""
    unit: Unit
    """What it counts, or what its values are in."""
    meaning: str
    """What it tells, in one line."""
    path: str
    """Its name for exporters: what it belongs to, a point, and what it is of that."""
    event: str | None = None
    """The attribute of ``BatchEnded`` that tells as much of one batch; None where none does. An
    exporter that is told of each batch goes by it, and any other reads the statistics."""
    shown: bool = True
    """Whether tables have it; where not, another line of theirs tells it."""
    exported: bool = True
    """Whether exporters have it; where not, another metric tells it."""

    @property
    def words(self) -> str:
        """Its name in tables."""
        return self.name.replace("_", " ")


class More(TypedDict, total=False):
    """What may be said of a metric where it is not as usual."""

    path: str
    event: str
    shown: bool
    exported: bool


def counter(unit: Unit, meaning: str, **more: Unpack[More]) -> int:
    """Declare a number that only rises."""
    return field(default=0, metadata=declared("counter", unit, meaning, more))


def counter_by_reason(unit: Unit, meaning: str, **more: Unpack[More]) -> Mapping[str, int]:
    """Declare numbers that only rise, one for each reason to dispatch."""
    metadata = declared("counter by reason", unit, meaning, more)
    return field(default_factory=lambda: MappingProxyType({}), metadata=metadata)


def gauge(unit: Unit, meaning: str, **more: Unpack[More]) -> int:
    """Declare a number that holds now, and not any more when its loop is gone."""
    return field(default=0, metadata=declared("gauge", unit, meaning, more))


def distribution(unit: Unit, meaning: str, **more: Unpack[More]) -> Distribution:
    """Declare how values are distributed."""
    return field(default=Distribution(), metadata=declared("distribution", unit, meaning, more))


def declared(kind: Kind, unit: Unit, meaning: str, more: More) -> dict[str, Any]:
    """Put what is declared of a number into the metadata of its field."""
    return {"kind": kind, "unit": unit, "meaning": meaning, **more}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatcherStatistics:
    """Count the items and batches of one batcher, over all its event loops.

    Every accepted item is in exactly one of ``completed``, ``failed``, ``cancelled``, ``late``,
    ``dropped``, ``waiting``, ``queued``, ``joined`` and ``in_flight``; together they make
    ``submitted``.

    Adding two gives the statistics of two batchers together.
    """

    submitted: int = counter("items", "Items accepted.")
    """Items accepted, those that wait for admission too."""
    completed: int = counter("items", "Items that got a result.")
    """Items that got a result."""
    failed: int = counter("items", "Items that got an exception.")
    """Items that got an exception from the handler, or from closing."""
    cancelled: int = counter("items", "Items that their caller gave up.")
    """Items that their caller gave up."""
    late: int = counter("items", "Items whose timeout passed first.")
    """Items whose timeout passed first."""
    dropped: int = counter("items", "Items dropped for newer ones.")
    """Items dropped for newer ones (``overflow="drop_oldest"``)."""
    rejected: int = counter("items", "Items refused.")
    """Items refused, so never submitted."""
    deduplicated: int = counter("items", "Items that joined an equal one.")
    """Items that joined an equal one that was queued, or in flight, instead of being handled."""
    waiting: int = gauge("items", "Items that wait for admission.")
    """Items that wait for admission now."""
    queued: int = gauge("items", "Items admitted and queued.")
    """Items admitted and queued now."""
    joined: int = gauge("items", "Items that are queued or in flight as another, equal one.")
    """Items that are queued or in flight now as another, equal one."""
    in_flight: int = gauge("items", "Items in batches, and not settled.")
    """Items in batches now, and not settled: a handler works on them, or their outcome is held for
    its turn (``ordering="ordered"``), or the ``timeout_policy`` is asked about them."""
    slots_busy: int = gauge("slots", "Slots in use.", path="slots.busy")
    """Slots in use now: batches with a handler call under way, or in a pause between two."""
    batched: int = counter("items", "Items handed to the handler.", shown=False, exported=False)
    """Items handed to the handler so far, each counted once."""
    retried: int = counter("items", "Items handed to the handler again.")
    """Items handed to the handler again, by ``retry`` or ``on_error="bisect"``; each of them counts
    as often as it was sent again."""
    batches: Mapping[str, int] = counter_by_reason(
        "batches", "Batches dispatched, by reason.", path="batches", event="reason"
    )
    """Batches dispatched so far, by reason."""
    learned_latency: float = gauge(
        "seconds", "What a slot waits for company, as learned.", path="latency.learned"
    )
    """Seconds that a slot that becomes free waits for company now (``max_latency="auto"``); over
    several loops or batchers their sum."""
    expected_arrivals: float = gauge(
        "items", "Items expected in that time.", path="latency.expected"
    )
    """Items that are expected to come in that time, on average."""
    batches_saved: int = counter(
        "batches", "Batches that were joined by items that came in the wait.", path="latency.joined"
    )
    """Batches that items joined while they waited, as learned; at once some of these would have
    gone, and the others later."""
    seconds_saved: float = counter(
        "seconds", "What that has saved the callers.", path="latency.saved"
    )
    """Seconds that this has saved the callers together, by estimate: each item that came while a
    batch waited did not have to wait for another handler call; what all of them waited is taken
    off."""
    failed_batches: int = counter(
        "batches",
        "Batches whose handler raised, or gave no results for its items.",
        path="batches.failed",
        event="outcome",
    )
    """Batches whose handler raised, or gave what are no results for its items."""
    cancelled_batches: int = counter(
        "batches",
        "Batches whose handler was cancelled.",
        path="batches.cancelled",
        event="outcome",
    )
    """Batches whose handler was cancelled, or cancelled itself."""
    batch_size: Distribution = distribution(
        "items", "Items in a batch.", path="batch.size", event="size", shown=False
    )
    """Items in a batch, when it was dispatched."""
    occupancy: Distribution = distribution(
        "ratio",
        "Size of a batch by max_batch_size.",
        path="batch.occupancy",
        event="occupancy",
        shown=False,
    )
    """The size of a batch as a part of ``max_batch_size``; 1.0 is a full one."""
    queue_wait: Distribution = distribution("seconds", "From an item's submission to its dispatch.")
    """Seconds from an item's submission to its dispatch, admission included."""
    handler_time: Distribution = distribution(
        "seconds",
        "From a batch's dispatch to its handler's end.",
        path="handler.duration",
        event="seconds",
    )
    """Seconds from a batch's dispatch to the end of its handler call; with ``retry`` or
    ``on_error="bisect"`` over all its calls, and the pauses between them."""

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
        numbers = self._shown("counter", "gauge")
        facts = [(metric.words, shown(number, metric.unit)) for metric, number in numbers if number]
        if not self.calls:
            return facts or [("submitted", "0")]
        for metric, counts in self._shown("counter by reason"):
            reasons = ", ".join(f"{reason} {count}" for reason, count in counts.items())
            facts.append((metric.words, f"{sum(counts.values())} ({reasons})"))
        facts.append(("mean batch size", f"{self.mean_batch_size:.3g}"))
        for metric, values in self._shown("distribution"):
            facts.append((metric.words, quantiles_of(values, metric.unit)))
        return facts

    def _shown(self, *kinds: Kind) -> Iterator[tuple[Metric, Any]]:
        for metric in metrics(type(self)):
            if metric.shown and metric.kind in kinds:
                yield metric, getattr(self, metric.name)

    def __repr__(self) -> str:
        return text_of("BatcherStatistics", self._facts())

    def _repr_html_(self) -> str:
        """Give a table, for notebooks."""
        return table_of("BatcherStatistics", self._facts())

    def __add__(self, other: Self) -> Self:
        sums: dict[str, Any] = {}
        for metric in metrics(type(self)):
            ours, theirs = getattr(self, metric.name), getattr(other, metric.name)
            add = sum_by_reason if metric.kind == "counter by reason" else operator.add
            sums[metric.name] = add(ours, theirs)
        return type(self)(**sums)


def sum_by_reason(some: Mapping[str, int], more: Mapping[str, int]) -> Mapping[str, int]:
    """Add counts that each reason has."""
    both = Counter(some)
    both.update(more)
    return MappingProxyType(dict(both))


def metrics(of: type[BatcherStatistics] = BatcherStatistics) -> tuple[Metric, ...]:
    """Say what each number is, in the order of the fields; exporters go by this.

    ``getattr(batcher.statistics(), metric.name)`` is its value: a number for a counter or a gauge,
    a mapping of reasons to ints for a counter by reason, and a Distribution.
    """
    return metrics_of_fields(of)  # type: ignore[arg-type] # mypy takes its instances' hash for its


@functools.cache
def metrics_of_fields(of: type[Any]) -> tuple[Metric, ...]:
    """Read what the fields of a class are declared to be."""
    return tuple(map(metric_of, fields(of)))


def metric_of(declaration: "Field[Any]") -> Metric:
    """Say what a field is: as declared, and usually exported as what it counts and its name."""
    name, what = declaration.name, declaration.metadata
    usual = name if what["kind"] == "distribution" else f"{what['unit']}.{name}"
    facts: dict[str, Any] = {"path": usual, **what}
    return Metric(name=name, **facts)


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


def shown(number: float, unit: Unit) -> str:
    """Show a number: a time with its unit, another to three digits unless it is whole."""
    if unit == "seconds":
        return duration(number)
    return str(number) if isinstance(number, int) else f"{number:.3g}"


def quantiles_of(values: Distribution, unit: Unit) -> str:
    """Show how much it was in the middle, and in the worst of a hundred cases."""
    show = duration if unit == "seconds" else "{:.3g}".format
    return f"p50 {show(values.quantile(0.5))}, p99 {show(values.quantile(0.99))}"


def duration(seconds: float) -> str:
    """Show a time to three digits; what is in the lowest bucket is none."""
    if seconds <= LOWEST:
        return "0 s"
    for unit, part in (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if seconds < BELOW_A_THOUSAND * part:
            return f"{seconds / part:.3g} {unit}"
    return f"{seconds:.0f} s"
