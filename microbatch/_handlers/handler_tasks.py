"""A task for each handler call, and for each pause between two, of batches that take several.

A batch has one task, which keeps its slot; each handler call in it is a task of its own. So a call
can be cancelled for those of the batch that it was for, while others still have theirs before them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context
from typing import Any

from microbatch._core import InFlightBatch, Lane
from microbatch._handlers.calling import Handler, take_answer
from microbatch._handlers.runs import UnderWay
from microbatch._loops.cancelling import outlast
from microbatch.batch import serving
from microbatch.options import Options

__all__ = ["HandlerTasks", "raise_if_cancelled"]


class HandlerTasks:
    """Start and await the tasks of one lane's handler calls and pauses."""

    def __init__(
        self, lane: Lane, handler: Handler, options: Options, name: str, context: Context
    ) -> None:
        self.retried = 0
        """Items that were sent again, each time that they were."""
        self._lane = lane
        self._loop: asyncio.AbstractEventLoop = lane.loop
        self._handler = handler
        self._options = options
        self._name = name
        self._context = context
        self._calls: dict[asyncio.Task[Any] | None, InFlightBatch[Any]] = {}
        self._pauses: set[asyncio.Task[Any]] = set()

    async def call(
        self, batch: InFlightBatch[Any], items: list[Any], attempt: int
    ) -> asyncio.Task[Any]:
        """Call the handler in a task and a context of its own, and give the task once it ended."""
        if attempt > 1:
            self.retried += batch.size
        batch.attempt = attempt
        serving.set(batch)  # for the callbacks of a policy
        context = self._context.copy()
        context.run(serving.set, batch)
        work = self._work(batch, items)
        self._lane.began(batch, context)
        try:
            task = self._loop.create_task(work, name=self._name, context=context)
            batch.task = task
            await outlast(task, task.cancel)
        finally:
            self._lane.ended(batch)
            self._calls.pop(batch.task, None)
            batch.task = None  # the task's context knows the batch
        return task

    async def _work(self, batch: InFlightBatch[Any], items: list[Any]) -> Any:
        # An eager task is running before anybody else could make it known.
        batch.task = asyncio.current_task()
        self._calls[batch.task] = batch
        answer = self._handler(items)
        return await take_answer(self._lane, self._options, self._name, batch, answer)

    async def pause(self, batch: InFlightBatch[Any], sleep: Callable[[], Awaitable[None]]) -> None:
        """Sleep until the next attempt for a batch, or until nobody waits for it any more."""
        task = self._loop.create_task(sleeping(sleep), name=self._name)
        batch.task = task
        self._pauses.add(task)
        try:
            await outlast(task, task.cancel)
        finally:
            self._pauses.discard(task)
            batch.task = None
        if not task.cancelled():
            task.result()

    def is_call(self, task: asyncio.Task[Any] | None) -> bool:
        """Tell whether a task is a handler call."""
        return task in self._calls

    def is_pausing(self, batch: InFlightBatch[Any]) -> bool:
        """Tell whether a batch waits for its next attempt."""
        return batch.task in self._pauses

    def under_way(self, batches: Iterable[InFlightBatch[Any]]) -> UnderWay:
        """Give each batch its handler call under way; one that pauses has none."""
        calls = {part.batch: (part, task) for task, part in self._calls.copy().items()}
        return {batch: calls.get(batch) for batch in batches}


def raise_if_cancelled() -> None:
    """Raise CancelledError where the running task's cancellation has been overlooked so far."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def sleeping(sleep: Callable[[], Awaitable[None]]) -> None:
    """Make a coroutine of whatever can be awaited."""
    await sleep()
