"""Call a handler again for what it failed: as a retry policy says, and half by half.

This takes the place of the plain call where ``retry`` or ``on_error="bisect"`` is set. A batch has
one task, which keeps its slot; each handler call in it is a task of its own. So a call can be
cancelled for those of the batch that it was for, while others still have theirs before them.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextvars import Context
from dataclasses import dataclass
from enum import Enum
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from microbatch._core import Flight, Lane
from microbatch._handlers.calling import Handler, Underway, take_answer
from microbatch._handlers.settling import SETTLED, Individual, Interrupted, Settling, as_it_is
from microbatch.batch import served, serving
from microbatch.options import Options

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from microbatch._handlers.retrying import RetryPolicy

__all__ = ["Attempts"]


class LotOverError(BaseException):
    """Say that nothing is left to do for a lot, whatever a policy thinks of it."""


class ExitRequestedError(BaseException):
    """Say that a handler asked to exit; the loop has been told, and here is the request."""


class Verdict(Enum):
    """Tell what trying a lot has shown."""

    ANSWERED = "a call for all its items succeeded"
    FAILED = "its calls failed, and its items are still to be settled"
    OVER = "all its items have come to an end, and this shows nothing about them"


@dataclass(slots=True, eq=False)
class Lot:
    """Hold items of one batch that go through the handler together."""

    flight: Flight[Any]
    places: Sequence[int]
    """Where in the batch the items of the flight stand."""
    calls: int = 0
    """How many calls there were for these items."""
    answer: Any = SETTLED
    results: tuple[Any, ...] = ()
    """What the last answer means for each item of the flight."""
    failure: BaseException | None = None
    """What became of the last call, unless it answered."""
    held: Callable[[int], object] | None = None
    """What settles each of them once it is their turn."""

    def narrow(self) -> Flight[Any]:
        """Leave out the items that nobody waits for any more."""
        if self.flight.alive < self.flight.size:
            self.places = [self.places[index] for index in self.flight.awaited]
            self.flight = self.flight.part(0, self.flight.size)
        return self.flight

    def halve(self) -> "tuple[Lot, Lot]":
        """Part the items that are still awaited; there are at least two."""
        flight, places = self.narrow(), self.places
        middle = flight.size // 2
        left, right = flight.part(0, middle), flight.part(middle, flight.size)
        return Lot(left, places[:middle], self.calls), Lot(right, places[middle:], self.calls)


class Attempts(Settling):
    """Make as many handler calls for the batches of one lane as they need, and settle them."""

    def __init__(
        self,
        lane: Lane,
        handler: Handler,
        options: Options,
        name: str,
        context: Context,
    ) -> None:
        super().__init__(name, options)
        self.retried = 0
        """Items that were sent again, each time that they were."""
        self.name = name
        self._lane = lane
        self.wake = lane.wake_soon
        self.bisects = options.on_error == "bisect"
        self.ordered = options.ordering == "ordered"
        self.policy = policy_of(options, handler, name, lane.loop)
        self._loop: asyncio.AbstractEventLoop = lane.loop
        self._handler = handler
        self._context = context
        self._take_answer = functools.partial(take_answer, lane, options, name)
        self._courses: dict[Flight[Any], Course] = {}
        self._calls: dict[asyncio.Task[Any] | None, Flight[Any]] = {}
        self._pauses: set[asyncio.Task[Any]] = set()

    def call(self, _: list[Any]) -> Coroutine[Any, Any, Any]:
        """Give what a batch's task has to do."""
        flight = served()
        course = self._courses[flight] = Course(self, flight)
        return course.run()

    def make_task(self, work: Coroutine[Any, Any, Any], **named: Any) -> "asyncio.Task[Any]":
        """Make a batch's task, which never starts at once: what it makes may be eager, and is."""
        return asyncio.Task(work, loop=self._loop, **named)

    def runs(self, task: "asyncio.Task[Any] | None") -> bool:
        """Tell whether a task is a handler call."""
        return task in self._calls

    def handlers(self, batches: Iterable[Flight[Any]]) -> Underway:
        """Give each batch its handler call under way; one that pauses has none."""
        calls = {flight.batch: (flight, task) for task, flight in self._calls.items()}
        return {batch: calls.get(batch) for batch in batches}

    def pauses(self, flight: Flight[Any]) -> bool:
        """Tell whether a flight waits for its next attempt."""
        return flight.task in self._pauses

    def by_task(
        self, flight: Flight[Any], task: "asyncio.Task[Any]", name: str = ""
    ) -> BaseException | None:
        """Hand out what is still to be handed out once a batch's task has ended.

        Gives what items failed with in the end, the last of several failures.
        """
        course = self._courses.pop(flight, None)
        if course is None:
            return super().by_task(flight, task, name)
        held = [
            (place, lot.held, index)
            for lot in course.lots
            if lot.held is not None
            for index, place in enumerate(lot.places)
        ]
        for _, settle, index in sorted(held, key=itemgetter(0)):
            settle(index)
        failure = course.failure
        for lot in course.lots:
            failure = super().by_task(lot.flight, task) or failure
        return failure

    async def serve(self, flight: Flight[Any], items: list[Any], calls: int) -> "asyncio.Task[Any]":
        """Call the handler in a task and a context of its own, and give the task once it ended."""
        flight.attempt = calls
        serving.set(flight)  # for the callbacks of a policy
        context = self._context.copy()
        context.run(serving.set, flight)
        work = self._work(flight, items)
        self._lane.began(flight, context)
        try:
            task = self._loop.create_task(work, name=self.name, context=context)
            flight.task = task
            await ended(task)
        finally:
            self._lane.ended(flight)
            self._calls.pop(flight.task, None)
            flight.task = None  # the task's context knows the flight
        return task

    async def _work(self, flight: Flight[Any], items: list[Any]) -> Any:
        # An eager task is running before anybody else could make it known.
        flight.task = asyncio.current_task()
        self._calls[flight.task] = flight
        return await self._take_answer(flight, self._handler(items))

    async def pause(self, flight: Flight[Any], sleep: Callable[[], Awaitable[None]]) -> None:
        """Sleep until the next attempt for a flight, or until nobody waits for it any more."""
        task = self._loop.create_task(sleeping(sleep), name=self.name)
        flight.task = task
        self._pauses.add(task)
        try:
            await ended(task)
        finally:
            self._pauses.discard(task)
            flight.task = None
        if not task.cancelled():
            task.result()


class Course:
    """The way of one batch through its handler calls."""

    def __init__(self, attempts: Attempts, flight: Flight[Any]) -> None:
        self.lots = [Lot(flight, range(flight.size))]
        """All that the batch was parted into."""
        self.failure: BaseException | None = None
        """What items have failed with last."""
        self._attempts = attempts

    async def run(self) -> Any:
        """Call the handler until each item has come to an end."""
        try:
            await self._resolve(self.lots[0])
        except ExitRequestedError as stop:
            (request,) = stop.args
            for lot in self.lots:
                self._fail(lot, request)
        return SETTLED

    # ------------------------------------------------------------------------------------ bisecting
    async def _resolve(self, lot: Lot) -> None:
        """Call for a lot, and where that fails find out for which of its items."""
        if await self._try(lot) is Verdict.FAILED:
            await self._halve(lot)

    async def _halve(self, lot: Lot) -> None:
        """Resolve a lot that holds a bad item, without calling for it as it is.

        When its left half succeeds, the bad item is taken to be in the right one. So that half is
        halved as well, without a call for the whole of it: that is what keeps the number of calls
        low. It is a guess: each item gets what a call for it has answered, were it wrong or right.
        """
        flight = lot.flight
        if flight.alive < 2:  # noqa: PLR2004 (one cannot be halved)
            await self._resolve(lot)
            return
        sure = flight.alive == flight.size  # else the bad one may be gone
        left, right = lot.halve()
        self.lots += left, right
        verdict = await self._try(left)
        if verdict is Verdict.ANSWERED and sure and right.flight.alive == right.flight.size:
            await self._halve(right)
            return
        await self._resolve(right)
        if verdict is Verdict.FAILED:
            await self._halve(left)

    async def _try(self, lot: Lot) -> Verdict:
        """Call for a lot, as often as the policy says, and settle it unless it is to be halved."""
        whole = lot.flight
        try:
            error = await self._outcome(lot)
        except LotOverError:
            self.failure = lot.failure if self.failure is None else self.failure
            return Verdict.OVER
        flight = lot.flight
        if error is None:
            if lot.answer is not SETTLED:
                self._note(lot, lot.results)
            return Verdict.ANSWERED if flight is whole else Verdict.OVER
        if self._attempts.bisects and flight.alive > 1 and not isinstance(error, TimeoutError):
            return Verdict.FAILED
        self._fail(lot, error)
        return Verdict.OVER

    # ------------------------------------------------------------------------------------- settling
    def _fail(self, lot: Lot, error: BaseException) -> None:
        self.failure = error
        self._note(lot, (error,) * lot.flight.size)

    def _note(self, lot: Lot, results: Sequence[Any], own: Individual | None = None) -> None:
        """Settle the items of a lot with their results, or keep these until it is their turn."""
        own = own or self._attempts.own_errors(lot.flight, results)
        if not self._attempts.ordered:
            lot.flight.resolve(tuple(results), own)
            self._attempts.wake()
        elif lot.held is None:
            flight = lot.flight
            lot.held = lambda index: flight.settle(index, results[index], own)

    def _keep(self, lot: Lot, results: dict[int, Any]) -> None:
        """Note what a call has answered for some of its items, and part them from the others."""
        for index, result in results.items():
            answered = Lot(lot.flight.part(index, index + 1), (lot.places[index],))
            if answered.flight.size:
                self.lots.append(answered)
                self._note(answered, (result,))

    # -------------------------------------------------------------------------------------- calling
    async def _outcome(self, lot: Lot) -> BaseException | None:
        """Call for a lot, as often as the policy says; give the failure, or leave results in it."""
        policy = self._attempts.policy
        if policy is None:
            _, error = await self._attempt(lot)
            return error
        attempt, pause = functools.partial(self._attempt, lot), functools.partial(self._pause, lot)
        answer, failure = await policy.call(attempt, pause)
        if failure is None and answer is not lot.answer:  # a callback had a better one
            _, failure = self._answered(lot, answer)
        return failure

    async def _attempt(
        self, lot: Lot, state: "RetryCallState | None" = None
    ) -> tuple[Any, Exception | None]:
        """Call the handler once for what is still awaited of a lot; give its answer or failure."""
        raise_if_cancelled()
        flight, attempts = lot.narrow(), self._attempts
        if not flight.alive:
            raise LotOverError
        items = flight.items
        if state is not None:
            state.args = (items,)
        attempts.retried += flight.size if lot.calls else 0
        lot.calls += 1
        lot.answer = SETTLED  # none so far
        task = await attempts.serve(flight, items, lot.calls)
        if task.cancelled():
            raise_if_cancelled()
            lot.failure = asyncio.CancelledError()
            self._note(lot, [attempts.cancelled_error() for _ in items], as_it_is)
            raise LotOverError
        error = task.exception()
        if error is not None and not isinstance(error, Exception):
            raise ExitRequestedError(error)
        answer, lot.failure = self._answered(lot, task.result()) if error is None else (None, error)
        return answer, lot.failure

    def _answered(self, lot: Lot, answer: Any) -> tuple[Any, Exception | None]:
        """Take an answer; one that is none is a failure like others."""
        if isinstance(answer, Interrupted):
            self._keep(lot, answer.results)
            return None, answer.error
        if answer is SETTLED:  # item by item, and so there is nothing left to hand out
            return answer, None
        try:
            lot.results = self._attempts.results(answer, lot.flight.size)
        except Exception as wrong:
            return None, wrong
        lot.answer = answer
        return answer, None

    async def _pause(self, lot: Lot, sleep: Callable[[], Awaitable[None]]) -> None:
        raise_if_cancelled()
        if not lot.flight.alive:
            raise LotOverError
        await self._attempts.pause(lot.flight, sleep)


def policy_of(
    options: Options, handler: Handler, name: str, loop: asyncio.AbstractEventLoop
) -> "RetryPolicy | None":
    """Make the policy that the options ask for; only that needs tenacity."""
    if options.retry is None or not getattr(options.retry, "enabled", True):
        return None
    from microbatch._handlers.retrying import RetryPolicy  # noqa: PLC0415 - tenacity may be missing

    return RetryPolicy(options.retry, handler, name, loop.time)


def raise_if_cancelled() -> None:
    """Raise CancelledError where the running task's cancellation has been overlooked so far."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def ended(task: "asyncio.Task[Any]") -> None:
    """Wait until a task has ended, and pass on a cancellation to it.

    The caller has to ask whether there was one. What the task raised is not raised here, or it
    would know the frames that know the task.
    """
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()


async def sleeping(sleep: Callable[[], Awaitable[None]]) -> None:
    """Make a coroutine of whatever can be awaited."""
    await sleep()
