"""Test asynchronous code in virtual time: no waiting, no hanging.

`VirtualClockEventLoop` is an asyncio event loop whose clock jumps to the next timer whenever
nothing else is left to do, and `run` runs a coroutine on one. `RecordingHandler` is a batch handler
that remembers what it was called with:

    from microbatch import Batcher
    from microbatch.testing import RecordingHandler, run

    async def main() -> None:
        handler = RecordingHandler[int, int](lambda items: [item * 2 for item in items], delay=60.0)
        async with Batcher(handler, max_latency=3600.0) as batcher:
            assert await batcher.submit(1) == 2      # an hour and a minute, in no time
        assert handler.sizes == [1]

    run(main)

With anyio's pytest plugin, let the `anyio_backend` fixture return
`("asyncio", {"loop_factory": VirtualClockEventLoop})`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import selectors
import threading
import time
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, TypeVarTuple, cast

from microbatch._loops.closing import is_watched

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from concurrent.futures import Executor
    from contextvars import Context
    from types import FrameType

__all__ = ["Call", "DeadlockError", "RecordingHandler", "VirtualClockEventLoop", "run"]

T = TypeVar("T")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")

Outcome = Literal["returned", "raised", "cancelled"]

_TASKS_NAMED = 10
_CANCEL_ROUNDS = 3
_CLOCK_RESOLUTION = time.get_clock_info("monotonic").resolution
# A task that waits inside one of these is better described by the caller's line.
_PLUMBING = frozenset({"asyncio", "anyio"})


class DeadlockError(RuntimeError):
    """No task can ever go on: nothing is ready, no timer is armed, nothing came from outside.

    The message tells how many tasks are pending and names up to ten of them, each with the line at
    which it waits.
    """


class VirtualClockEventLoop(asyncio.SelectorEventLoop):
    """Run callbacks as any asyncio loop does, on a clock that jumps instead of waiting.

    `time()` starts at 0.0 and moves only when nothing is ready: it jumps to the time of the
    earliest timer, so that `asyncio.sleep(3600)` takes no real time and ends 3600 seconds later on
    this clock. Callbacks, threads and sockets take no virtual time. (Beyond half a year the clock
    also creeps, by one unit of float precision per iteration, so that a timer that is due always
    fires.) A timer at infinity never fires.

    When nothing is ready and no timer is armed, running the loop raises DeadlockError: at once when
    nothing outside the loop could wake it, and otherwise (while any other thread is alive, busy or
    idle, or a descriptor is watched) after `deadlock_after` real seconds without an event. The loop
    is intact afterwards: cancel the pending tasks and run it again to let them end, or close it.

    A jump would make timeouts fire at random while a thread computes, so calls in threads hold the
    clock: as long as a `run_in_executor` call (`asyncio.to_thread` is one) or an awaited
    `anyio.to_thread.run_sync` is under way, the loop really waits for events, and jumps only when
    none came for `thread_patience` real seconds. Nothing else holds the clock: neither threads that
    the program started itself, nor sockets, which are polled before every jump.

    Args:
        deadlock_after: longest real wait, in seconds, before DeadlockError; `math.inf` waits for
            ever, which suits a loop that serves another thread.
        thread_patience: longest real wait, in seconds, of a jump for calls in threads; 0 lets the
            clock run away from them, `math.inf` never jumps while one is under way. A thread that
            itself waits for a timer of this loop costs this patience.

    Raises:
        ValueError: an argument is negative or not a number.
    """

    def __init__(self, *, deadlock_after: float = 5.0, thread_patience: float = 5.0) -> None:
        self._deadlock_after = deadlock_after
        self._thread_patience = thread_patience
        self._virtual_now = 0.0
        self._calls_in_threads = 0
        self._own_descriptors = 0
        self._watched = _JumpingSelector(self._patience, self._pass_time)
        super().__init__(self._watched)
        self._own_descriptors = len(self._watched.get_map())
        for name in ("deadlock_after", "thread_patience"):
            value = getattr(self, f"_{name}")
            if not value >= 0:
                self.close()  # only a complete loop can be closed and collected without a warning
                raise ValueError(f"{name} must be >= 0, got {value!r}")

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._virtual_now

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call `callback` when the virtual clock has reached `when`; never, if that is infinity."""
        if when == math.inf:
            # Armed, it would have the clock jump day after day for ever.
            return asyncio.TimerHandle(when, callback, args, self, context)
        return super().call_at(when, callback, *args, context=context)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Call `func` in a thread; the clock stands still until its future is done or cancelled."""
        future = super().run_in_executor(executor, func, *args)
        self._calls_in_threads += 1
        future.add_done_callback(self._call_in_thread_ended)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002
        """Join the threads of the default executor, for at most `deadlock_after` real seconds.

        `timeout` is ignored: its timer would have the clock jump over the threads' work.

        Raises:
            DeadlockError: a thread did not end; it comes out of running the loop.
        """
        await super().shutdown_default_executor()

    def _call_in_thread_ended(self, _future: asyncio.Future[Any]) -> None:
        self._calls_in_threads -= 1

    def _patience(self, timeout: float | None) -> float:
        """Return for how many real seconds to wait for events before `timeout` is skipped."""
        if timeout is None:
            return self._deadlock_after if self._may_be_woken() else 0.0
        if timeout > 0 and self._thread_patience > 0 and self._is_threaded():
            return self._thread_patience
        return 0.0

    def _may_be_woken(self) -> bool:
        own = self._own_descriptors + is_watched(self)
        return len(self._watched.get_map()) > own or _other_threads()

    def _is_threaded(self) -> bool:
        if self._calls_in_threads:
            return True
        return _other_threads() and any(map(_awaits_anyio_thread, asyncio.all_tasks(self)))

    def _pass_time(self, timeout: float | None, *, eventless: bool) -> None:
        """Move the clock on after a poll; raise DeadlockError where it has nowhere to go."""
        if timeout is not None and timeout <= 0:
            self._virtual_now = _creep(self._virtual_now)
        elif eventless and timeout is None:
            raise DeadlockError(_describe_deadlock(_pending_tasks(self)))
        elif eventless and timeout is not None:
            self._virtual_now = _landing(self._virtual_now, timeout)


class _JumpingSelector(selectors.DefaultSelector):
    """A real selector that asks how long it may really wait, and tells what became of it."""

    def __init__(
        self,
        patience: Callable[[float | None], float],
        pass_time: Callable[..., None],
    ) -> None:
        super().__init__()
        self._patience = patience
        self._pass_time = pass_time

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # Patience is settled before the poll: a thread may wake the loop and end in between.
        patience = self._patience(timeout)
        events = super().select(None if patience == math.inf else patience)
        self._pass_time(timeout, eventless=not events)
        return events


def _creep(now: float) -> float:
    """Return a `now` at which the timers due at it fire.

    asyncio fires those before `time()` plus the resolution of the real clock, and a large float
    swallows that resolution.
    """
    return now if now + _CLOCK_RESOLUTION > now else math.nextafter(now, math.inf)


def _landing(now: float, timeout: float) -> float:
    """Return the instant from which asyncio subtracted `now` to get `timeout`, never less."""
    instant = now + timeout
    later = math.nextafter(instant, math.inf)
    return later if later - now == timeout else instant


def _other_threads() -> bool:
    current = threading.current_thread()
    return any(thread is not current for thread in threading.enumerate())


def _awaited_frames(coroutine: Any) -> Iterator[FrameType]:
    """Yield the frames of a suspended coroutine and of those it awaits, outermost first."""
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        yield frame
        coroutine = coroutine.cr_await


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _awaits_anyio_thread(task: asyncio.Task[Any]) -> bool:
    return any(
        frame.f_code.co_name == "run_sync" and _module(frame) == "anyio.to_thread"
        for frame in _awaited_frames(task.get_coro())
    )


def _place(task: asyncio.Task[Any]) -> str:
    frames = list(_awaited_frames(task.get_coro()))
    own = [frame for frame in frames if _module(frame).partition(".")[0] not in _PLUMBING]
    if not frames:
        return "an unknown place"
    frame = (own or frames)[-1]
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"


def _pending_tasks(loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[Any]]:
    """Return the unfinished tasks, Task-2 before Task-10."""
    return sorted(asyncio.all_tasks(loop), key=lambda task: (len(task.get_name()), task.get_name()))


def _describe_deadlock(tasks: list[asyncio.Task[Any]]) -> str:
    count = f"{len(tasks)} pending task" + ("" if len(tasks) == 1 else "s")
    lines = [f"deadlock: nothing is ready, no timer is armed and nothing woke the loop; {count}"]
    lines += [f"  {task.get_name()} waits at {_place(task)}" for task in tasks[:_TASKS_NAMED]]
    if len(tasks) > _TASKS_NAMED:
        lines.append(f"  and {len(tasks) - _TASKS_NAMED} more")
    return "\n".join(lines)


def run(
    main: Callable[[*Ts], Coroutine[Any, Any, T]] | Coroutine[Any, Any, T],
    /,
    *args: *Ts,
    debug: bool = True,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = VirtualClockEventLoop,
    eager: bool = False,
) -> T:
    """Run a coroutine on a new loop, as `asyncio.run` does, and return its result.

    Args:
        main: a coroutine function, called with `args`, or a coroutine.
        args: what `main` is called with.
        debug: whether the loop runs in asyncio's debug mode.
        loop_factory: makes the loop; `functools.partial(VirtualClockEventLoop, deadlock_after=1.0)`
            gives it options.
        eager: whether tasks start within `create_task` (`asyncio.eager_task_factory`).

    Raises:
        DeadlockError: no task can go on; the pending tasks were cancelled and have ended.
        RuntimeError: `eager` was asked for before Python 3.12.
        TypeError: `main` is a coroutine, and there are `args`.
        BaseException: whatever `main` raises.
    """
    if args and not callable(main):
        raise TypeError("args are for a coroutine function, and main is a coroutine")
    factory: Any = getattr(asyncio, "eager_task_factory", None) if eager else None
    if eager and factory is None:
        raise RuntimeError("eager=True needs Python 3.12 or later")
    with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
        loop = runner.get_loop()
        loop.set_task_factory(factory)
        try:
            return runner.run(main(*args) if callable(main) else main)
        except DeadlockError:
            _cancel_pending(loop)
            raise


def _cancel_pending(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel until no task is left; again where one hangs once more in its clean-up."""
    for _ in range(_CANCEL_ROUNDS):
        tasks = _pending_tasks(loop)
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        with contextlib.suppress(DeadlockError):
            loop.run_until_complete(asyncio.wait(tasks))


@dataclasses.dataclass(frozen=True)
class Call(Generic[T]):
    """One call of a RecordingHandler; times in seconds on the clock of the running loop.

    `ended` and `outcome` are None while the call is under way.
    """

    items: tuple[T, ...]
    started: float
    ended: float | None = None
    outcome: Outcome | None = None


class RecordingHandler(Generic[T, R]):
    """Handle batches as a test wants it, and record each call.

    `calls` holds one Call per call, in the order of their starts. It belongs to one thread.

    Args:
        function: called with the list of items; answers the results, and may raise. None answers
            the items themselves.
        delay: seconds that a call sleeps, on the clock of its loop, before `function` is called; or
            a callable that is given the items and answers the seconds. A call that neither sleeps
            nor is held never yields to the loop.
    """

    def __init__(
        self,
        function: Callable[[list[T]], list[R]] | None = None,
        *,
        delay: float | Callable[[list[T]], float] = 0.0,
    ) -> None:
        self.__name__ = "recording"
        self.calls: list[Call[T]] = []
        self._function = function
        self._delay = delay
        self._gate: asyncio.Event | None = None

    @property
    def items(self) -> list[T]:
        """Return the items of all calls, in the order in which the handler was given them."""
        return [item for call in self.calls for item in call.items]

    @property
    def sizes(self) -> list[int]:
        """Return the number of items of each call."""
        return [len(call.items) for call in self.calls]

    def hold(self) -> None:
        """Keep calls waiting, once their delay is over, until `release`; idempotent."""
        if self._gate is None:
            self._gate = asyncio.Event()

    def release(self) -> None:
        """Let all held calls go on, and hold no later ones until the next `hold`."""
        if self._gate is not None:
            self._gate.set()
            self._gate = None

    async def __call__(self, items: list[T]) -> list[R]:
        """Record the call, sleep, wait while held, and answer what the function answers.

        Raises what `delay` and `function` raise. Cancellation is recorded and propagates.
        """
        clock = asyncio.get_running_loop().time
        index = len(self.calls)
        self.calls.append(Call(tuple(items), clock()))
        outcome: Outcome = "raised"
        try:
            results = await self._handle(items)
            outcome = "returned"
            return results
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            call = self.calls[index]
            self.calls[index] = dataclasses.replace(call, ended=clock(), outcome=outcome)

    async def _handle(self, items: list[T]) -> list[R]:
        delay = self._delay(items) if callable(self._delay) else self._delay
        if delay > 0:
            await asyncio.sleep(delay)
        if self._gate is not None:
            await self._gate.wait()
        if self._function is None:
            return cast("list[R]", list(items))
        return self._function(items)
