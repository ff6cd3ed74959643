"""The steps in which an unclosed batcher for threads goes with the end of the program."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.process
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import Batcher, BatcherClosedError, BlockingBatcher
from microbatch._threads import exiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from tests.blocking.conftest import Held


async def echo(items: list[int]) -> list[int]:
    return items


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[exiting.ProgramExit]:
    """The end of a program that has nothing but what a test makes."""
    registered: list[Any] = []
    monkeypatch.setattr(threading, "_register_atexit", registered.append)
    monkeypatch.setattr(exiting, "running", set())
    monkeypatch.setattr("microbatch._threads.bridge.in_use", set())
    monkeypatch.setattr(exiting, "in_use", sys.modules["microbatch._threads.bridge"].in_use)  # type: ignore[attr-defined]
    made = exiting.ProgramExit()
    made.registered = registered  # type: ignore[attr-defined]
    monkeypatch.setattr(exiting, "program_exit", made)
    yield made
    atexit.unregister(made.finish_rest)


def closed(future: Future[Any]) -> bool:
    return isinstance(future.exception(10), BatcherClosedError)


def test_what_was_accepted_is_finished_first_and_then_it_is_refused(
    ends: exiting.ProgramExit,
) -> None:
    batcher: BlockingBatcher[int, int] = BlockingBatcher(
        Batcher(echo, max_latency=3600.0), exit_timeout=1e12
    )
    idle = BlockingBatcher(echo)
    first = batcher.submit(1)
    ends.finish_accepted()
    assert first.result(0) == 1
    second = batcher.submit(2)
    ends.finish_accepted()  # registered twice, it comes twice
    assert not second.done()
    ends.finish_rest()
    assert second.result(0) == 2
    for each in (batcher, idle):
        with pytest.raises(BatcherClosedError):
            each.submit(3)
    assert batcher.close() == 0


def test_what_was_waited_for_in_vain_is_not_waited_for_again(
    ends: exiting.ProgramExit, held: Held
) -> None:
    batcher = BlockingBatcher(held, exit_timeout=0.05)
    future = batcher.submit(1)
    assert held.entered.wait(10)
    ends.finish_accepted()
    assert not future.done()
    start = time.monotonic()
    with pytest.warns(RuntimeWarning, match=r"^the program ended with .* 'Held': 1; close\(\) it"):
        ends.finish_rest()
    assert time.monotonic() - start < 10
    assert closed(future)
    assert held.cancelled.wait(10)
    assert batcher.close() == 0


def test_what_came_since_has_its_own_time(ends: exiting.ProgramExit, held: Held) -> None:
    batcher = BlockingBatcher(held, exit_timeout=0.05)
    first = batcher.submit(1)
    assert held.entered.wait(10)
    ends.finish_accepted()
    batcher._thread._timeout = None  # type: ignore[union-attr]
    second = batcher.submit(2)
    held.leave.set()
    ends.finish_rest()
    assert (first.result(0), second.result(0)) == (2, 4)
    batcher.close()


def test_a_loop_that_is_blocked_is_left_alone(
    ends: exiting.ProgramExit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exiting, "GRACE", 0.01)
    entered, leave = threading.Event(), threading.Event()

    async def handler(items: list[int]) -> list[int]:
        entered.set()
        leave.wait(10)
        return items

    batcher = BlockingBatcher(handler, exit_timeout=0)
    future = batcher.submit(1)
    assert entered.wait(10)
    with pytest.warns(RuntimeWarning, match="'handler': 1; "):
        ends.finish_rest()
    assert closed(future)
    leave.set()
    assert batcher.close() == 0


def test_cancelled_items_are_not_told_of(ends: exiting.ProgramExit, held: Held) -> None:
    batcher = BlockingBatcher(held, exit_timeout=0, cancel_abandoned=False)
    future = batcher.submit(1)
    assert held.entered.wait(10)
    assert future.cancel()
    ends.finish_rest()
    held.leave.set()
    batcher.close()


def test_one_that_is_being_closed_is_waited_for_and_given_up(
    ends: exiting.ProgramExit, held: Held
) -> None:
    batcher = BlockingBatcher(held, exit_timeout=0.01)
    future = batcher.submit(1)
    assert held.entered.wait(10)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    while not batcher._inbox.closed:  # type: ignore[union-attr]
        pass
    with pytest.warns(RuntimeWarning, match="'Held': 1; "):
        ends.finish_rest()
    assert closed(future)
    closing.join(10)
    assert not closing.is_alive()
    assert exiting.running == set()


def test_one_whose_thread_ends_meanwhile_is_finished(ends: exiting.ProgramExit, held: Held) -> None:
    batcher = BlockingBatcher(held, exit_timeout=None)
    future = batcher.submit(1)
    assert held.entered.wait(10)
    future.add_done_callback(lambda _: None)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    while not batcher._inbox.closed:  # type: ignore[union-attr]
        pass
    letting = threading.Timer(0, held.leave.set)
    letting.start()
    ends.finish_rest()
    assert future.result(0) == 2
    closing.join(10)


def test_an_interrupt_before_the_wait_gives_up_at_once(
    ends: exiting.ProgramExit, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    batcher = BlockingBatcher(held)
    future = batcher.submit(1)
    assert held.entered.wait(10)

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(exiting.FinishingThread, "finish", interrupted)
    with pytest.warns(RuntimeWarning, match="'Held': 1; "):
        ends.finish_rest()
    assert closed(future)
    batcher.close()


def test_it_is_registered_before_executors_that_come_later(
    ends: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "concurrent.futures.process")
    for _ in range(2):
        with BlockingBatcher(echo) as batcher:
            batcher.submit(1).result(10)
    assert ends.registered == [ends.finish_accepted]
    monkeypatch.undo()
    assert concurrent.futures.process.__name__ in sys.modules
    monkeypatch.setattr(threading, "_register_atexit", ends.registered.append)
    ends.prepare()
    assert ends.registered == [ends.finish_accepted] * 2


async def test_one_that_is_attached_is_left_open(ends: exiting.ProgramExit) -> None:
    async with BlockingBatcher.attached(echo) as blocking:
        ends.finish_rest()
        assert await asyncio.wrap_future(blocking.submit(1)) == 1


@pytest.mark.parametrize(
    ("message", "raised"),
    [("can't create new thread at interpreter shutdown", []), ("bad luck", ["bad luck"])],
)
def test_a_loop_that_has_no_thread_to_end_its_own_is_silent(
    message: str, raised: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lonely(asyncio.SelectorEventLoop):
        async def shutdown_default_executor(self, timeout: float | None = None) -> None:
            raise RuntimeError(message)

    seen: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(str(args.exc_value)))
    with BlockingBatcher(echo, loop_factory=Lonely) as batcher:
        assert batcher.submit(1).result(10) == 1
    assert seen == raised


def test_one_whose_thread_cannot_start_is_not_waited_for(
    ends: exiting.ProgramExit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    batcher = BlockingBatcher(echo, loop_factory=lambda: loops[0])
    loops = [asyncio.new_event_loop()]
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match=r"^can't start new thread$"):
            batcher.submit(1)
    assert exiting.running == set()
    loops[0].close()


def test_a_forked_process_registers_again_what_multiprocessing_forgot(
    ends: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def noting(name: str) -> Callable[[Any], Any]:
        other = getattr(atexit, name)
        return lambda what: calls.append(name) if what == ends.finish_rest else other(what)

    ends.finish_accepted()
    exiting.forget_threads()
    with monkeypatch.context() as patched:
        for name in ("unregister", "register"):
            patched.setattr(atexit, name, noting(name))
        for _ in range(2):
            with BlockingBatcher(echo) as batcher:
                batcher.submit(1).result(10)
    assert calls == ["unregister", "register"]


# ------------------------------------------------------------------------------------ the option
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (-1, ValueError, "exit_timeout must be >= 0, got -1"),
        (float("inf"), ValueError, "exit_timeout must be a finite number of seconds, got inf"),
        ("1", TypeError, "exit_timeout must be a number of seconds or None, got '1'"),
    ],
)
def test_a_wrong_bound_is_refused(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        BlockingBatcher(echo, exit_timeout=value)
    assert str(caught.value) == message


@pytest.mark.parametrize(("name", "value"), [("exit_timeout", 5.0), ("loop_factory", None)])
async def test_one_that_is_attached_has_no_end_of_its_own(name: str, value: Any) -> None:
    with pytest.raises(TypeError) as caught:
        BlockingBatcher.attached(echo, **{name: value})
    assert str(caught.value) == (
        f"{name} must not be given to attached(), whose event loop is not its own, got {value!r}"
    )
