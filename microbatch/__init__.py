"""Turn many concurrent single calls into few batch calls."""

from microbatch._select import Ticket
from microbatch.batch import Batch, current_batch
from microbatch.batcher import Batcher
from microbatch.decorator import Batched, batched
from microbatch.errors import (
    BatcherClosedError,
    BatchError,
    BatchTimeoutError,
    CapacityError,
    HandlerCancelledError,
    MicrobatchError,
    OverweightError,
    ResultCountError,
)
from microbatch.events import BatchDispatched, BatchEnded
from microbatch.options import BatcherOptions, Options
from microbatch.statistics import BatcherStatistics, Distribution

__all__ = [
    "Batch",
    "BatchDispatched",
    "BatchEnded",
    "BatchError",
    "BatchTimeoutError",
    "Batched",
    "Batcher",
    "BatcherClosedError",
    "BatcherOptions",
    "BatcherStatistics",
    "CapacityError",
    "Distribution",
    "HandlerCancelledError",
    "MicrobatchError",
    "Options",
    "OverweightError",
    "ResultCountError",
    "Ticket",
    "batched",
    "current_batch",
]
