"""How a batch goes through its handler: the run of a batch, and its plain kind.

A batch's run is a task, which keeps the batch's slot until it has ended; what has come of it is
settled then. A plain run is one handler call. ``retry_runs`` has the kind that takes several.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from contextvars import Context
from typing import Any, Protocol, TypeAlias

from microbatch._core import InFlightBatch, Lane
from microbatch._handlers.calling import Handler, HandlerCall, caller_of
from microbatch._handlers.settling import Settling
from microbatch.options import Options

__all__ = ["PlainRuns", "Runs", "UnderWay"]

UnderWay: TypeAlias = Mapping[
    InFlightBatch[Any], "tuple[InFlightBatch[Any], asyncio.Task[Any] | None] | None"
]
"""Each batch that has a slot, with the items that its handler call is for, and that call's task;
None between two calls."""


class Runs(Protocol):
    """The runs of the batches of one lane."""

    @property
    def call(self) -> HandlerCall:
        """Gives the coroutine of a run's task."""
        ...

    def began(self, batch: InFlightBatch[Any], context: Context, /) -> None:
        """Take note that a batch is about to be run in a context."""

    def make_task(
        self, work: Coroutine[Any, Any, Any], /, *, name: str, context: Context
    ) -> asyncio.Task[Any]:
        """Make the task of a run."""
        ...

    def settle(self, batch: InFlightBatch[Any], task: asyncio.Task[Any], /) -> BaseException | None:
        """Hand out what has come of a run, whose task has ended, to all who still wait.

        Gives what the batch failed with, if it did; a CancelledError when it was cancelled.
        """
        ...

    def is_call(self, task: asyncio.Task[Any] | None, /) -> bool:
        """Tell whether a task other than a run's is a handler call."""
        ...

    def is_pausing(self, batch: InFlightBatch[Any], /) -> bool:
        """Tell whether a batch waits for its next handler call."""
        ...

    def under_way(self, batches: Mapping[InFlightBatch[Any], asyncio.Task[Any]]) -> UnderWay:
        """Give each batch, whose run's task is known, its handler call under way."""
        ...


class PlainRuns:
    """Runs of one handler call each, whose task is the handler's own coroutine.

    What a batch meets is put here as it is, and not wrapped, for that would take a call each time.
    """

    def __init__(
        self, lane: Lane, handler: Handler, options: Options, name: str, *, settling: Settling
    ) -> None:
        self.call = caller_of(handler, lane, options, name)
        self.began = lane.began
        self.make_task = lane.loop.create_task
        self.settle = settling.by_task

    def is_call(self, _: asyncio.Task[Any] | None) -> bool:
        """Deny it: a handler call is the task of its run."""
        return False

    def is_pausing(self, _: InFlightBatch[Any]) -> bool:
        """Deny it: there is one handler call alone."""
        return False

    def under_way(self, batches: Mapping[InFlightBatch[Any], asyncio.Task[Any]]) -> UnderWay:
        """Give each batch with its run's task."""
        return {batch: (batch, task) for batch, task in batches.items()}
