"""Turn many concurrent single calls into few batch calls."""

from microbatch._core import BatchedCall, Ticket
from microbatch._streams.channel import END, End
from microbatch._streams.stream import Stream
from microbatch.batch import Batch, current_batch
from microbatch.batcher import Batcher
from microbatch.blocking import BlockingBatcher
from microbatch.decorator import Batched, BatchedStream, batched
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
    "END",
    "Batch",
    "BatchDispatched",
    "BatchEnded",
    "BatchError",
    "BatchTimeoutError",
    "Batched",
    "BatchedCall",
    "BatchedStream",
    "Batcher",
    "BatcherClosedError",
    "BatcherOptions",
    "BatcherStatistics",
    "BlockingBatcher",
    "CapacityError",
    "Distribution",
    "End",
    "HandlerCancelledError",
    "MicrobatchError",
    "Options",
    "OverweightError",
    "ResultCountError",
    "Stream",
    "Ticket",
    "batched",
    "current_batch",
]
