"""The virtual clock jumps to the next timer, and waits for what is real."""

from __future__ import annotations

import asyncio
import functools
import math
import random
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from microbatch.testing import DeadlockError, VirtualClockEventLoop, run
from tests.testing.loops import compute, hang, impatient, now, patient

if TYPE_CHECKING:
    from collections.abc import Iterator


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
