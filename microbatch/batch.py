"""What a handler may ask about the batch that it is serving."""

from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from microbatch._core import InFlightBatch

__all__ = ["Batch", "Reason", "current_batch", "makers_context", "served", "serving"]

Reason: TypeAlias = Literal[
    "size", "weight", "capacity", "expected", "latency", "natural", "flush", "close"
]
"""Why a batch was dispatched.

``size``: it is full. ``weight``: it is as heavy as it may be. ``capacity``: nothing more could be
admitted. ``expected``: with ``max_latency="auto"``, as many had come as were waited for.
``latency``: its oldest item waited ``max_latency``, or as long as was learned. ``natural``: a slot
was free, and there was nothing to wait for. ``flush`` and ``close``: somebody asked.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Describe the batch of one handler call, as it is at this moment."""

    name: str
    """The batcher's name."""
    size: int
    """How many items the handler was given."""
    reason: Reason
    """Why the batch was dispatched."""
    waits: tuple[float, ...]
    """Seconds from each item's submission to dispatch, in the order of the items."""
    deadlines: tuple[float | None, ...]
    """When each item is late, by the clock of the batcher's loop: infinity where it has no timeout,
    None where it is settled. Callers who share an item (``dedupe``) have the last of theirs."""
    attempt: int
    """Which handler call this is for these items, counted from 1; above 1 they were sent before."""
    abandoned: tuple[int, ...]
    """The places of the items that nobody awaits any more: given up, late, or settled already."""
    key: Any
    """The key that its items share; None where there are none."""
    weight: float
    """What its items weigh together; each weighs 1 unless the batcher is told otherwise."""
    contexts: tuple[Context | None, ...] = field(repr=False)
    """The context that each item was submitted in, where the option ``capture_context`` asks for
    it and the item is not settled; else None. Of callers who share an item it is the first's."""
    alive: tuple[int, ...]
    """The places of the items that are still awaited. A handler that streams yields one chunk for
    each of these; for it they change only when it is resumed after a step."""


serving: ContextVar["InFlightBatch[Any] | None"] = ContextVar("microbatch.serving", default=None)
"""The items that a handler call is for; None outside of handlers.

A batch's ``attempt`` says which call this is for them, and its ``places`` tells which of them the
current step is for, where the handler takes steps.
"""


def served() -> "InFlightBatch[Any]":
    """Give the items that the running handler call is for; RuntimeError outside of handlers."""
    batch = serving.get()
    if batch is None:
        raise RuntimeError("current_batch() must be called from within a batch handler")
    return batch


def current_batch() -> Batch:
    """Describe the batch that the running handler serves.

    Works in the handler and in whatever it calls or starts, in worker threads too. Raises
    RuntimeError elsewhere.
    """
    batch = served()
    awaited = batch.awaited
    return Batch(
        name=batch.name,
        size=batch.size,
        reason=batch.reason,
        waits=tuple(batch.waits),
        deadlines=tuple(batch.deadlines),
        attempt=batch.attempt,
        key=batch.key,
        weight=batch.weight,
        contexts=tuple(batch.contexts),
        abandoned=tuple(sorted({*range(batch.size)}.difference(awaited))),
        alive=awaited if batch.places is None else batch.places(),
    )


def makers_context() -> Context:
    """Copy the context that a batcher is made in: its handler runs in copies of that.

    So what is set where the batcher is made holds in the handler, and what callers set does not.
    """
    context = copy_context()
    if serving.get() is not None:  # a handler makes a batcher
        context.run(serving.set, None)
    return context
