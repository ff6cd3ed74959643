"""Tell an observer of each batch, and the log of each that failed; neither can hurt a batch."""

import asyncio
import logging
from contextvars import Context
from typing import Any

from microbatch._core import InFlightBatch
from microbatch.events import BatchDispatched, BatchEnded, Outcome
from microbatch.options import Observer, Options

__all__ = ["Observing", "wants_contexts"]

log = logging.getLogger("microbatch")
log.addHandler(logging.NullHandler())


def wants_contexts(options: Options) -> bool:
    """Tell whether the contexts of submissions are to be captured."""
    return options.capture_context or bool(getattr(options.observer, "captures_context", False))


class Observing:
    """Watch the batches of one batcher on one loop, and count those that did not return."""

    def __init__(self, loop: asyncio.AbstractEventLoop, options: Options, name: str) -> None:
        self.observer = options.observer
        self.failed_batches = 0
        self.cancelled_batches = 0
        self.limit = options.max_batch_size
        self._loop = loop
        self._name = name
        # Of the handler calls under way: their contexts, and the limits that they were made with.
        self._known: dict[InFlightBatch[Any], tuple[Context, int]] = {}

    def dispatched(self, batch: InFlightBatch[Any], context: Context) -> None:
        """Tell the observer, in the context of the handler call that is to come."""
        assert self.observer is not None
        self._known[batch] = context, self.limit
        self._tell(self.observer, context, BatchDispatched(self._name, self.limit, batch))

    def ended(self, batch: InFlightBatch[Any], error: BaseException | None) -> None:
        """Count, log and tell what became of a handler call; ``error`` is what its items got.

        A CancelledError says that it was cancelled.
        """
        outcome: Outcome = "returned"
        if isinstance(error, asyncio.CancelledError):
            outcome, error = "cancelled", None
            self.cancelled_batches += 1
        elif error is not None:
            outcome = "raised"
            self.failed_batches += 1
            self._log(batch, error)
        if self.observer is not None:
            context, limit = self._known.pop(batch)
            event = BatchEnded(self._name, limit, batch, outcome, error)
            self._tell(self.observer, context, event)

    def _tell(
        self, observer: Observer, context: Context, event: BatchDispatched | BatchEnded
    ) -> None:
        try:
            context.run(observer, event)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._report("observer", error)

    def _log(self, batch: InFlightBatch[Any], error: BaseException) -> None:
        try:
            log.warning(
                "batch of %r failed: %d items, dispatched by %s, %s after %.6g s",
                self._name,
                batch.size,
                batch.reason,
                type(error).__qualname__,
                batch.ended - batch.departed,
            )
        except Exception as raised:
            self._report("logging", raised)

    def _report(self, what: str, error: BaseException) -> None:
        message = f"Exception in {what} of batcher {self._name!r}"
        self._loop.call_exception_handler({"message": message, "exception": error})
