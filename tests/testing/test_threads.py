"""Work in threads holds the virtual clock."""

from __future__ import annotations

import asyncio
import functools
import threading

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from microbatch.testing import DeadlockError, VirtualClockEventLoop, run
from tests.testing.loops import compute, hang, impatient, now, patient


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
