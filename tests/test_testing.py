"""The testing helpers themselves: the virtual clock, deadlocks, `run` and the recording handler."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
import logging
import math
import random
import re
import socket
import sys
import threading
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from microbatch.testing import Call, DeadlockError, RecordingHandler, VirtualClockEventLoop, run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    LoopFactory = Callable[[], VirtualClockEventLoop]

impatient: LoopFactory = functools.partial(
    VirtualClockEventLoop, deadlock_after=0.25, thread_patience=0.02
)
patient: LoopFactory = functools.partial(
    VirtualClockEventLoop, deadlock_after=math.inf, thread_patience=math.inf
)


@pytest.fixture(autouse=True)
def no_asyncio_noise(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail on "Task was destroyed but it is pending" and the like."""
    with caplog.at_level(logging.WARNING, logger="asyncio"):
        yield
        gc.collect()
    assert [r.getMessage() for r in caplog.get_records("call") if r.name == "asyncio"] == []


@pytest.fixture(params=[False, True], ids=["plain", "debug"])
def debug(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(
    params=[
        False,
        pytest.param(
            True,
            marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are 3.12+"),
        ),
    ],
    ids=["lazy", "eager"],
)
def eager(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def now() -> float:
    return asyncio.get_running_loop().time()


def compute() -> int:
    """Keep a thread busy for some milliseconds of real time."""
    return sum(range(1_000_000))


async def hang() -> None:
    await asyncio.Event().wait()


class TestClock:
    def test_starts_at_zero_and_jumps(self, debug: bool, eager: bool) -> None:
        async def main() -> tuple[float, float]:
            start = now()
            await asyncio.sleep(3600)
            return start, now()

        begun = time.monotonic()
        assert run(main, debug=debug, eager=eager) == (0.0, 3600.0)
        assert time.monotonic() - begun < 60

    def test_fires_timers_in_the_order_of_their_times(self, debug: bool, eager: bool) -> None:
        async def main() -> list[tuple[str, float]]:
            fired: list[tuple[str, float]] = []

            async def sleeper(name: str, delay: float) -> None:
                await asyncio.sleep(delay)
                fired.append((name, now()))

            async with asyncio.TaskGroup() as group:
                for name, delay in [("c", 86400.0 * 3), ("a", 0.001), ("b", 0.25)]:
                    group.create_task(sleeper(name, delay))
            return fired

        expected = [("a", 0.001), ("b", 0.25), ("c", 259200.0)]
        assert run(main, debug=debug, eager=eager) == expected

    def test_does_not_move_for_a_cancelled_timer(self) -> None:
        async def main() -> float:
            asyncio.get_running_loop().call_later(5.0, pytest.fail, "called").cancel()
            await asyncio.sleep(1.0)
            return now()

        assert run(main) == 1.0

    def test_times_out_on_the_virtual_clock(self) -> None:
        async def main() -> float:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(hang(), timeout=10.0)
            return now()

        assert run(main) == 10.0

    def test_never_fires_a_timer_before_its_time(self) -> None:
        numbers = random.Random(7)

        async def main() -> None:
            loop = asyncio.get_running_loop()
            for _ in range(2000):
                when = loop.time() + numbers.random() * 10.0 ** numbers.randint(-9, 3)
                fired = asyncio.Event()
                loop.call_at(when, fired.set)
                await fired.wait()
                assert when <= loop.time() <= when + 1e-9

        run(main, debug=False)

    def test_reaches_a_time_that_rounding_would_miss(self) -> None:
        start, when = 2.0**-53, 1.5 + 2.0**-52
        assert start + (when - start) < when

        async def main() -> float:
            fired = asyncio.Event()
            await asyncio.sleep(start)
            asyncio.get_running_loop().call_at(when, fired.set)
            await fired.wait()
            return now()

        assert run(main) == when

    @pytest.mark.parametrize("start", [2.0**24, 1e9, 1e9 + 1 / 3])
    def test_fires_timers_where_floats_are_coarse(self, start: float) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(start)
            assert loop.time() == pytest.approx(start)
            step = math.ulp(start)
            for ahead in (0.0, step, 3 * step, 1e-9, 1e-3, 0.1):
                fired = asyncio.Event()
                when = loop.time() + ahead
                loop.call_at(when, fired.set)
                await fired.wait()
                assert when <= loop.time() <= when + 10 * step

        run(main, debug=False)

    def test_never_fires_a_timer_at_infinity(self) -> None:
        async def main() -> None:
            handle = asyncio.get_running_loop().call_later(math.inf, pytest.fail, "called")
            assert handle.when() == math.inf
            handle.cancel()
            await asyncio.sleep(1.0)
            await asyncio.sleep(math.inf)

        with pytest.raises(DeadlockError):
            run(main, loop_factory=impatient)

    @pytest.mark.parametrize("option", ["deadlock_after", "thread_patience"])
    @pytest.mark.parametrize("value", [-1.0, math.nan])
    def test_refuses_a_negative_limit(self, option: str, value: float) -> None:
        with pytest.raises(ValueError, match=rf"^{option} must be >= 0, got {value}$"):
            VirtualClockEventLoop(**{option: value})


class SuspendedCoroutine(Coroutine[Any, Any, None]):
    """A coroutine without frames, as a compiled one may be; it waits for its future."""

    def __init__(self, future: asyncio.Future[None]) -> None:
        self._waiter = future.__await__()

    def send(self, value: Any, /) -> Any:
        return self._waiter.send(value)

    def throw(self, *error: Any) -> Any:
        return self._waiter.throw(*error)

    def close(self) -> None:
        self._waiter.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._waiter


class TestDeadlock:
    def test_names_the_task_and_its_line(self, debug: bool, eager: bool) -> None:
        async def main() -> None:
            await hang()

        code = hang.__code__
        text = (
            "deadlock: nothing is ready, no timer is armed and nothing woke the loop;"
            " 1 pending task\n"
            f"  Task-N waits at {code.co_filename}:{code.co_firstlineno + 1} in hang"
        )
        with pytest.raises(DeadlockError) as caught:
            run(main, debug=debug, eager=eager, loop_factory=impatient)
        # Python 3.13.0 names eager tasks None.
        assert re.sub(r"(Task-\d+|None) waits", "Task-N waits", str(caught.value)) == text

    def test_is_raised_at_once_when_nothing_could_wake_the_loop(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(threading, "enumerate", lambda: [threading.current_thread()])
        with pytest.raises(DeadlockError):
            run(hang, loop_factory=patient)

    def test_names_ten_tasks_in_natural_order(self) -> None:
        async def main() -> None:
            await asyncio.gather(*[asyncio.create_task(hang(), name=f"w{i}") for i in range(13)])

        with pytest.raises(DeadlockError, match="; 14 pending tasks\n") as caught:
            run(main, loop_factory=impatient)
        lines = str(caught.value).splitlines()
        assert [line.split()[0] for line in lines[1:-1]] == [f"w{i}" for i in range(10)]
        assert lines[-1] == "  and 4 more"

    def test_names_a_line_of_asyncio_where_there_is_no_other(self) -> None:
        async def main() -> None:
            await asyncio.create_task(asyncio.Event().wait(), name="bare")

        with pytest.raises(DeadlockError, match=r"bare waits at .*locks\.py:\d+ in Event\.wait"):
            run(main, loop_factory=impatient)

    def test_copes_with_a_coroutine_without_frames(self) -> None:
        async def main() -> None:
            future = asyncio.get_running_loop().create_future()
            await asyncio.create_task(SuspendedCoroutine(future), name="bare")

        with pytest.raises(DeadlockError, match="bare waits at an unknown place"):
            run(main, loop_factory=impatient)

    def test_leaves_a_loop_that_runs_again(self) -> None:
        loop = impatient()
        with contextlib.closing(loop):
            with pytest.raises(DeadlockError, match=r"; 0 pending tasks$"):
                loop.run_forever()
            loop.run_until_complete(asyncio.sleep(1.0))
            assert loop.time() == 1.0

    def test_cancels_the_pending_tasks(self, debug: bool, eager: bool) -> None:
        ended: list[str] = []

        async def worker(name: str) -> None:
            try:
                await hang()
            finally:
                await asyncio.sleep(60.0)
                ended.append(name)

        async def main() -> None:
            workers = [asyncio.create_task(worker(name)) for name in "ab"]
            await hang()
            del workers

        with pytest.raises(DeadlockError):
            run(main, debug=debug, eager=eager, loop_factory=impatient)
        assert sorted(ended) == ["a", "b"]

    @pytest.mark.parametrize("stubbornness", [1, 2, 3])
    def test_cancels_again_what_hangs_in_its_cleanup(self, stubbornness: int) -> None:
        cancelled = 0

        async def main() -> None:
            nonlocal cancelled
            while cancelled < stubbornness:
                try:
                    await hang()
                except asyncio.CancelledError:
                    cancelled += 1
            await hang()

        with pytest.raises(DeadlockError) as caught:
            run(main, loop_factory=impatient)
        assert cancelled == stubbornness
        assert caught.value.__context__ is None


class TestThreads:
    def test_a_thread_wakes_a_loop_without_timers(self, debug: bool) -> None:
        async def main() -> int:
            loop = asyncio.get_running_loop()
            future: asyncio.Future[int] = loop.create_future()

            def work() -> None:
                loop.call_soon_threadsafe(future.set_result, compute())

            thread = threading.Thread(target=work)
            thread.start()
            result = await future
            thread.join()
            return result

        assert run(main, debug=debug, loop_factory=patient) == compute()

    def test_asyncio_to_thread_holds_the_clock(self, debug: bool, eager: bool) -> None:
        async def main() -> float:
            assert await asyncio.wait_for(asyncio.to_thread(compute), timeout=0.001) == compute()
            return now()

        assert run(main, debug=debug, eager=eager, loop_factory=patient) == 0.0

    def test_anyio_to_thread_holds_the_clock(self, debug: bool, eager: bool) -> None:
        async def main() -> float:
            with anyio.fail_after(0.001):
                assert await anyio.to_thread.run_sync(compute) == compute()
            return now()

        assert run(main, debug=debug, eager=eager, loop_factory=patient) == 0.0

    def test_the_clock_runs_on_after_the_call(self) -> None:
        async def main() -> float:
            await asyncio.to_thread(compute)
            await anyio.to_thread.run_sync(compute)
            await asyncio.sleep(3600)
            return now()

        assert run(main, loop_factory=patient) == 3600.0

    def test_the_clock_runs_on_once_the_call_is_abandoned(self) -> None:
        let_go = threading.Event()

        async def main() -> float:
            task = asyncio.create_task(asyncio.to_thread(let_go.wait))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(3600)
            asyncio.get_running_loop().call_soon(let_go.set)
            return now()

        assert run(main, loop_factory=patient) == 3600.0

    @pytest.mark.parametrize("patience", [0.0, 0.02])
    def test_the_clock_jumps_when_patience_is_over(self, patience: float) -> None:
        let_go = threading.Event()

        async def main() -> float:
            task = asyncio.create_task(asyncio.to_thread(let_go.wait))
            await asyncio.sleep(3600)
            let_go.set()
            assert await task
            return now()

        factory = functools.partial(VirtualClockEventLoop, thread_patience=patience)
        assert run(main, loop_factory=factory) == 3600.0

    def test_a_thread_that_waits_for_a_timer_gets_it(self) -> None:
        async def main() -> float:
            await anyio.to_thread.run_sync(anyio.from_thread.run, asyncio.sleep, 60.0)
            return now()

        factory = functools.partial(VirtualClockEventLoop, thread_patience=0.02)
        assert run(main, loop_factory=factory) == 60.0

    def test_idle_pool_threads_do_not_hide_a_deadlock(self) -> None:
        async def main() -> None:
            await asyncio.to_thread(int)
            await anyio.to_thread.run_sync(int)
            await hang()

        with pytest.raises(DeadlockError):
            run(main, loop_factory=impatient)

    def test_a_thread_that_never_answers_is_a_deadlock(self) -> None:
        let_go = threading.Event()

        async def main() -> None:
            try:
                await asyncio.to_thread(let_go.wait)
            finally:
                let_go.set()

        with pytest.raises(DeadlockError, match=r"in TestThreads\..*main$"):
            run(main, loop_factory=impatient)

    def test_joining_the_executor_takes_no_virtual_time(self) -> None:
        async def main() -> float:
            loop = asyncio.get_running_loop()
            calls = [loop.run_in_executor(None, compute) for _ in range(3)]
            for call in calls:
                call.cancel()
            await loop.shutdown_default_executor()
            return now()

        assert run(main, loop_factory=patient) == 0.0

    def test_closing_waits_for_a_busy_executor(self) -> None:
        begun, ended = threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            compute()
            ended.set()

        async def main() -> None:
            future = asyncio.get_running_loop().run_in_executor(None, work)
            begun.wait()
            future.cancel()

        run(main, loop_factory=patient)
        assert ended.is_set()


class TestSockets:
    @pytest.fixture
    def pair(self) -> Iterator[tuple[socket.socket, socket.socket]]:
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            right.setblocking(False)
            yield left, right

    def test_data_comes_before_a_jump(self, pair: tuple[socket.socket, socket.socket]) -> None:
        async def main() -> tuple[bytes, float]:
            loop = asyncio.get_running_loop()
            loop.call_soon(pair[1].send, b"x")
            return await asyncio.wait_for(loop.sock_recv(pair[0], 1), timeout=1.0), now()

        assert run(main) == (b"x", 0.0)

    def test_a_reader_really_waits(self, pair: tuple[socket.socket, socket.socket]) -> None:
        def work() -> None:
            compute()
            pair[1].send(b"x")

        async def main() -> bytes:
            thread = threading.Thread(target=work)
            thread.start()
            data = await asyncio.get_running_loop().sock_recv(pair[0], 1)
            thread.join()
            return data

        assert run(main, loop_factory=patient) == b"x"

    def test_a_reader_without_data_is_a_deadlock(
        self, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        async def main() -> None:
            await asyncio.get_running_loop().sock_recv(pair[0], 1)

        begun = time.monotonic()
        with pytest.raises(DeadlockError, match="in TestSockets"):
            run(main, loop_factory=functools.partial(VirtualClockEventLoop, deadlock_after=0.05))
        assert time.monotonic() - begun >= 0.04


class TestRun:
    def test_takes_a_coroutine_function_and_its_arguments(self) -> None:
        async def add(left: int, right: int) -> int:
            return left + right

        assert run(add, 1, 2) == 3
        assert run(add(3, 4)) == 7

    def test_refuses_arguments_for_a_coroutine(self) -> None:
        coroutine: Any = hang()
        with contextlib.closing(coroutine), pytest.raises(TypeError, match="main is a coroutine"):
            run(coroutine, 1)

    def test_raises_what_main_raises(self) -> None:
        async def main() -> None:
            raise LookupError("lost")

        with pytest.raises(LookupError, match="lost"):
            run(main)

    def test_sets_debug(self, debug: bool) -> None:
        async def main() -> bool:
            return asyncio.get_running_loop().get_debug()

        assert run(main, debug=debug) is debug

    def test_debug_is_the_default(self) -> None:
        async def main() -> bool:
            return asyncio.get_running_loop().get_debug()

        assert run(main) is True

    def test_uses_the_loop_of_the_factory(self) -> None:
        async def main() -> type:
            return type(asyncio.get_running_loop())

        assert run(main) is VirtualClockEventLoop
        assert run(main, loop_factory=asyncio.SelectorEventLoop) is asyncio.SelectorEventLoop

    def test_eager_uses_the_factory_of_asyncio(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[asyncio.Task[Any]] = []

        def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> Any:
            made.append(asyncio.Task(coro, loop=loop, **options))
            return made[-1]

        monkeypatch.setattr(asyncio, "eager_task_factory", factory, raising=False)
        run(asyncio.sleep, 1.0, eager=True)
        assert made

    def test_eager_needs_python_3_12(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(asyncio, "eager_task_factory", raising=False)
        with pytest.raises(RuntimeError, match=r"^eager=True needs Python 3\.12 or later$"):
            run(hang, eager=True)

    def test_eager_tasks_start_at_once(self, eager: bool) -> None:
        async def main() -> list[str]:
            steps: list[str] = []

            async def step() -> None:
                steps.append("task")

            task = asyncio.create_task(step())
            steps.append("main")
            await task
            return steps

        assert run(main, eager=eager) == (["task", "main"] if eager else ["main", "task"])

    def test_anyio_takes_the_loop(self) -> None:
        async def main() -> float:
            await anyio.sleep(3600)
            return now()

        options = {"loop_factory": VirtualClockEventLoop, "debug": True}
        assert anyio.run(main, backend="asyncio", backend_options=options) == 3600.0


class TestRecordingHandler:
    def test_echoes_without_a_function(self) -> None:
        handler = RecordingHandler[str, str]()
        items = ["a", "b"]

        async def main() -> list[str]:
            return await handler(items)

        results = run(main)
        assert results == ["a", "b"]
        assert results is not items

    def test_answers_what_the_function_answers(self) -> None:
        handler = RecordingHandler[int, str](lambda items: [str(item) for item in items])
        assert run(handler, [1, 2]) == ["1", "2"]

    def test_records_each_call(self) -> None:
        handler = RecordingHandler[int, int](delay=lambda items: float(sum(items)))

        async def main() -> None:
            await handler([1, 2])
            await handler([])
            await handler([4])

        run(main)
        assert handler.calls == [
            Call((1, 2), 0.0, 3.0, "returned"),
            Call((), 3.0, 3.0, "returned"),
            Call((4,), 3.0, 7.0, "returned"),
        ]
        assert handler.items == [1, 2, 4]
        assert handler.sizes == [2, 0, 1]

    def test_records_a_call_under_way(self) -> None:
        handler = RecordingHandler[int, int](delay=5.0)

        async def main() -> list[Call[int]]:
            task = asyncio.create_task(handler([1]))
            await asyncio.sleep(1.0)
            under_way = list(handler.calls)
            await task
            return under_way

        assert run(main) == [Call((1,), 0.0)]
        assert handler.calls == [Call((1,), 0.0, 5.0, "returned")]

    def test_keeps_the_record_when_the_function_changes_its_items(self) -> None:
        def consume(items: list[int]) -> list[int]:
            return [items.pop() for _ in range(len(items))]

        handler = RecordingHandler(consume)
        assert run(handler, [1, 2]) == [2, 1]
        assert handler.items == [1, 2]

    def test_records_an_error_of_the_function(self) -> None:
        def fail(items: list[int]) -> list[int]:
            raise LookupError(items)

        handler = RecordingHandler(fail, delay=2.0)
        with pytest.raises(LookupError):
            run(handler, [1])
        assert handler.calls == [Call((1,), 0.0, 2.0, "raised")]

    def test_records_cancellation(self) -> None:
        handler = RecordingHandler[int, int](delay=60.0)

        async def main() -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(handler([1]), timeout=1.0)

        run(main)
        assert handler.calls == [Call((1,), 0.0, 1.0, "cancelled")]

    def test_holds_calls_until_released(self, eager: bool) -> None:
        handler = RecordingHandler[int, int](delay=1.0)
        handler.hold()
        handler.hold()

        async def main() -> None:
            first = asyncio.create_task(handler([1]))
            second = asyncio.create_task(handler([2]))
            await asyncio.sleep(10.0)
            assert [call.outcome for call in handler.calls] == [None, None]
            handler.release()
            handler.release()
            await asyncio.gather(first, second)
            await handler([3])

        run(main, eager=eager)
        assert [call.ended for call in handler.calls] == [10.0, 10.0, 11.0]

    def test_a_released_call_passes_the_next_hold(self) -> None:
        handler = RecordingHandler[int, int]()

        async def main() -> None:
            handler.hold()
            first = asyncio.create_task(handler([1]))
            await asyncio.sleep(1.0)
            handler.release()
            handler.hold()
            second = asyncio.create_task(handler([2]))
            await first
            await asyncio.sleep(1.0)
            assert not second.done()
            handler.release()
            await second

        run(main)
        assert [call.ended for call in handler.calls] == [1.0, 2.0]

    def test_serves_one_loop_after_another(self) -> None:
        handler = RecordingHandler[int, int]()

        async def main() -> None:
            handler.hold()
            asyncio.get_running_loop().call_later(1.0, handler.release)
            await handler([1])

        run(main)
        run(main)
        assert [call.ended for call in handler.calls] == [1.0, 1.0]

    def test_a_hold_that_is_never_released_is_a_deadlock(self) -> None:
        handler = RecordingHandler[int, int]()
        handler.hold()
        with pytest.raises(DeadlockError, match=r"in RecordingHandler\._handle"):
            run(handler, [1], loop_factory=impatient)
        assert handler.calls == [Call((1,), 0.0, 0.0, "cancelled")]

    def test_reads_well(self) -> None:
        handler = RecordingHandler[int, int]()
        assert handler.__name__ == "recording"
        assert inspect.iscoroutinefunction(handler.__call__)
