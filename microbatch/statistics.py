"""What a batcher has done so far, as a snapshot that never changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["BatcherStatistics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatcherStatistics:
    """Count the items and batches of one batcher, over all its event loops.

    Every accepted item is in exactly one of ``completed``, ``failed``, ``cancelled``, ``late``,
    ``dropped``, ``waiting``, ``queued`` and ``in_flight``; together they make ``submitted``.
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
    waiting: int = 0
    """Items that wait for admission now."""
    queued: int = 0
    """Items admitted and queued now."""
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

    @property
    def calls(self) -> int:
        """Batches dispatched so far, for whatever reason."""
        return sum(self.batches.values())

    @property
    def mean_batch_size(self) -> float:
        """Items per batch dispatched so far; 0.0 before the first."""
        return self.batched / self.calls if self.batches else 0.0
