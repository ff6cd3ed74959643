"""What an observer is told: that a batch was dispatched, and how it ended."""

from contextvars import Context
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from microbatch.batch import Reason

if TYPE_CHECKING:
    from microbatch._core import InFlightBatch

__all__ = ["BatchDispatched", "BatchEnded", "BatchEvent", "Outcome"]

Outcome: TypeAlias = Literal["returned", "raised", "cancelled"]
"""What became of a handler call.

``returned``: it gave a result, or an exception, for each item. ``raised``: it raised, or gave what
are no results for its items. ``cancelled``: its callers gave up, one was late under
``timeout_policy="fail"``, closing timed out, or it cancelled itself.
"""


class BatchEvent:
    """What both events have in common: the facts of a batch as it was dispatched."""

    __slots__ = ("_batch", "_limit", "name")

    name: str
    """The batcher's name."""

    def __init__(self, name: str, limit: int, batch: "InFlightBatch[Any]") -> None:
        self.name = name
        self._limit = limit
        self._batch = batch

    @property
    def size(self) -> int:
        """How many items the handler was given."""
        return self._batch.size

    @property
    def occupancy(self) -> float:
        """The size as a part of ``max_batch_size``; 1.0 is a full batch."""
        return self._batch.size / self._limit

    @property
    def reason(self) -> Reason:
        """Why the batch was dispatched."""
        reason: Reason = self._batch.reason
        return reason

    @property
    def key(self) -> Any:
        """The key that the items share; None where there are none."""
        return self._batch.key

    @property
    def weight(self) -> float:
        """What the items weigh together; each weighs 1 unless the batcher is told otherwise."""
        return self._batch.weight

    @property
    def dispatched(self) -> float:
        """When the batch was dispatched, on the loop's clock."""
        return self._batch.departed

    @property
    def waits(self) -> tuple[float, ...]:
        """Seconds from each item's submission to dispatch, in the order of the items."""
        return tuple(self._batch.waits)


class BatchDispatched(BatchEvent):
    """Tell that a handler is about to be called for a batch, for the first time."""

    __slots__ = ()

    @property
    def contexts(self) -> tuple[Context | None, ...]:
        """The context of each item's submission, where it is captured; else None.

        It is, with ``capture_context=True``, and for an observer that has a true attribute
        ``captures_context``. Of callers who share an item it is the first's. Read it at once: an
        item that is settled tells no more.
        """
        return tuple(self._batch.contexts)

    def __repr__(self) -> str:
        return f"<BatchDispatched {self.name!r}: {self.size} items, {self.reason}>"


class BatchEnded(BatchEvent):
    """Tell what became of a batch, once its items are settled."""

    __slots__ = ("error", "outcome")

    outcome: Outcome
    """What became of it."""
    error: BaseException | None
    """What the handler raised, or what was wrong with its answer; None unless it ``raised``."""

    def __init__(
        self,
        name: str,
        limit: int,
        batch: "InFlightBatch[Any]",
        outcome: Outcome,
        error: BaseException | None,
    ) -> None:
        self.name = name
        self._limit = limit
        self._batch = batch
        self.outcome = outcome
        self.error = error

    @property
    def ended(self) -> float:
        """When its handler call ended, the last where it took several, on the loop's clock."""
        return self._batch.ended

    @property
    def seconds(self) -> float:
        """Seconds from dispatch to that end: all its calls, and the pauses between them."""
        return self._batch.ended - self._batch.departed

    @property
    def failed(self) -> int:
        """How many of its items got an exception; late ones and those given up are not counted."""
        return self._batch.failed

    def __repr__(self) -> str:
        return f"<BatchEnded {self.name!r}: {self.size} items, {self.outcome}>"
