"""Turn many concurrent single calls into few batch calls."""

from microbatch._select import Ticket
from microbatch.batch import Batch, current_batch
from microbatch.batcher import Batcher
from microbatch.blocking import BlockingBatcher
from microbatch.decorator import Batched, batched
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

__all__ = [
    "Batch",
    "BatchError",
    "BatchTimeoutError",
    "Batched",
    "Batcher",
    "BatcherClosedError",
    "BatcherOptions",
    "BatcherStatistics",
    "BlockingBatcher",
    "CapacityError",
    "HandlerCancelledError",
    "MicrobatchError",
    "Options",
    "ResultCountError",
    "Ticket",
    "batched",
    "current_batch",
]
