"""What the adapters for metrics share: which batchers they report, and what of each."""

from typing import Protocol

from microbatch import BatcherStatistics

__all__ = ["Batchers", "Counted"]

COUNTERS = {
    "submitted": "Items accepted.",
    "completed": "Items that got a result.",
    "failed": "Items that got an exception.",
    "cancelled": "Items that their caller gave up.",
    "late": "Items whose timeout passed first.",
    "dropped": "Items dropped for newer ones.",
    "rejected": "Items refused.",
    "deduplicated": "Items that joined an equal one.",
    "retried": "Items handed to the handler again.",
}
GAUGES = {
    "waiting": "Items that wait for admission.",
    "queued": "Items admitted and queued.",
    "joined": "Items that are queued or in flight as another, equal one.",
    "in_flight": "Items that a handler works on.",
}
SLOTS_BUSY = "Handler calls under way."

# Bounds of histograms. All are bounds of the buckets in which batchers count, so they are exact.
SIZES = [2.0**power for power in range(13)]
PARTS = [eighths / 8 for eighths in range(1, 9)]
SECONDS = [2.0**power for power in range(-14, 7)]


class Counted(Protocol):
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
        self._batchers: list[Counted] = []

    def add(self, batcher: Counted) -> None:
        """Report a batcher, by its name; those of one name are added up. It is kept alive."""
        self._batchers.append(batcher)

    def remove(self, batcher: Counted) -> None:
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
