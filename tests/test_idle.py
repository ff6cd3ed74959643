"""An idle batcher costs nothing: no timer, no callback, and no descriptor once it is closed."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from contextvars import Context
from pathlib import Path
from typing import Any

import pytest

from microbatch import Batcher
from microbatch._core import TimerDescriptor
from microbatch._loops import loop_timer
from microbatch._loops.loop_timer import LoopTimer
from microbatch._loops.timer import Timer, clock_of
from microbatch.testing import RecordingHandler, VirtualClockEventLoop

HOUR = 3600.0
SHORT = 0.0005

with_timerfd = pytest.mark.skipif(TimerDescriptor().fd < 0, reason="this core has no timerfd here")


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def armed() -> list[Any]:
    """Give the timers and callbacks that the running loop still has."""
    loop: Any = asyncio.get_running_loop()
    return [each for each in [*loop._scheduled, *loop._ready] if not each.cancelled()]


# ----------------------------------------------------------------------------- nothing is scheduled
async def test_a_new_batcher_schedules_nothing() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(), max_latency=HOUR, timeout=2 * HOUR)
    batcher.flush()
    batcher.statistics()
    assert armed() == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_latency": 5.0},
        {"timeout": HOUR},
        {"max_latency": 5.0, "timeout": HOUR, "max_batch_size": 2},
        {"ordering": "ordered", "max_concurrent_batches": 3, "max_batch_size": 1},
        {"capacity": 1},
    ],
    ids=lambda options: "+".join(options) or "natural",
)
async def test_an_idle_batcher_has_nothing_scheduled(options: Any) -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(delay=1.0), **options)
    await asyncio.gather(*map(batcher.submit, range(3)))
    await turns()
    assert armed() == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_batcher_whose_items_were_all_cancelled_has_nothing_scheduled() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(), max_latency=HOUR, timeout=2 * HOUR)
    for ticket in [batcher.submit(1), batcher.submit_many([2, 3]), batcher.submit(4, timeout=5.0)]:
        ticket.cancel()
    await turns()
    assert armed() == []


async def test_a_batcher_whose_items_were_all_late_has_nothing_scheduled() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(), max_latency=0.5, timeout=1.0)
    for _ in range(2):
        await asyncio.gather(batcher.submit(1), return_exceptions=True)
    await turns()
    assert armed() == []


async def test_a_closed_batcher_has_nothing_scheduled() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(), max_latency=HOUR, timeout=2 * HOUR)
    batcher.submit(1)
    await batcher.aclose(timeout=5.0)
    await turns()
    assert armed() == []


async def test_one_timer_serves_all_items() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(), max_latency=HOUR, timeout=2 * HOUR)
    tickets = [batcher.submit(item) for item in range(50)]
    assert len(armed()) == 1
    await asyncio.gather(*tickets)


async def test_a_handler_that_runs_needs_no_timer() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    handler.hold()
    batcher = Batcher(handler, max_latency=1.0)
    ticket = batcher.submit(1)
    await asyncio.sleep(2.0)
    assert armed() == []
    handler.release()
    await ticket


async def test_an_idle_batcher_can_be_collected() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(), max_latency=1.0)
    await batcher.submit(1)
    router = weakref.ref(batcher.router)
    del batcher
    gc.collect()
    assert router() is None


async def test_a_batcher_that_nobody_holds_still_answers() -> None:
    assert await Batcher(RecordingHandler(delay=1.0), max_latency=1.0).submit(1) == 1


# ------------------------------------------------------------------------- which clock, which timer
def real_loops() -> list[Any]:
    try:
        import uvloop
    except ImportError:
        return [asyncio.SelectorEventLoop]
    return [asyncio.SelectorEventLoop, uvloop.new_event_loop]


class OwnClock(asyncio.SelectorEventLoop):
    def time(self) -> float:
        return super().time() + 1000.0


@pytest.fixture(params=real_loops(), ids=["asyncio", "uvloop"][: len(real_loops())])
def runner(request: Any, tidy: None) -> Any:
    with asyncio.Runner(debug=True, loop_factory=request.param) as runner:
        runner.get_loop().slow_callback_duration = 60.0
        yield runner


def test_a_loop_that_goes_by_the_monotonic_clock_is_asked_for_nothing(runner: Any) -> None:
    assert clock_of(runner.get_loop()) is time.monotonic


@pytest.mark.parametrize("kind", [OwnClock, VirtualClockEventLoop])
@pytest.mark.usefixtures("tidy")
def test_a_loop_with_a_clock_of_its_own_is_asked_for_the_time(kind: Any) -> None:
    loop = kind()
    assert clock_of(loop) == loop.time
    loop.close()


def watched(timer: Timer) -> bool:
    return timer._known() is not None


async def fires(timer: Timer, delay: float) -> float:
    """Wait for a call of the timer, and give how late it was."""
    fired = asyncio.get_running_loop().create_future()
    when = time.monotonic() + delay
    timer.call_at(when, lambda: fired.done() or fired.set_result(time.monotonic()))
    late: float = await fired - when
    return late


def make_timer() -> Timer:
    loop = asyncio.get_running_loop()
    return Timer(loop, clock_of(loop), Context())


@with_timerfd
def test_a_short_wait_goes_by_a_descriptor_and_is_never_early(runner: Any) -> None:
    async def main() -> None:
        timer = make_timer()
        for _ in range(3):
            assert await fires(timer, SHORT) >= 0.0
        assert watched(timer)
        timer.close()
        assert not watched(timer)

    runner.run(main())


@with_timerfd
def test_a_wait_that_is_over_already_fires(runner: Any) -> None:
    async def main() -> None:
        timer = make_timer()
        assert await fires(timer, -1.0) >= 0.0
        timer.close()

    runner.run(main())


def test_a_long_wait_needs_no_descriptor(runner: Any) -> None:
    async def main() -> None:
        timer = make_timer()
        handle = timer.call_at(time.monotonic() + HOUR, print)
        assert handle is not timer
        assert not watched(timer)
        handle.cancel()
        timer.close()

    runner.run(main())


@with_timerfd
def test_a_cancelled_call_never_comes(runner: Any) -> None:
    async def main() -> None:
        timer, calls = make_timer(), []
        timer.call_at(time.monotonic() + SHORT, lambda: calls.append("first")).cancel()
        assert await fires(timer, 2 * SHORT) >= 0.0
        timer.call_at(time.monotonic() - 1.0, lambda: calls.append("second"))
        timer.cancel()
        await fires(make_timer(), SHORT)
        assert calls == []
        timer.close()

    runner.run(main())


@with_timerfd
def test_a_call_that_is_cancelled_as_it_fires_never_comes(runner: Any) -> None:
    async def main() -> None:
        timer, calls = make_timer(), []
        timer.call_at(time.monotonic() - 1.0, lambda: calls.append("fired"))
        timer.cancel()
        shared = timer._known()
        assert shared is not None
        shared.fired()  # the loop had seen it readable before
        assert calls == []
        timer.close()

    runner.run(main())


def test_cancelling_a_timer_that_was_never_armed_does_nothing(runner: Any) -> None:
    async def main() -> None:
        timer = make_timer()
        timer.cancel()
        timer.close()

    runner.run(main())


@with_timerfd
def test_a_closed_timer_opens_another_descriptor_when_it_is_used_again(runner: Any) -> None:
    async def main() -> None:
        timer = make_timer()
        for _ in range(2):
            await fires(timer, SHORT)
            timer.close()

    runner.run(main())


@with_timerfd
def test_an_idle_timer_calls_nothing(runner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    fired = LoopTimer.fired

    def counted(self: LoopTimer) -> None:
        calls.append("fired")
        fired(self)

    monkeypatch.setattr(LoopTimer, "fired", counted)

    async def main() -> None:
        idle, other = make_timer(), make_timer()
        await fires(idle, SHORT)
        calls.clear()
        await fires(other, SHORT)
        await turns(50)
        assert calls == ["fired"]
        idle.close()
        other.close()

    runner.run(main())


@with_timerfd
def test_a_timer_that_went_while_armed_closes_its_descriptor_and_calls_nothing(runner: Any) -> None:
    calls: list[str] = []

    async def main() -> None:
        timer = make_timer()
        timer.call_at(time.monotonic() - 1.0, lambda: calls.append("fired"))
        del timer
        await turns(20)
        assert calls == []

    runner.run(main())


@with_timerfd
def test_a_timer_outlives_its_loop(runner: Any) -> None:
    async def main() -> Timer:
        timer = make_timer()
        await fires(timer, SHORT)
        return timer

    timer = runner.run(main())
    runner.close()
    timer.close()


@with_timerfd
@pytest.mark.usefixtures("tidy")
def test_a_timer_may_go_after_its_loop() -> None:
    async def main() -> Timer:
        timer = make_timer()
        await fires(timer, SHORT)
        return timer

    timer = asyncio.run(main())
    del timer


@with_timerfd
@pytest.mark.usefixtures("tidy")
def test_a_descriptor_may_be_forgotten_by_a_loop_that_closes_meanwhile() -> None:
    async def main() -> tuple[Timer, LoopTimer | None]:
        timer = make_timer()
        await fires(timer, SHORT)
        return timer, timer._known()

    timer, shared = asyncio.run(main())
    del timer
    del shared


class Unwatching(asyncio.SelectorEventLoop):
    """Watches no descriptors, as Windows' proactor does not."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:
        if isinstance(fd, int):
            raise NotImplementedError
        super().add_reader(fd, callback, *args)


@pytest.mark.usefixtures("tidy")
def test_a_loop_that_watches_no_descriptor_has_its_own_timer() -> None:
    async def main() -> None:
        timer = make_timer()
        for _ in range(2):
            assert await fires(timer, SHORT) >= -1e-3
            assert not watched(timer)
        timer.close()

    with asyncio.Runner(loop_factory=Unwatching) as runner:
        runner.run(main())


def test_without_a_timerfd_the_loop_has_its_own_timer(
    runner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nothing:
        fd = -1

    monkeypatch.setattr(loop_timer, "TimerDescriptor", Nothing)

    async def main() -> None:
        timer = make_timer()
        await fires(timer, SHORT)
        assert not watched(timer)
        await fires(timer, SHORT)
        timer.close()

    runner.run(main())


# --------------------------------------------------------------------------- batchers on real loops
@with_timerfd
def test_a_short_latency_is_waited_for_and_no_longer_than_needed(runner: Any) -> None:
    async def main() -> None:
        seen = []

        async def handler(items: list[float]) -> None:
            seen.append((len(items), time.monotonic() - items[0]))

        async with Batcher(handler, max_latency=SHORT) as batcher:
            for _ in range(3):
                start = time.monotonic()
                await asyncio.gather(batcher.submit(start), batcher.submit(start))
            assert [size for size, _ in seen] == [2, 2, 2]
            assert all(waited >= SHORT for _, waited in seen)
            assert batcher.statistics().batches == {"latency": 3}

    runner.run(main())


def timerfds() -> int:
    count = 0
    for each in Path("/proc/self/fd").iterdir():
        try:
            count += "timerfd" in str(each.readlink())
        except OSError:  # the folder's own
            continue
    return count


@with_timerfd
def test_a_closed_batcher_has_closed_its_descriptor(runner: Any) -> None:
    async def main() -> None:
        batcher: Batcher[int, int] = Batcher(RecordingHandler(), max_latency=SHORT)
        await batcher.submit(1)
        assert timerfds() == 1
        await batcher.aclose()
        assert timerfds() == 0

    assert timerfds() == 0
    runner.run(main())


@with_timerfd
def test_a_batcher_that_nobody_holds_closes_its_descriptor(runner: Any) -> None:
    async def main() -> None:
        await Batcher(RecordingHandler(), max_latency=SHORT).submit(1)
        await turns()
        gc.collect()
        await turns()
        assert timerfds() == 0

    runner.run(main())


@with_timerfd
def test_an_idle_batcher_wakes_its_loop_for_nothing(runner: Any) -> None:
    async def main() -> None:
        batcher: Batcher[int, int] = Batcher(RecordingHandler(), max_latency=SHORT, timeout=HOUR)
        await batcher.submit(1)
        await turns()
        loop: Any = asyncio.get_running_loop()
        if isinstance(loop, asyncio.BaseEventLoop):
            assert armed() == []
            assert loop._selector.select(0) == []
        await batcher.aclose()

    runner.run(main())
