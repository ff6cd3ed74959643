"""When to dispatch, and what becomes of a handler call: the policy of one batcher on one loop.

Whatever happens once per item is the lane's; everything here happens once per batch. The slot is
taken first, and only then the batch, so batches form as late and as full as they can.
"""

import asyncio
import functools
import inspect
import warnings
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeAlias

from microbatch._select import Flight, Lane, Ticket
from microbatch.attempts import Attempts
from microbatch.batch import Reason, Serving, serving
from microbatch.errors import BatcherClosedError, BatchTimeoutError
from microbatch.options import Options
from microbatch.settling import Settling
from microbatch.timer import Timer, clock_of

__all__ = ["Dispatcher", "Handler"]

ENDING = 0.01
"""Seconds; the end of a loop whose tasks are all cancelled takes less."""

Handler: TypeAlias = Callable[[list[Any]], Coroutine[Any, Any, Any]]
Call: TypeAlias = Callable[[Flight[Any]], Coroutine[Any, Any, Any]]


class Dispatcher:
    """Dispatch what one lane holds, on the lane's own loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        handler: Handler,
        options: Options,
        name: str,
        hold: Callable[[], object] | None,
    ) -> None:
        self.loop = loop
        self.batched = 0
        self.batches: Counter[str] = Counter()
        self._make_task: Callable[..., asyncio.Task[Any]] = loop.create_task
        self._call: Call = functools.partial(plain_call, handler)
        self._settling = Settling(name)
        self._options = options
        self._name = name
        self._ordered = options.ordering == "ordered"
        self._full = options.max_batch_size
        self._free = options.max_concurrent_batches
        self._running: dict[asyncio.Task[Any], Flight[Any]] = {}
        # In dispatch order, when results keep it.
        self._departed: deque[tuple[Flight[Any], asyncio.Task[Any]]] = deque()
        self._starting: Flight[Any] | None = None  # whose handler has no task yet
        self._closing = False
        self._loss_reported = False
        self._flushed_at = float("-inf")
        self._lively_until = float("-inf")
        self._quiet: set[asyncio.Future[None]] = set()
        # Callbacks run in a context of the lane's own, or the first caller's would never end.
        self._context = Context()
        self._clock = clock_of(loop)
        self._timer = Timer(loop, self._clock, self._context)
        self.lane = self._make_lane(hold)
        self._attempts: Attempts | None = None
        if options.retry is not None or options.on_error == "bisect":
            self._use_attempts(handler)

    def _make_lane(self, hold: Callable[[], object] | None) -> Lane:
        done: asyncio.Future[None] = self.loop.create_future()
        done.set_result(None)
        lane = Lane(
            self.loop,
            self._name,
            clock=self._clock,
            call_soon=functools.partial(self.loop.call_soon, context=self._context),
            call_at=self._timer.call_at,
            on_due=self._pump,
            on_abandoned=self._abandon,
            on_idle=self._tell_quiet,
            on_callback_error=self._report,
            hold=hold,
            cancelled_error=asyncio.CancelledError,
            invalid_state_error=asyncio.InvalidStateError,
            done_future=done,
        )
        self._configure(lane, max_latency=self._options.max_latency)
        lane.slot_free = True
        return lane

    def _use_attempts(self, handler: Handler) -> None:
        """Have a batch take more calls than one."""
        attempts = Attempts(self.loop, handler, self._options, self._name, self.lane.wake_soon)
        self._attempts = self._settling = attempts
        self._call, self._make_task = attempts.call, attempts.make_task

    def _configure(self, lane: Lane, *, max_latency: float) -> None:
        lane.configure(
            max_batch_size=self._options.max_batch_size,
            max_latency=max_latency,
            capacity=self._options.capacity,
            overflow=self._options.overflow,
            timeout=self._options.timeout,
        )

    @property
    def slots_busy(self) -> int:
        """Count the handler calls under way."""
        return self._options.max_concurrent_batches - self._free

    @property
    def retried(self) -> int:
        """Count the items that were handed to the handler again."""
        return self._attempts.retried if self._attempts is not None else 0

    # ------------------------------------------------------------------------------- dispatching
    def _pump(self) -> None:
        """Dispatch whatever is due while a slot is free."""
        lane = self.lane
        if lane.overdue:
            self._settle_late()
        try:
            while self._free and (reason := self._due()):
                self._start(lane.take(self._full), reason)
        finally:  # an eager handler may have raised an exit request
            lane.rearm()

    def _due(self) -> Reason | None:
        """Say why a batch should go now, or None when it should wait."""
        queued = self.lane.queued
        if queued >= self._full:
            return "size"
        return self._due_early() if queued else None

    def _due_early(self) -> Reason | None:
        """Say why a batch should go that is not full."""
        lane, options = self.lane, self._options
        if options.capacity is not None and lane.unsettled >= options.capacity:
            return "capacity"
        if self._closing:
            return "close"
        if self._quiet or lane.oldest <= self._flushed_at:
            return "flush"
        if not options.max_latency:
            return "natural"
        return "latency" if lane.waited(options.max_latency) else None

    def _start(self, flight: Flight[Any], reason: Reason) -> None:
        """Call the handler in a task of its own, and in a context that is nobody else's."""
        self.batched += flight.size
        self.batches[reason] += 1
        flight.reason = reason
        self._free -= 1
        self.lane.slot_free = self._free > 0
        context = Context()
        context.run(serving.set, Serving(self._name, flight))
        self._starting = flight
        try:
            work = context.run(self._call, flight)
            task = self._make_task(work, name=self._name, context=context)
        except BaseException as error:  # it can't even be called, or an eager task exits at once
            self._settling.error(flight, error)
            self._give_slot_back()
            self.lane.wake_soon()
            if isinstance(error, Exception):
                return
            raise
        finally:
            self._starting = None
        flight.task = task
        self._running[task] = flight
        if self._ordered:
            self._departed.append((flight, task))
        task.add_done_callback(self._end, context=self._context)
        if not flight.alive:  # an eager handler gave its callers up before there was a task
            self._abandon(flight)

    def _give_slot_back(self) -> None:
        self._free += 1
        self.lane.slot_free = True

    def _end(self, task: asyncio.Task[Any]) -> None:
        """Settle what a handler answered, and fill its slot again."""
        flight = self._running.pop(task)
        try:
            if self._ordered:
                self._settle_in_order()
            else:
                self._settle(flight, task)
        finally:
            self._give_slot_back()
            # The callers go first: what they submit now still joins the next batch, or makes it.
            try:
                self.lane.wake()
            finally:  # a caller that exits leaves the others to finish
                if task.cancelled() and self._seems_to_end():
                    self.loop.call_later(ENDING, self._pump, context=self._context)
                elif self._free:
                    self._pump()

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
    def _settle_in_order(self) -> None:
        while self._departed and self._departed[0][1].done():
            self._settle(*self._departed.popleft())

    def _settle(self, flight: Flight[Any], task: asyncio.Task[Any], name: str = "") -> None:
        try:
            self._settling.by_task(flight, task, name)
        finally:
            flight.task = None  # the task's context knows the flight

    def _abandon(self, flight: Flight[Any]) -> None:
        pauses = self._attempts is not None and self._attempts.pauses(flight)
        if self._options.cancel_abandoned or pauses:
            self._cancel(flight)

    def _cancel(self, flight: Flight[Any]) -> None:
        if flight.task is not None:
            flight.task.cancel()

    def _report(self, error: BaseException, callback: object, ticket: Ticket[Any]) -> None:
        self.loop.call_exception_handler(
            {
                "message": f"Exception in callback {callback!r} of {ticket!r}",
                "exception": error,
            }
        )

    # ---------------------------------------------------------------------------------- lateness
    def _settle_late(self) -> None:
        queued, in_flight, hit = self.lane.take_late()
        if self._options.timeout_policy == "fail":
            for flight in hit:
                flight.fail(self._late_batch_error)
                self._cancel(flight)
        if callable(self._options.timeout_policy):
            for flight in (queued, in_flight):
                if flight.size:
                    self._ask_policy(self._options.timeout_policy, flight)
        else:
            queued.fail(functools.partial(self._late_error, "while it was queued"))
            in_flight.fail(functools.partial(self._late_error, "while it was in flight"))
        self.lane.wake_soon()

    def _late_error(self, where: str, ticket: Ticket[Any]) -> BatchTimeoutError:
        seconds = ticket.deadline - ticket.submitted
        return BatchTimeoutError(
            f"an item of batcher {self._name!r} passed its timeout of {seconds:g} s {where}"
        )

    def _late_batch_error(self, _: Ticket[Any]) -> BatchTimeoutError:
        return BatchTimeoutError(
            f"an item of batcher {self._name!r} failed with its batch, in which one was late"
        )

    def _ask_policy(self, policy: Callable[[list[Any]], Any], flight: Flight[Any]) -> None:
        items = flight.items  # as many as it answers for, whoever leaves before it is asked

        async def ask() -> Any:
            answer = policy(items)
            return await answer if inspect.isawaitable(answer) else answer

        task = self.loop.create_task(ask(), name=self._name, context=Context())
        flight.task = task
        self._running[task] = flight
        task.add_done_callback(self._policy_answered, context=self._context)

    def _policy_answered(self, task: asyncio.Task[Any]) -> None:
        self._settle(self._running.pop(task), task, f"timeout_policy of {self._name}")
        try:
            self.lane.wake()
        finally:
            self._pump()

    # ------------------------------------------------------------------------- flush, drain, close
    def flush(self) -> None:
        """Let everything that is queued now go as soon as a slot is free."""
        self._flushed_at = self._clock()
        self._pump()

    async def drain(self) -> None:
        """Flush, and return when nothing is unsettled and no handler runs."""
        self.refuse_own_handler()
        while self.lane.unsettled or self._running:
            self.flush()
            await self._next_quiet()

    def refuse_own_handler(self) -> None:
        """Raise RuntimeError in a handler, which would wait for itself."""
        served, task = serving.get(None), asyncio.current_task()
        starting = served is not None and served.flight is self._starting
        attempted = self._attempts is not None and self._attempts.runs(task)
        if task in self._running or starting or attempted:
            raise RuntimeError(
                f"batcher {self._name!r} must not be drained or closed by its own handler, "
                "for which it would wait"
            )

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
        if not self._closing:  # when nothing comes any more
            self._configure(
                self.lane, max_latency=0.0 if self._quiet else self._options.max_latency
            )

    def _tell_quiet(self) -> None:
        if self._running:
            return
        for quiet in self._quiet:
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

    def begin_close(self) -> None:
        """Refuse new items; what is queued waits for no companions any more."""
        self._closing = True
        self.lane.close()

    def _give_up(self) -> int:
        rest = self.lane.take_all()
        rest.fail(
            lambda _: BatcherClosedError(
                f"batcher {self._name!r} was closed before the item was handled"
            )
        )
        self.lane.wake_soon()
        for task in self._running:
            task.cancel()
        return rest.size

    def report_loss(self) -> None:
        """Warn, once, of the items that were unsettled when the loop was closed."""
        if self.lane.unsettled and not self._loss_reported:
            self._loss_reported = True
            warnings.warn(
                f"an event loop was closed with unsettled items of batcher {self._name!r}: "
                f"{self.lane.unsettled}; drain() or aclose() it before its loop ends",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    def __del__(self) -> None:
        if hasattr(self, "lane") and self.loop.is_closed():
            self.report_loss()


def plain_call(handler: Handler, flight: Flight[Any]) -> Coroutine[Any, Any, Any]:
    """Call a handler once with all items of a flight; what it answers is theirs."""
    return handler(flight.items)
