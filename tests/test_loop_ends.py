"""What is left unsettled when an event loop is closed is told there, and fails nobody's call."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import warnings
import weakref
from typing import Any

import pytest

from microbatch import Batcher
from microbatch._loops import closing
from microbatch._loops.closing import SilentDescriptor, is_watched, tell_when_closed
from microbatch.testing import DeadlockError, RecordingHandler, VirtualClockEventLoop

try:
    import uvloop
except ImportError:
    uvloop = None

HOUR = 3600.0
LOST = (
    "an event loop was closed with unsettled items of batcher 'recording': 3; "
    "drain() or aclose() it before its loop ends"
)
FACTORIES = [pytest.param(asyncio.SelectorEventLoop, id="asyncio")]
if uvloop is not None:
    FACTORIES.append(pytest.param(uvloop.new_event_loop, id="uvloop"))

every_factory = pytest.mark.parametrize("factory", FACTORIES)
pytestmark = pytest.mark.usefixtures("tidy")


def waiting() -> Batcher[int, int]:
    return Batcher(RecordingHandler[int, int](), max_latency=HOUR)


async def leave(batcher: Batcher[int, int], kept: list[Any]) -> None:
    kept += [batcher.submit(1), batcher.submit_many([2, 3])]


def by_runner(factory: Any, work: Any) -> None:
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)


def by_hand(factory: Any, work: Any) -> None:
    loop = factory()
    loop.run_until_complete(work)
    loop.close()


def by_hand_with_generators(factory: Any, work: Any) -> None:
    loop = factory()
    loop.run_until_complete(work)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@every_factory
@pytest.mark.parametrize("end", [by_runner, by_hand, by_hand_with_generators])
def test_the_warning_comes_when_the_loop_is_closed_and_points_to_the_line(
    factory: Any, end: Any
) -> None:
    batcher, kept = waiting(), list[Any]()
    with pytest.warns(ResourceWarning) as caught:
        end(factory, leave(batcher, kept))
    (warning,) = caught.list
    assert (str(warning.message), warning.filename) == (LOST, __file__)
    assert type(warning.source).__name__ == "Dispatcher"
    by_runner(factory, batcher.drain())  # and the next call hears nothing of it
    assert batcher.statistics().cancelled == 3


def test_the_warning_comes_from_asyncio_run() -> None:
    batcher, kept = waiting(), list[Any]()
    with pytest.warns(ResourceWarning) as caught:
        asyncio.run(leave(batcher, kept))
    assert [(str(each.message), each.filename) for each in caught.list] == [(LOST, __file__)]


@every_factory
def test_tickets_may_outlive_the_batcher_and_the_loop_is_still_told(factory: Any) -> None:
    kept: list[Any] = []

    async def main() -> None:
        await leave(waiting(), kept)

    with pytest.warns(ResourceWarning, match="'recording': 3; "):
        by_runner(factory, main())


@every_factory
def test_each_batcher_of_a_loop_is_told_of(factory: Any) -> None:
    kept: list[Any] = []
    batchers = [waiting() for _ in range(2)]

    async def main() -> None:
        for batcher in batchers:
            await leave(batcher, kept)

    with pytest.warns(ResourceWarning) as caught:
        by_runner(factory, main())
    assert [str(each.message) for each in caught.list] == [LOST, LOST]


@every_factory
def test_nothing_is_told_of_what_is_settled_or_gone(factory: Any) -> None:
    batchers: list[Batcher[int, int]] = []

    async def main() -> None:
        batchers.append(Batcher(RecordingHandler[int, int]()))
        await batchers[0].submit(1)
        await Batcher(RecordingHandler[int, int]()).submit(1)

    by_runner(factory, main())


# ------------------------------------------------------------------------ where warnings are errors
@pytest.fixture
def unraised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What could not be raised."""
    seen: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda error: seen.append(str(error.exc_value)))
    return seen


@every_factory
def test_an_error_from_the_warning_does_not_come_out_of_closing(
    factory: Any, unraised: list[str]
) -> None:
    batcher, kept = waiting(), list[Any]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        by_runner(factory, leave(batcher, kept))
    assert unraised == [LOST]


class Unwatched(asyncio.SelectorEventLoop):
    """A loop with no descriptor to spare."""

    def add_reader(self, *args: Any) -> None:
        raise OSError(24, "Too many open files")


def test_a_warning_that_can_only_come_late_fails_nobodys_submission(unraised: list[str]) -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=0.0)
    batcher, kept = Batcher(handler, max_batch_size=4, max_latency=HOUR), list[Any]()

    async def use() -> int:
        tickets = [batcher.submit(number) for number in range(4)]
        return sum(await asyncio.gather(*tickets))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        by_hand(Unwatched, leave(batcher, kept))
        assert unraised == []
        assert asyncio.run(use()) == 6
    assert unraised == [LOST]


# -------------------------------------------------------------------------------- what it costs
class Listener:
    def __init__(self) -> None:
        self.told = 0

    def loop_closed(self) -> None:
        self.told += 1


def descriptors_of(loop: Any) -> int:
    return len(loop._selector.get_map())


def test_one_descriptor_serves_all_batchers_of_a_loop() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        before = descriptors_of(loop)
        assert not is_watched(loop)
        for _ in range(5):
            assert await Batcher(RecordingHandler[int, int]()).submit(1) == 1
        assert is_watched(loop)
        assert descriptors_of(loop) == before + 1

    by_runner(asyncio.SelectorEventLoop, main())


def test_listeners_are_held_weakly_and_told_once() -> None:
    loop = asyncio.new_event_loop()
    stays, goes = Listener(), Listener()
    for each in (stays, stays, goes):
        tell_when_closed(loop, each)
    gone = weakref.ref(goes)
    del goes, each
    gc.collect()
    assert gone() is None
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    loop.close()
    assert stays.told == 1


@every_factory
def test_a_loop_that_is_closed_before_it_runs_is_told_of(factory: Any) -> None:
    loop, listener = factory(), Listener()
    tell_when_closed(loop, listener)
    loop.close()
    assert listener.told == 1


def test_a_loop_that_is_closed_already_is_refused() -> None:
    loop, listener = asyncio.new_event_loop(), Listener()
    loop.close()
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
            tell_when_closed(loop, listener)
    assert listener.told == 0


def test_a_listener_that_went_while_others_are_told_is_passed_over() -> None:
    loop = asyncio.new_event_loop()
    listeners: list[Any] = []

    class Meddling(Listener):
        def loop_closed(self) -> None:
            listeners.clear()

    listeners += [Meddling(), Meddling()]
    for each in listeners:
        tell_when_closed(loop, each)
    del each
    loop.close()
    assert listeners == []


class Narrow(asyncio.SelectorEventLoop):
    """A loop that watches no descriptors for others, as Windows' proactor."""

    def add_reader(self, *args: Any) -> None:
        raise NotImplementedError


def test_a_loop_that_watches_no_descriptors_tells_by_a_timer() -> None:
    batcher, kept = waiting(), list[Any]()
    with pytest.warns(ResourceWarning, match="'recording': 3; "):
        by_runner(Narrow, leave(batcher, kept))


def test_where_there_is_no_eventfd_a_socket_is_as_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "eventfd", raising=False)
    batcher, kept = waiting(), list[Any]()
    with pytest.warns(ResourceWarning, match="'recording': 3; "):
        by_runner(asyncio.SelectorEventLoop, leave(batcher, kept))


def test_two_threads_may_be_the_first_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, first, second = asyncio.new_event_loop(), Listener(), Listener()

    class Beaten(closing.LoopEnd):
        def __init__(self) -> None:
            super().__init__()
            monkeypatch.undo()
            tell_when_closed(loop, first)  # by another thread

    monkeypatch.setattr(closing, "LoopEnd", Beaten)
    tell_when_closed(loop, second)
    loop.close()
    assert (first.told, second.told) == (1, 1)


def test_in_virtual_time_a_deadlock_is_found_at_once_though_a_batcher_was_used() -> None:
    patience = 1e9
    loop = VirtualClockEventLoop(deadlock_after=patience)

    async def main() -> None:
        await Batcher(RecordingHandler[int, int]()).submit(1)
        await loop.create_future()

    task = loop.create_task(main())
    with pytest.raises(DeadlockError):
        loop.run_until_complete(task)
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()


def test_a_descriptor_that_is_given_back_is_closed() -> None:
    quiet = SilentDescriptor()
    quiet.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(quiet.descriptor)
