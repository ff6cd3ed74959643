"""Turn many concurrent single calls into few batch calls."""

from microbatch._select import Ticket
from microbatch.batch import Batch, current_batch
from microbatch.batcher import Batcher
from microbatch.channel import END, End
from microbatch.decorator import Batched, BatchedStream, batched
from microbatch.errors import (
    BatcherClosedError,
    BatchError,
    BatchTimeoutError,
    CapacityError,
    HandlerCancelledError,
    MicrobatchError,
    ResultCountError,
)
from microbatch.options import BatcherOptions, Options
from microbatch.statistics import BatcherStatistics
from microbatch.streaming import Stream

__all__ = [
    "END",
    "Batch",
    "BatchError",
    "BatchTimeoutError",
    "Batched",
    "BatchedStream",
    "Batcher",
    "BatcherClosedError",
    "BatcherOptions",
    "BatcherStatistics",
    "CapacityError",
    "End",
    "HandlerCancelledError",
    "MicrobatchError",
    "Options",
    "ResultCountError",
    "Stream",
    "Ticket",
    "batched",
    "current_batch",
]
