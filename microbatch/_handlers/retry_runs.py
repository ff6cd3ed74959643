"""The runs of batches whose handler is called again: as a retry policy says, and half by half.

They take the place of plain runs where ``retry`` or ``on_error="bisect"`` is set. Read first
``State`` and then ``RetryRun.run``: all else is what these two speak of.
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from enum import Enum
from operator import itemgetter
from typing import Any

from microbatch._core import InFlightBatch, Lane
from microbatch._handlers.attempts import Accepted, Attempts, GivenUp, OneAttempt, Pause
from microbatch._handlers.calling import Handler
from microbatch._handlers.handler_tasks import HandlerTasks, raise_if_cancelled
from microbatch._handlers.settling import SETTLED, Individual, Interrupted, Settling, as_it_is
from microbatch.batch import served
from microbatch.options import Options

__all__ = ["RetryRuns"]


class State(Enum):
    """How far a sub-batch has come.

    ::

        WAITING -> TRYING -> ANSWERED, FAILED, CANCELLED or ABANDONED
                   TRYING -> SUSPECT -> HALVED: two are WAITING, or the right one is SUSPECT
                             SUSPECT -> TRYING, where one item is left of it
    """

    WAITING = "its handler calls are still to come"
    TRYING = "its handler calls are under way, or a pause between two of them"
    SUSPECT = "one of its items makes calls fail: it is to be halved, not called for"
    HALVED = "its items are in its halves"
    ANSWERED = "a call for its items has answered"
    FAILED = "its items fail with what came of its calls"
    CANCELLED = "its handler call was cancelled"
    ABANDONED = "nobody awaits any of its items"


OPEN = (State.WAITING, State.TRYING, State.SUSPECT)
"""States of sub-batches for which something is still to be done."""
DECIDED = (State.ANSWERED, State.FAILED, State.CANCELLED)
"""States in which ``results`` are what the items get."""


@dataclass(slots=True, eq=False)
class SubBatch:
    """Items of one batch that go through the handler together, and what has come of them."""

    batch: InFlightBatch[Any]
    """Its items, as a batch of their own."""
    places: Sequence[int]
    """Where in the whole batch its items stand."""
    calls: int = 0
    """How many calls there were for these items."""
    state: State = State.WAITING
    narrowed: bool = False
    """Whether items have left it before a call."""
    answer: Any = SETTLED
    """What the last call has answered."""
    results: tuple[Any, ...] = ()
    """What that means for each item; empty where the call has settled them itself."""
    failure: BaseException | None = None
    """What the last call has failed with, unless it answered."""

    @property
    def intact(self) -> bool:
        """Whether all of its items are still awaited."""
        return self.batch.alive == self.batch.size

    def narrow(self) -> list[Any]:
        """Leave out the items that nobody waits for any more, and give the others."""
        while len(items := self.batch.items) < self.batch.size:  # finalizers may give up more
            self.narrowed = True
            self.batch = self.batch.part(0, self.batch.size)
            self.places = [self.places[index] for index in self.batch.origins]
        return items

    def halve(self) -> "tuple[SubBatch, SubBatch]":
        """Split the items that are still awaited; there are at least two."""
        self.narrow()
        batch, places = self.batch, self.places
        middle = batch.size // 2
        left, right = batch.part(0, middle), batch.part(middle, batch.size)
        self.state = State.HALVED
        return (
            SubBatch(left, places[:middle], self.calls),
            SubBatch(right, places[middle:], self.calls),
        )


class RetryRun:
    """The way of one batch through its handler calls."""

    def __init__(self, runs: "RetryRuns", batch: InFlightBatch[Any]) -> None:
        self.sub_batches = [SubBatch(batch, range(batch.size))]
        """All that the batch was split into."""
        self.failure: BaseException | None = None
        """What items have failed with last."""
        self._runs = runs

    async def run(self) -> Any:
        """Call the handler for the batch, and for its halves where that fails, until all is done.

        When the left half of a suspect succeeds, the bad item is taken to be in the right one. So
        that half is suspect too, and is halved without a call for the whole of it: that is what
        keeps the number of calls low. It is a guess, which is not made where the bad item may have
        left: each item gets what a call for it has answered, were it wrong or right.
        """
        todo = [*self.sub_batches]
        while todo:
            sub = todo.pop()
            if sub.state is State.SUSPECT and sub.batch.alive > 1:
                sure = sub.intact  # else the bad item may have left
                left, right = sub.halve()
                self.sub_batches += left, right
                await self._try(left)
                if left.state is State.ANSWERED and sure and not left.narrowed and right.intact:
                    right.state = State.SUSPECT
                todo += left, right  # the right one comes next; the left one may be suspect
            elif sub.state in OPEN:
                await self._try(sub)
                todo.append(sub)  # for it may be suspect
        return SETTLED

    async def _try(self, sub: SubBatch) -> None:
        """Call for a sub-batch, again if and when the policy says so, until that has an outcome."""
        sub.state = State.TRYING
        attempts = self._runs.begin_attempts()
        try:
            while sub.state is State.TRYING:
                step = await attempts.next_step()
                if isinstance(step, Accepted):
                    self._accept(sub, step.answer)
                elif isinstance(step, GivenUp):
                    self._give_up(sub, step.error)
                elif not self._is_awaited(sub):
                    self._lose(sub, State.ABANDONED)
                elif isinstance(step, Pause):
                    await self._runs.tasks.pause(sub.batch, step.sleep)
                else:
                    await self._call(sub, attempts)
        finally:
            attempts.close()

    async def _call(self, sub: SubBatch, attempts: Attempts) -> None:
        """Call the handler once for what is still awaited of a sub-batch."""
        items = sub.narrow()
        if not items:  # any more
            self._lose(sub, State.ABANDONED)
            return
        batch = sub.batch
        sub.calls += 1
        sub.answer, sub.results = SETTLED, ()  # none so far
        task = await self._runs.tasks.call(batch, items, sub.calls)
        if task.cancelled():
            raise_if_cancelled()
            sub.failure = asyncio.CancelledError()
            error_of = self._runs.settling.cancelled_error
            self._lose(sub, State.CANCELLED, tuple(error_of() for _ in items))
            return
        error = task.exception()
        if error is not None and not isinstance(error, Exception):
            self._stop(error)
            return
        sub.failure = self._read(sub, task.result()) if error is None else error
        attempts.ended(items, sub.answer, sub.failure)

    def _is_awaited(self, sub: SubBatch) -> bool:
        """Tell whether somebody waits for a sub-batch; for a batch that is cancelled it is over."""
        raise_if_cancelled()
        return sub.batch.alive > 0

    # ------------------------------------------------------------------------------------- answers
    def _read(self, sub: SubBatch, answer: Any) -> Exception | None:
        """Take an answer for a sub-batch; one that is none is a failure like others."""
        if isinstance(answer, Interrupted):
            self._split_off(sub, answer.results)
            return answer.error
        if answer is SETTLED:
            return None
        try:
            sub.results = self._runs.settling.results(answer, sub.batch.size)
        except Exception as wrong:
            return wrong
        sub.answer = answer
        return None

    def _split_off(self, sub: SubBatch, results: Mapping[int, Any]) -> None:
        """Split those items from the others that a call has answered before it failed."""
        for index, result in results.items():
            answered = SubBatch(sub.batch.part(index, index + 1), (sub.places[index],))
            if answered.batch.size:
                self.sub_batches.append(answered)
                self._decide(answered, State.ANSWERED, (result,))

    # ------------------------------------------------------------------------------------ outcomes
    def _accept(self, sub: SubBatch, answer: Any) -> None:
        """Let a sub-batch have an answer, unless it is none."""
        better = answer is not sub.answer  # which a callback of the policy has made
        wrong = self._read(sub, answer) if better else None
        if wrong is None:
            self._decide(sub, State.ANSWERED, sub.results)
        else:
            self._give_up(sub, wrong)

    def _give_up(self, sub: SubBatch, error: BaseException) -> None:
        """Let a sub-batch fail, or be halved; slow work is not made faster by halving it."""
        halves = self._runs.bisects and sub.batch.alive > 1
        if halves and not isinstance(error, TimeoutError):
            sub.state = State.SUSPECT
        else:
            self._fail(sub, error)

    def _fail(self, sub: SubBatch, error: BaseException) -> None:
        self.failure = error
        self._decide(sub, State.FAILED, (error,) * sub.batch.size)

    def _lose(self, sub: SubBatch, state: State, results: tuple[Any, ...] = ()) -> None:
        """End a sub-batch whose calls show nothing about the others."""
        self.failure = sub.failure if self.failure is None else self.failure
        self._decide(sub, state, results)

    def _stop(self, request: BaseException) -> None:
        """Fail all that is left where a handler asked to exit; the loop has been told."""
        for sub in self.sub_batches:
            if sub.state in OPEN:
                self._fail(sub, request)

    def _decide(self, sub: SubBatch, state: State, results: tuple[Any, ...]) -> None:
        """Settle the items of a sub-batch, unless that has to wait for the batch's turn."""
        sub.state, sub.results = state, results
        if results and not self._runs.ordered:
            sub.batch.resolve(results, self._own_errors(sub))
            self._runs.wake()

    def hand_out(self) -> None:
        """Settle the items that have waited for the batch's turn, one after another."""
        decided = [sub for sub in self.sub_batches if sub.state in DECIDED]
        own_errors = [self._own_errors(sub) for sub in decided]
        held = [
            (sub.places[index], sub, index, own)
            for sub, own in zip(decided, own_errors, strict=True)
            for index in range(len(sub.results))
        ]
        for _, sub, index, own in sorted(held, key=itemgetter(0)):
            sub.batch.settle(index, sub.results[index], own)

    def _own_errors(self, sub: SubBatch) -> Individual:
        if sub.state is State.CANCELLED:  # each item has an error of its own
            return as_it_is
        return self._runs.settling.own_errors(sub.batch, sub.results)


class RetryRuns:
    """Runs of as many handler calls as the items of a batch need."""

    def __init__(
        self,
        lane: Lane,
        handler: Handler,
        options: Options,
        name: str,
        *,
        settling: Settling,
        context: Context,
    ) -> None:
        self.tasks = tasks = HandlerTasks(lane, handler, options, name, context)
        self.is_call, self.is_pausing = tasks.is_call, tasks.is_pausing
        self.under_way = tasks.under_way
        self.settling = settling
        self.wake = lane.wake_soon
        self.bisects = options.on_error == "bisect"
        self.ordered = options.is_ordered
        self.begin_attempts = attempts_of(options, handler, name, lane.loop.time)
        self._loop: asyncio.AbstractEventLoop = lane.loop
        self._by_batch: dict[InFlightBatch[Any], RetryRun] = {}

    def call(self, _: list[Any]) -> Coroutine[Any, Any, Any]:
        """Give what a batch's task has to do."""
        batch = served()
        run = self._by_batch[batch] = RetryRun(self, batch)
        return run.run()

    def began(self, batch: InFlightBatch[Any], context: Context) -> None:
        """Leave it to each handler call, which has a context of its own."""

    def make_task(
        self, work: Coroutine[Any, Any, Any], *, name: str, context: Context
    ) -> asyncio.Task[Any]:
        """Make a batch's task, which never starts at once: what it makes may be eager, and is."""
        return asyncio.Task(work, loop=self._loop, name=name, context=context)

    def settle(self, batch: InFlightBatch[Any], task: asyncio.Task[Any]) -> BaseException | None:
        """Hand out what is still to be handed out once a batch's task has ended.

        Gives what items failed with in the end, the last of several failures.
        """
        run = self._by_batch.pop(batch)
        if self.ordered:
            run.hand_out()
        failure = run.failure
        for sub in run.sub_batches:
            failure = self.settling.by_task(sub.batch, task) or failure
        return failure

    @property
    def retried(self) -> int:
        """Items that were handed to the handler again, each time that they were."""
        return self.tasks.retried


def attempts_of(
    options: Options, handler: Handler, name: str, clock: Callable[[], float]
) -> Callable[[], Attempts]:
    """Give what begins the attempts for a sub-batch; only a policy's need tenacity."""
    if options.retry is None or not getattr(options.retry, "enabled", True):
        return OneAttempt
    from microbatch._handlers.retry_policy import PolicyAttempts  # noqa: PLC0415 - may be missing

    return functools.partial(PolicyAttempts, options.retry, handler, name, clock)
