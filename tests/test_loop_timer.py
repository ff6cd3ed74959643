"""One timer for each loop, shared by all who wait on it: exact, and no call is lost."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import time
import weakref
from contextvars import Context, ContextVar
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from microbatch import Batcher
from microbatch._core import TimerDescriptor
from microbatch._loops import loop_timer
from microbatch._loops.loop_timer import SPARE, LoopTimer, timer_of
from microbatch._loops.timer import FAR, Timer, clock_of
from microbatch.testing import RecordingHandler

try:
    import uvloop
except ImportError:
    uvloop = None

HOUR = 3600.0
LATENCIES = [0.0002, 0.0005, 0.001, 0.003, 0.01]
FACTORIES = [pytest.param(asyncio.SelectorEventLoop, id="asyncio")]
if uvloop is not None:
    FACTORIES.append(pytest.param(uvloop.new_event_loop, id="uvloop"))

every_factory = pytest.mark.parametrize("factory", FACTORIES)
with_timerfd = pytest.mark.skipif(TimerDescriptor().fd < 0, reason="this core has no timerfd here")
pytestmark = pytest.mark.usefixtures("tidy")


class Recorded:
    """Stands in for a descriptor, and says what it was set for, each time."""

    def __init__(self) -> None:
        self.settings: list[float] = []

    def arm(self, when: float) -> None:
        self.settings.append(when)

    def disarm(self) -> None:
        self.settings.append(math.inf)


class World:
    """A timer with a descriptor and a clock that the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1.0
        self.calls: list[Any] = []
        self.descriptor: Any = Recorded()
        self.timer: Any = LoopTimer(self.descriptor)
        monkeypatch.setattr(loop_timer, "time", SimpleNamespace(monotonic=lambda: self.now))

    @property
    def settings(self) -> list[float]:
        settings: list[float] = self.descriptor.settings
        return settings

    def call_at(self, when: float, note: Any) -> int:
        return self.timer.call_at(when, lambda: self.calls.append(note), Context())

    def fire_at(self, now: float) -> list[Any]:
        """Let the descriptor fire, and give what was called."""
        self.now, self.calls = now, []
        self.timer.fired()
        return self.calls


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


# ------------------------------------------------------------------------ the calls of one timer
def test_the_descriptor_is_set_for_the_earliest_call_and_for_no_other(world: World) -> None:
    for when in (5.0, 7.0, 6.0, 3.0, 4.0):
        world.call_at(when, when)
    assert world.settings == [5.0, 3.0]


def test_calls_come_in_their_order_when_they_are_due_and_never_before(world: World) -> None:
    for when in (5.0, 7.0, 6.0, 3.0, 4.0):
        world.call_at(when, when)
    assert world.fire_at(2.9999) == []
    assert world.settings[-1] == 3.0
    assert world.fire_at(5.0) == [3.0, 4.0, 5.0]
    assert world.settings[-1] == 6.0
    assert world.fire_at(9.0) == [6.0, 7.0]
    assert world.settings[-1] == math.inf


def test_calls_for_one_time_come_in_the_order_in_which_they_were_asked_for(world: World) -> None:
    for note in "abc":
        world.call_at(2.0, note)
    assert world.fire_at(2.0) == ["a", "b", "c"]


def test_a_cancelled_call_never_comes_and_the_others_do(world: World) -> None:
    numbers = [world.call_at(when, when) for when in (2.0, 3.0, 4.0)]
    world.timer.cancel(numbers[1])
    assert world.settings == [2.0]
    assert world.fire_at(5.0) == [2.0, 4.0]
    assert world.settings == [2.0, math.inf]


def test_a_cancelled_earliest_call_fires_once_and_gives_way_to_the_next(world: World) -> None:
    earliest = world.call_at(2.0, "never")
    world.call_at(3.0, "next")
    world.timer.cancel(earliest)
    assert world.fire_at(2.0) == []
    assert world.settings == [2.0, 3.0]


def test_with_the_last_call_cancelled_the_descriptor_is_not_set(world: World) -> None:
    for number in [world.call_at(when, when) for when in (2.0, 3.0)]:
        world.timer.cancel(number)
        world.timer.cancel(number)
    assert world.settings == [2.0, math.inf]
    world.call_at(9.0, "later")
    assert world.settings[-1] == 9.0


def test_a_call_may_cancel_another_that_is_due_as_well(world: World) -> None:
    numbers: list[int] = []
    world.timer.call_at(2.0, lambda: world.timer.cancel(numbers[0]), Context())
    numbers.append(world.call_at(2.0, "cancelled"))
    assert world.fire_at(2.0) == []
    assert world.settings == [2.0, math.inf]


def test_a_call_that_asks_for_another_sets_the_descriptor_once(world: World) -> None:
    world.timer.call_at(2.0, lambda: world.call_at(2.5, "next"), Context())
    world.fire_at(2.0)
    assert world.settings == [2.0, 2.5]
    assert world.fire_at(2.5) == ["next"]


def test_a_call_that_asks_for_one_that_is_due_leaves_the_loop_its_turn(world: World) -> None:
    def again() -> None:
        world.calls.append("again")
        world.timer.call_at(1.0, again, Context())

    again()
    assert world.fire_at(2.0) == ["again"]
    assert world.settings[-1] == 1.0
    assert world.fire_at(2.0) == ["again"]


def test_millions_of_cancelled_calls_take_no_room(world: World) -> None:
    world.call_at(2.0, "first")
    kept = [world.call_at(4.0 + number, number) for number in range(50)]
    for _ in range(10_000):
        world.timer.cancel(world.call_at(3.0, "cancelled"))
        assert len(world.timer._heap) <= 2 * (len(kept) + 2) + SPARE
    assert world.settings == [2.0]
    assert world.fire_at(100.0) == ["first", *range(50)]


def test_what_comes_while_the_descriptor_is_set_is_not_lost(world: World) -> None:
    class Collecting(Recorded):
        """A garbage collection ends something that cancels, and asks for an earlier call."""

        def arm(self, when: float) -> None:
            super().arm(when)
            if when == 5.0:
                world.timer.cancel(earlier)
                world.call_at(4.0, "meanwhile")

    world.descriptor = world.timer._descriptor = Collecting()
    earlier = world.call_at(6.0, "cancelled")
    world.call_at(5.0, "asked for")
    assert world.settings == [6.0, 5.0, 4.0]
    assert world.fire_at(6.0) == ["meanwhile", "asked for"]


def test_each_call_runs_in_the_context_that_was_given_with_it(world: World) -> None:
    seen: ContextVar[int] = ContextVar("seen", default=0)
    contexts = [Context(), Context()]
    for number, context in enumerate(contexts, 1):
        world.timer.call_at(2.0, lambda number=number: seen.set(number), context)
    world.fire_at(2.0)
    assert [context[seen] for context in contexts] == [1, 2]
    assert seen.get() == 0


def test_a_call_that_raises_is_reported_by_the_loop_and_keeps_none_from_being_made(
    world: World,
) -> None:
    def fail() -> None:
        raise ValueError("no")

    async def main() -> list[dict[str, Any]]:
        reports: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
        world.timer.call_at(2.0, fail, Context())
        world.call_at(2.0, "another")
        assert world.fire_at(2.0) == ["another"]
        return reports

    (report,) = asyncio.run(main())
    assert report["message"] == f"Exception in callback {fail!r}"
    assert str(report["exception"]) == "no"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_request_to_exit_passes_and_the_other_calls_are_made_when_the_loop_goes_on(
    world: World, kind: type[BaseException]
) -> None:
    def leave() -> None:
        raise kind

    world.timer.call_at(2.0, leave, Context())
    world.call_at(2.0, "another")
    with pytest.raises(kind):
        world.fire_at(2.0)
    assert world.settings == [2.0, 2.0]
    assert world.fire_at(2.0) == ["another"]


def test_a_child_process_leaves_the_descriptor_to_its_parent(world: World) -> None:
    async def main(another: asyncio.AbstractEventLoop) -> None:
        loop = asyncio.get_running_loop()
        loop_timer.timers[loop] = weakref.ref(world.timer)
        gone: Any = Recorded()
        loop_timer.timers[another] = weakref.ref(LoopTimer(gone))
        number = world.call_at(2.0, "never")
        loop_timer.leave_to_parent()
        world.timer.cancel(number)
        world.call_at(1.5, "nor this")
        world.timer.users.clear()
        world.timer.close_unused(loop)
        assert world.settings == [2.0]
        mine = timer_of(loop)
        assert mine is not world.timer
        if mine is not None:  # where there are timerfds
            mine.close_unused(loop)

    another = asyncio.new_event_loop()
    asyncio.run(main(another))
    another.close()


# ------------------------------------------------------------------------------- who shares a timer
def timerfds() -> int:
    count = 0
    for each in Path("/proc/self/fd").iterdir():
        try:
            count += "timerfd" in str(each.readlink())
        except OSError:  # the folder's own
            continue
    return count


def near() -> Batcher[int, int]:
    return Batcher(RecordingHandler[int, int](), max_latency=0.003)


@with_timerfd
@every_factory
def test_hundreds_of_batchers_on_one_loop_hold_one_descriptor(factory: Any) -> None:
    async def main() -> None:
        batchers = [near() for _ in range(300)]
        tickets = [batcher.submit(number) for number, batcher in enumerate(batchers)]
        assert timerfds() == 1
        assert await asyncio.gather(*tickets) == list(range(300))
        last = batchers.pop()
        for batcher in batchers:
            await batcher.aclose()
        assert timerfds() == 1
        await last.aclose()
        assert timerfds() == 0
        await Batcher(RecordingHandler[int, int](), max_latency=0.001).submit(1)
        assert timerfds() == 1

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert timerfds() == 0


@with_timerfd
@every_factory
def test_a_closed_loop_gives_the_descriptor_back_though_its_batchers_stay(factory: Any) -> None:
    batchers, kept = [near(), near()], list[Any]()

    async def main() -> None:
        await batchers[0].submit(1)
        kept.append(batchers[1].submit(2))
        assert timerfds() == 1

    async def use(batcher: Batcher[int, int]) -> None:
        assert await batcher.submit(3) == 3

    with (
        pytest.warns(ResourceWarning, match="'recording': 1; "),
        asyncio.Runner(loop_factory=factory) as runner,
    ):
        runner.run(main())
    assert timerfds() == 0
    for batcher in batchers:  # which go on, each on a loop of its own
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(use(batcher))
        assert timerfds() == 0


@with_timerfd
def test_each_loop_has_a_timer_of_its_own() -> None:
    loops, timers, count = list[Any](), set[int](), 8
    meeting = threading.Barrier(count)

    async def main() -> None:
        timer, other = make_timer(), make_timer()
        called = asyncio.Event()
        meeting.wait()
        timer.call_at(0.001, called.set)
        other.call_at(time.monotonic() + 0.01, print)
        assert timer._known() is other._known() is not None
        timers.add(id(timer._known()))
        meeting.wait()
        await called.wait()
        timer.close()
        other.close()
        loops.append(asyncio.get_running_loop())

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(loops), len(timers)) == (count, count)


def make_timer() -> Timer:
    loop = asyncio.get_running_loop()
    return Timer(loop, clock_of(loop), Context())


@with_timerfd
@every_factory
def test_a_descriptor_that_is_to_be_closed_stays_for_who_comes_before(factory: Any) -> None:
    async def main() -> None:
        called = asyncio.Event()
        first, second = make_timer(), make_timer()
        first.call_at(1.0, print)
        del first  # it is closed in the loop's next turn
        second.call_at(time.monotonic(), called.set)
        await called.wait()
        await asyncio.sleep(0)
        assert timerfds() == 1
        second.close()
        assert timerfds() == 0

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


@with_timerfd
@every_factory
def test_a_timer_that_goes_leaves_the_descriptor_to_the_others(factory: Any) -> None:
    async def main() -> None:
        first, second = make_timer(), make_timer()
        second.call_at(time.monotonic() + 0.01, print)
        first.call_at(time.monotonic() + 0.01, print)
        del first
        for _ in range(3):
            await asyncio.sleep(0)
        assert timerfds() == 1
        second.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


@with_timerfd
@every_factory
def test_a_caller_that_nobody_refers_to_is_answered_after_a_collection(factory: Any) -> None:
    answers: list[int] = []

    async def caller() -> None:
        answers.append(await near().submit(1))

    async def main() -> None:
        answered = weakref.ref(asyncio.get_running_loop().create_task(caller()))
        await asyncio.sleep(0)
        gc.collect()
        task = answered()
        assert task is not None
        await task
        assert answers == [1]

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


# --------------------------------------------------------------------------- how exact batchers are
class Watched(Recorded):
    """A descriptor that never fires."""

    def __init__(self, known: list[Watched]) -> None:
        super().__init__()
        self._real = TimerDescriptor()
        self.fd, self.close = self._real.fd, self._real.close
        known.append(self)


@pytest.fixture
def descriptors(monkeypatch: pytest.MonkeyPatch) -> list[Watched]:
    made: list[Watched] = []
    monkeypatch.setattr(loop_timer, "TimerDescriptor", lambda: Watched(made))
    return made


@with_timerfd
@every_factory
@pytest.mark.parametrize("option", ["max_latency", "timeout"])
@pytest.mark.parametrize("seconds", LATENCIES)
def test_a_wait_ends_to_the_microsecond_however_long_it_is(
    factory: Any, descriptors: list[Watched], option: str, seconds: float
) -> None:
    options: Any = {option: seconds}

    async def main() -> None:
        async with Batcher(RecordingHandler[int, int](), **options) as batcher:
            before = time.monotonic()
            ticket = batcher.submit(1)
            after = time.monotonic()
            (descriptor,) = descriptors
            (when,) = descriptor.settings
            assert before + seconds <= when <= after + seconds
            ticket.cancel()
        assert descriptor.settings == [when, math.inf]

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


@with_timerfd
@every_factory
def test_far_waits_go_to_the_loops_own_timer(factory: Any, descriptors: list[Watched]) -> None:
    options: Any = {"max_latency": FAR + 1.0, "timeout": HOUR}

    async def main() -> None:
        async with Batcher(RecordingHandler[int, int](), **options) as batcher:
            batcher.submit(1)
            batcher.flush()
        assert descriptors == []

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
