"""How far a map reads its source ahead."""

from dataclasses import dataclass

from microbatch.options import Options

__all__ = ["Window"]

MOST_WITHOUT_CAPACITY = 10_000
"""Most outstanding items, those that joined an equal one too, where no capacity says."""


@dataclass(frozen=True, slots=True)
class Window:
    """Bound how many items of a source are outstanding.

    Items that joined an equal one take no place in a batch. So the others are counted, or batches
    would be half empty; but a source that repeats one item for ever has to end somewhere as well.
    """

    distinct: int
    """Most of those that did not join another."""
    every: int
    """Most of all."""

    @classmethod
    def of(cls, options: Options) -> "Window":
        """Give a window in which the slots never starve, within the capacity."""
        capacity = options.capacity
        distinct = options.max_batch_size * (options.max_concurrent_batches + 1)
        if capacity is not None:
            distinct = min(distinct, capacity) if options.key is None else capacity
        if options.dedupe is None:
            return cls(distinct, distinct)
        return cls(distinct, max(distinct, capacity or MOST_WITHOUT_CAPACITY))

    def full(self, outstanding: int, joined: int) -> bool:
        """Tell whether nothing more may be read; ``joined`` of the outstanding joined another."""
        return outstanding - joined >= self.distinct or outstanding >= self.every

    def half_empty(self, outstanding: int, joined: int) -> bool:
        """Tell whether it is time to read on: not at every item, as a wake-up costs more."""
        return outstanding - joined <= self.distinct // 2 and outstanding <= self.every // 2
