"""Gather what was counted on one loop, each number from the one who counts it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from microbatch._core import Histogram
from microbatch.statistics import BatcherStatistics, Distribution, Kind, metrics

__all__ = ["gather", "without_gauges"]

NOBODYS = object()


def gather(owners: Iterable[object]) -> BatcherStatistics:
    """Give each declared number as its owner has it, in an attribute of the same name.

    What none of them counts, as nobody counts retries where there are none, is as it begins.
    """
    numbers: dict[str, Any] = {}
    for metric in metrics(BatcherStatistics):
        for owner in owners:
            number = getattr(owner, metric.name, NOBODYS)
            if number is not NOBODYS:
                freeze = FREEZE.get(metric.kind)
                numbers[metric.name] = number if freeze is None else freeze(number)
                break
    return BatcherStatistics(**numbers)


def without_gauges(statistics: BatcherStatistics) -> BatcherStatistics:
    """Leave out what held on a loop that is gone."""
    gauges = [each.name for each in metrics(BatcherStatistics) if each.kind == "gauge"]
    none: dict[str, Any] = dict.fromkeys(gauges, 0)
    return replace(statistics, **none)


def distribution_of(histogram: Histogram) -> Distribution:
    """Make a snapshot of a histogram."""
    return Distribution(
        buckets=tuple(histogram.buckets),
        sum=histogram.sum,
        min=histogram.min,
        max=histogram.max,
    )


def counts_of(counts: Mapping[str, int]) -> Mapping[str, int]:
    """Make a snapshot of counts by reason."""
    return MappingProxyType(dict(counts))


FREEZE: dict[Kind, Callable[[Any], Any]] = {
    "distribution": distribution_of,
    "counter by reason": counts_of,
}
