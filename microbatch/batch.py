"""What a handler may ask about the batch that it is serving."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from microbatch._select import Flight

__all__ = ["Batch", "Reason", "current_batch"]

Reason: TypeAlias = Literal["size", "capacity", "latency", "natural", "flush", "close"]
"""Why a batch was dispatched.

``size``: it is full. ``capacity``: nothing more could be admitted. ``latency``: its oldest item
waited ``max_latency``. ``natural``: a slot was free and ``max_latency`` is 0. ``flush`` and
``close``: somebody asked.
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """Describe the batch of one handler call, as it was dispatched."""

    name: str
    """The batcher's name."""
    size: int
    """How many items the handler was given."""
    reason: Reason
    """Why the batch was dispatched."""
    waits: tuple[float, ...]
    """Seconds from each item's submission to dispatch, in the order of the items."""


serving: ContextVar[tuple[str, "Flight[Any]"]] = ContextVar("microbatch.serving")


def current_batch() -> Batch:
    """Describe the batch that the running handler serves.

    Works in the handler and in whatever it calls or starts, in worker threads too. Raises
    RuntimeError elsewhere.
    """
    try:
        name, flight = serving.get()
    except LookupError:
        raise RuntimeError("current_batch() must be called from within a batch handler") from None
    return Batch(name, flight.size, flight.reason, tuple(flight.waits))
