"""Call the handler for each batch of one batcher on one loop, and see to what becomes of it.

Whatever happens once per item is the lane's, which also says what batch goes next, and why;
everything here happens once per batch. The slot is taken first, and only then the batch, so batches
form as late and as full as they can.
"""

import asyncio
import functools
import os
from collections import Counter
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import replace
from typing import Any

from microbatch._core import InFlightBatch
from microbatch._dispatch.company import Company, Gains
from microbatch._dispatch.deadlocks import DeadlockDetector
from microbatch._dispatch.lanes import configure, make_lane
from microbatch._dispatch.notices import notify
from microbatch._dispatch.observing import Observing
from microbatch._dispatch.reordering import ReorderBuffer
from microbatch._dispatch.snapshots import gather, without_gauges
from microbatch._dispatch.timeouts import Timeouts
from microbatch._handlers.calling import Handler
from microbatch._handlers.retry_runs import RetryRuns
from microbatch._handlers.runs import PlainRuns, Runs, UnderWay
from microbatch._handlers.settling import Settling
from microbatch._loops.cancelling import cancel_threadsafe
from microbatch._loops.timer import Timer, clock_of
from microbatch.batch import serving
from microbatch.errors import BatcherClosedError
from microbatch.options import Options
from microbatch.statistics import BatcherStatistics

__all__ = ["Dispatcher"]

ENDING = 0.01
"""Seconds; the end of a loop whose tasks are all cancelled takes less."""


class Dispatcher:
    """Dispatch what one lane holds, on the lane's own loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        handler: Handler,
        options: Options,
        name: str,
        *,
        pin: Callable[[], object] | None,
        context: Context,
    ) -> None:
        self.loop = loop
        self._process = os.getpid()
        self.batched = 0
        self.batches: Counter[str] = Counter()
        self._settling = Settling(name, options)
        self.observing = Observing(loop, options, name)
        self._options = options
        self._name = name
        self._running: dict[asyncio.Task[Any], InFlightBatch[Any]] = {}
        self._starting: list[InFlightBatch[Any]] = []  # whose handler calls have no tasks yet
        self._doomed: set[InFlightBatch[Any]] = set()  # those of them that are to be cancelled
        self._observed = options.observer is not None
        self._loss_reported = False
        self._lively_until = float("-inf")
        self._quiet: set[asyncio.Future[None]] = set()
        self._makers_context = context
        # Callbacks run in a context of the lane's own, or the first caller's would never end.
        self._context = Context()
        self._clock = clock_of(loop)
        self._timer = Timer(loop, self._clock, self._context)
        self.lane = make_lane(
            loop,
            name,
            options,
            clock=self._clock,
            call_at=self._timer.call_at,
            context=self._context,
            pin=pin,
            on_due=self._pump,
            on_abandoned=self._abandon,
            on_idle=self._tell_quiet,
            on_own_wait=self._tell_deadlocks,
        )
        self._timeouts = Timeouts(
            self.lane, options.timeout_policy, name, ask=self._ask_policy, cancel=self._cancel
        )
        self._runs = self._make_runs(handler)
        self._call = self._runs.call
        self._reorder_buffer: ReorderBuffer | None = None
        if options.is_ordered:
            call_soon = functools.partial(loop.call_soon, context=self._context)
            self._reorder_buffer = ReorderBuffer(call_soon, self.lane.wake_soon)
        self._gains = Gains()
        self._company = self._make_company()
        self._deadlocks = DeadlockDetector(
            self.lane, options, name, reorder_buffer=self._reorder_buffer, handlers=self._handlers
        )

    def _make_runs(self, handler: Handler) -> Runs:
        """Choose how a batch goes through its handler: in one call, or in as many as it needs."""
        lane, options, name, settling = self.lane, self._options, self._name, self._settling
        if options.retry is None and options.on_error != "bisect":
            return PlainRuns(lane, handler, options, name, settling=settling)
        context = self._makers_context
        return RetryRuns(lane, handler, options, name, settling=settling, context=context)

    def _make_company(self) -> Company | None:
        """Wait as learned, where that is wanted."""
        self._gains.learned_latency = self._gains.expected_arrivals = 0.0
        if not self._options.learns_latency:
            return None
        return Company(self.lane, self._options, self._gains)

    def reconfigure(self, options: Options) -> None:
        """Go by other sizes and times from now on; what is queued does, too."""
        before, self._options = self._options, options
        self.lane.free_slots += options.max_concurrent_batches - before.max_concurrent_batches
        self.observing.limit = options.max_batch_size
        self._set_latency()
        if options.rules_of_learning != before.rules_of_learning:
            self._company = self._make_company()
        self._pump()
        self.lane.look_at_waits()  # there may be fewer slots, or no timeout any more

    # -------------------------------------------------------------------------------- statistics
    @property
    def slots_busy(self) -> int:
        """Count the slots in use."""
        return self._options.max_concurrent_batches - self.lane.free_slots

    def statistics(self) -> BatcherStatistics:
        """Give what was counted on this loop, each number by its owner; any thread may ask."""
        return gather(self._owners())

    def _owners(self) -> tuple[object, ...]:
        """Give those who count, each in attributes that are named as the numbers are declared."""
        return self.lane, self.lane.measures, self, self.observing, self._runs, self._gains

    def last_statistics(self) -> BatcherStatistics:
        """Give what stays of them when the loop is gone: what is unsettled counts as cancelled."""
        last = self.statistics()
        return replace(without_gauges(last), cancelled=last.cancelled + self.lane.unsettled)

    # ------------------------------------------------------------------------------- dispatching
    def _pump(self) -> None:
        """Dispatch whatever is due while a slot is free."""
        lane = self.lane
        try:
            if lane.overdue:
                self._timeouts.settle()
                if self._deadlocks.suspected:  # for now it may be in vain
                    self.lane.look_at_waits()
            while taken := lane.next_batch():
                self._start(*taken)
        finally:  # an eager handler may have raised an exit request
            lane.rearm()

    def _start(self, batch: InFlightBatch[Any], items: list[Any]) -> None:
        """Call the handler in a task and a context of its own, a copy of the batcher's."""
        self._starting.append(batch)
        if self._company is not None:
            self._company.departed(batch)
        if not batch.alive:  # finalizers have given it up meanwhile
            self._abandon(batch)
        self.batched += batch.size
        self.batches[batch.reason] += 1
        context = self._makers_context.copy()
        context.run(serving.set, batch)
        if self._reorder_buffer is not None:
            self._reorder_buffer.depart(batch)
        self._runs.began(batch, context)
        try:
            if self._observed:
                self.observing.dispatched(batch, context)
            work = context.run(self._call, items)
            task = self._runs.make_task(work, name=self._name, context=context)
            batch.task = task
            self._running[task] = batch
        except BaseException as error:  # it can't even be called, or an eager task exits at once
            batch.end()
            try:
                self._conclude(batch, functools.partial(self._bury, batch, error))
            finally:
                self._free_slot(batch)
                self.lane.wake_soon()
            if isinstance(error, Exception):
                return
            raise
        finally:
            self._starting.pop()
        task.add_done_callback(self._end, context=self._context)
        if self._doomed and batch in self._doomed:
            self._doomed.discard(batch)
            task.cancel()

    def _end(self, task: asyncio.Task[Any]) -> None:
        """Settle what a handler answered, and fill its slot again."""
        batch = self._running.pop(task)
        batch.end()
        try:
            if self._reorder_buffer is None:
                self._settle(batch, task)
            else:
                self._reorder_buffer.end(batch, functools.partial(self._settle, batch, task))
        finally:
            try:
                self._free_slot(batch)
            finally:
                self._go_on(task)

    def _go_on(self, task: asyncio.Task[Any]) -> None:
        """Wake the callers, and fill the slot again.

        They go first: what they submit now still joins the next batch, or makes it.
        """
        try:
            self.lane.wake()
        finally:  # a caller that exits leaves the others to finish
            if task.cancelled() and self._seems_to_end():
                self.loop.call_later(ENDING, self._pump, context=self._context)
            else:
                self._pump()
            if self._deadlocks.suspected:  # for now it may be in vain
                self.lane.look_at_waits()

    def _free_slot(self, batch: InFlightBatch[Any]) -> None:
        """Give the slot of a batch back, which may wait for company."""
        try:
            if self._company is not None:
                self._company.ended(batch)
        finally:
            self.lane.free_slots += 1

    def _seems_to_end(self) -> bool:
        """Tell whether the loop's tasks are all cancelled, as they are at the end of asyncio.run.

        A new handler call would be cut off then. Looking at all tasks takes time where there are
        many, so it is not done at each of many cancelled batches.
        """
        now = self._clock()
        if not self.lane.queued or now < self._lively_until:
            return False
        if all(task.cancelling() for task in asyncio.all_tasks(self.loop)):
            return True
        self._lively_until = now + ENDING
        return False

    # ---------------------------------------------------------------------------------- settling
    def _conclude(self, batch: InFlightBatch[Any], conclude: Callable[[], object]) -> None:
        """Conclude a batch when it is its turn."""
        if self._reorder_buffer is None:
            conclude()
        else:
            self._reorder_buffer.end(batch, conclude)

    def _settle(self, batch: InFlightBatch[Any], task: asyncio.Task[Any]) -> None:
        try:
            error = self._runs.settle(batch, task)
        finally:
            batch.task = None  # the task's context knows the batch
        if error is not None or self._observed:
            self.observing.ended(batch, error)

    def _bury(self, batch: InFlightBatch[Any], error: BaseException) -> None:
        """Settle a batch that could not be started."""
        batch.task = None
        self._doomed.discard(batch)
        self._settling.error(batch, error)
        self.observing.ended(batch, error)

    def _abandon(self, batch: InFlightBatch[Any]) -> None:
        if self._options.cancel_abandoned or self._runs.is_pausing(batch):
            self._cancel(batch)

    def _cancel(self, batch: InFlightBatch[Any]) -> None:
        if batch.task is not None:
            cancel_threadsafe(batch.task)
        elif batch in self._starting:  # by an observer, or by a handler in an eager task
            self._doomed.add(batch)

    def _handlers(self) -> UnderWay:
        """Give the batches under way, each with its handler call, or None while it has none."""
        running = self._running.copy()  # which a finalizer may add to
        batches = {batch: task for task, batch in running.items() if batch.reason}
        return self._runs.under_way(batches)

    def _tell_deadlocks(self) -> None:
        self._deadlocks.tell()

    # ---------------------------------------------------------------------------------- timeouts
    def _ask_policy(self, batch: InFlightBatch[Any], work: Coroutine[Any, Any, Any]) -> None:
        # Never an eager task: it would run in the midst of whatever pumps.
        context = self._makers_context.copy()
        task = asyncio.Task(work, loop=self.loop, name=self._name, context=context)
        batch.task = task
        self._running[task] = batch
        task.add_done_callback(self._policy_answered, context=self._context)

    def _policy_answered(self, task: asyncio.Task[Any]) -> None:
        batch = self._running.pop(task)
        try:
            self._settling.by_task(batch, task, f"timeout_policy of {self._name}")
            batch.task = None  # the task's context knows the batch
            self.lane.wake()
        finally:
            self._pump()

    # ------------------------------------------------------------------------- flush, drain, close
    def flush(self) -> None:
        """Let everything that is queued now go as soon as a slot is free."""
        self.lane.flush()
        self._pump()

    async def drain(self) -> None:
        """Flush, and return when nothing is unsettled and no handler runs."""
        self.refuse_own_handler()
        while self.lane.unsettled or self._running:
            self.flush()
            await self._next_quiet()

    def refuse_own_handler(self) -> None:
        """Raise RuntimeError in a handler, which would wait for itself."""
        if self._is_ours(asyncio.current_task()) or serving.get() in self._starting:
            raise RuntimeError(
                f"batcher {self._name!r} must not be drained or closed by its own handler, "
                "for which it would wait"
            )

    def serves(self, batch: InFlightBatch[Any]) -> bool:
        """Tell whether a handler call for these items is under way; from any thread."""
        return self._is_ours(batch.task) or batch in self._starting

    def _is_ours(self, task: asyncio.Task[Any] | None) -> bool:
        return task in self._running or self._runs.is_call(task)

    async def _next_quiet(self) -> None:
        quiet: asyncio.Future[None] = self.loop.create_future()
        self._quiet.add(quiet)
        self._set_latency()
        try:
            await quiet
        finally:
            self._quiet.discard(quiet)
            self._set_latency()

    def _set_latency(self) -> None:
        """Let what comes while somebody drains wait for no companions."""
        configure(self.lane, self._options, draining=bool(self._quiet))

    def _tell_quiet(self) -> None:
        if self._running:
            return
        for quiet in self._quiet.copy():
            if not quiet.done():
                quiet.set_result(None)

    async def aclose(self, timeout: float | None) -> int:
        """Refuse new items and finish the accepted ones; give how many were given up.

        After ``timeout`` seconds the rest fail with BatcherClosedError, their handlers are
        cancelled, and this returns when the last of these has ended.
        """
        self.begin_close()
        abandoned = 0
        try:
            async with asyncio.timeout(timeout):
                await self.drain()
        except TimeoutError:
            abandoned = self._give_up()
            await self.drain()
        self._timer.close()
        return abandoned

    def loop_runs(self) -> bool:
        """Tell whether the loop runs, and not in a process that this one was forked from."""
        return self.loop.is_running() and self._process == os.getpid()

    def begin_close(self) -> None:
        """Refuse new items; what is queued waits for no companions any more."""
        self.lane.close()

    def _give_up(self) -> int:
        abandoned, rest = self.lane.unsettled, self.lane.take_all()
        rest.fail(
            lambda _: BatcherClosedError(
                f"batcher {self._name!r} was closed before the item was handled"
            )
        )
        self.lane.wake_soon()
        for task in self._running.copy():
            task.cancel()
        return abandoned

    def loop_closed(self) -> None:
        """Warn, once, of the items that were unsettled when the loop was closed; never raises."""
        if self.lane.unsettled and not self._loss_reported and self._process == os.getpid():
            self._loss_reported = True
            notify(
                f"an event loop was closed with unsettled items of batcher {self._name!r}: "
                f"{self.lane.unsettled}; drain() or aclose() it before its loop ends",
                ResourceWarning,
                source=self,
            )

    def __del__(self) -> None:
        if hasattr(self, "lane") and self.loop.is_closed():
            self.loop_closed()
