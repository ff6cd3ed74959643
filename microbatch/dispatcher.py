"""When to dispatch, and what becomes of a handler call: the policy of one batcher on one loop.

Whatever happens once per item is the lane's; everything here happens once per batch. The slot is
taken first, and only then the batch, so batches form as late and as full as they can.
"""

import asyncio
import functools
import inspect
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, TypeAlias

from microbatch._select import Flight, Lane, Ticket
from microbatch.batch import Reason, serving
from microbatch.errors import BatcherClosedError, BatchTimeoutError, HandlerCancelledError
from microbatch.options import Options
from microbatch.outcome import individual, results_of
from microbatch.timer import Timer, clock_of

__all__ = ["Dispatcher", "Handler"]

Handler: TypeAlias = Callable[[list[Any]], Coroutine[Any, Any, Any]]


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
        self._handler = handler
        self._options = options
        self._name = name
        self._free = options.max_concurrent_batches
        self._running: dict[asyncio.Task[Any], Flight[Any]] = {}
        self._departed: deque[Flight[Any]] = deque()  # in dispatch order, when results keep it
        self._closing = False
        self._flushed_at = float("-inf")
        self._quiet: set[asyncio.Future[None]] = set()
        # Callbacks run in a context of the lane's own, or the first caller's would never end.
        self._context = Context()
        self._clock = clock_of(loop)
        self._timer = Timer(loop, self._clock, self._context)
        self.lane = self._make_lane(hold)

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
        lane.configure(
            max_batch_size=self._options.max_batch_size,
            max_latency=self._options.max_latency,
            capacity=self._options.capacity,
            overflow=self._options.overflow,
            timeout=self._options.timeout,
        )
        lane.open_slot(True)
        return lane

    @property
    def slots_busy(self) -> int:
        """Count the handler calls under way."""
        return self._options.max_concurrent_batches - self._free

    # ------------------------------------------------------------------------------- dispatching
    def _pump(self) -> None:
        """Dispatch whatever is due while a slot is free."""
        lane = self.lane
        if lane.overdue:
            self._settle_late()
        while self._free and (reason := self._due()):
            self._start(lane.take(self._options.max_batch_size), reason)
        lane.rearm()

    def _due(self) -> Reason | None:
        """Say why a batch should go now, or None when it should wait."""
        lane, options = self.lane, self._options
        queued = lane.queued
        if not queued:
            return None
        if queued >= options.max_batch_size:
            return "size"
        if options.capacity is not None and lane.unsettled >= options.capacity:
            return "capacity"
        if self._closing:
            return "close"
        if lane.oldest <= self._flushed_at:
            return "flush"
        if not options.max_latency:
            return "natural"
        return "latency" if lane.waited(options.max_latency) else None

    def _start(self, flight: Flight[Any], reason: Reason) -> None:
        self.batched += flight.size
        self.batches[reason] += 1
        flight.reason = reason
        self._take_slot()
        context = Context()
        context.run(serving.set, (self._name, flight))
        try:
            task = self._spawn(self._handler(flight.items), flight, context)
        except Exception as error:  # the handler can't even be called
            flight.fail(functools.partial(self._own_error, error))
            self._free_slot()
            self.lane.wake_soon()
            return
        if self._options.ordering == "ordered":
            self._departed.append(flight)
        task.add_done_callback(self._end, context=self._context)

    def _take_slot(self) -> None:
        self._free -= 1
        self.lane.open_slot(self._free > 0)

    def _free_slot(self) -> None:
        self._free += 1
        self.lane.open_slot(True)

    def _spawn(
        self, work: Coroutine[Any, Any, Any], flight: Flight[Any], context: Context
    ) -> asyncio.Task[Any]:
        task = self.loop.create_task(work, name=self._name, context=context)
        flight.task = task
        self._running[task] = flight
        return task

    def _end(self, task: asyncio.Task[Any]) -> None:
        """Settle what a handler answered, and fill its slot again."""
        flight = self._running.pop(task)
        if self._options.ordering == "unordered":
            self._settle(flight, task)
        else:
            self._settle_in_order()
        self._free_slot()
        # The callers go first: what they submit now still joins the next batch.
        self.lane.wake()
        self._pump()

    # ---------------------------------------------------------------------------------- settling
    def _settle_in_order(self) -> None:
        while self._departed and self._departed[0].task.done():
            flight = self._departed.popleft()
            self._settle(flight, flight.task)

    def _settle(self, flight: Flight[Any], task: asyncio.Task[Any]) -> None:
        """Hand each caller its part of a handler's answer."""
        if task.cancelled():
            flight.fail(self._cancelled_error)
            return
        try:
            results = results_of(task.result(), flight.size, self._name)
        except BaseException as error:  # an exit request went its own way; the callers must not hang
            flight.fail(functools.partial(self._own_error, error))
        else:
            flight.resolve(results, individual)

    def _own_error(self, error: BaseException, _: Ticket[Any]) -> BaseException:
        return individual(error)

    def _cancelled_error(self, _: Ticket[Any]) -> HandlerCancelledError:
        return HandlerCancelledError(f"the handler of batcher {self._name!r} was cancelled")

    def _abandon(self, flight: Flight[Any]) -> None:
        if self._options.cancel_abandoned and flight.task is not None:
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
                flight.fail(functools.partial(self._late_error, "with its batch"))
                flight.task.cancel()
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

    def _ask_policy(self, policy: Callable[[list[Any]], Any], flight: Flight[Any]) -> None:
        async def ask() -> Any:
            answer = policy(flight.items)
            return await answer if inspect.isawaitable(answer) else answer

        task = self._spawn(ask(), flight, Context())
        task.add_done_callback(self._policy_answered, context=self._context)

    def _policy_answered(self, task: asyncio.Task[Any]) -> None:
        self._settle(self._running.pop(task), task)
        self.lane.wake()
        self._pump()

    # ------------------------------------------------------------------------- flush, drain, close
    def flush(self) -> None:
        """Let everything that is queued now go as soon as a slot is free."""
        self._flushed_at = self._clock()
        self._pump()

    async def drain(self) -> None:
        """Flush, and return when nothing is unsettled and no handler runs."""
        while self.lane.unsettled or self._running:
            self.flush()
            await self._next_quiet()

    async def _next_quiet(self) -> None:
        quiet: asyncio.Future[None] = self.loop.create_future()
        self._quiet.add(quiet)
        try:
            await quiet
        finally:
            self._quiet.discard(quiet)

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
        self._closing = True
        self.lane.close()
        abandoned = 0
        try:
            async with asyncio.timeout(timeout):
                await self.drain()
        except TimeoutError:
            abandoned = self._give_up()
            await self.drain()
        self._timer.close()
        return abandoned

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
