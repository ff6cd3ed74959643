"""What the adapters for metrics share: which batchers they report, and what of each."""

from typing import Protocol

from microbatch import BatcherStatistics
from microbatch.statistics import Metric, Unit, metrics

__all__ = ["BOUNDS", "SECONDS", "Batchers", "Reported", "exported"]

# Bounds of histograms. All are bounds of the buckets in which batchers count, so they are exact.
COUNTS = [2.0**power for power in range(13)]
SECONDS = [2.0**power for power in range(-14, 7)]
BOUNDS: dict[Unit, list[float]] = {
    "items": COUNTS,
    "batches": COUNTS,
    "slots": COUNTS,
    "seconds": SECONDS,
    "ratio": [eighths / 8 for eighths in range(1, 9)],
}


def exported() -> list[Metric]:
    """Give the numbers that are reported, in the order in which they are declared."""
    return [metric for metric in metrics(BatcherStatistics) if metric.exported]


class Reported(Protocol):
    """A batcher, as far as it is reported."""

    @property
    def name(self) -> str:
        """The name that it is reported by."""
        ...

    def statistics(self) -> BatcherStatistics:
        """Give what it has done and holds; any thread may ask."""
        ...


class Batchers:
    """Keep the batchers that are reported, until they are removed."""

    def __init__(self) -> None:
        self._batchers: list[Reported] = []

    def add(self, batcher: Reported) -> None:
        """Report a batcher, by its name; those of one name are added up. It is kept alive."""
        self._batchers.append(batcher)

    def remove(self, batcher: Reported) -> None:
        """Report a batcher no more; ValueError where it was not added.

        Where others of its name are left, their common counters fall, as after a restart.
        """
        self._batchers.remove(batcher)

    def _statistics(self) -> dict[str, BatcherStatistics]:
        by_name: dict[str, BatcherStatistics] = {}
        for batcher in self._batchers.copy():  # another thread may add one
            before = by_name.get(batcher.name, BatcherStatistics())
            by_name[batcher.name] = before + batcher.statistics()
        return by_name
