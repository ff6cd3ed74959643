"""Threads submit items, and each gets its own answer."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, Future, as_completed, wait
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import (
    Batcher,
    BatchTimeoutError,
    BlockingBatcher,
    CapacityError,
    HandlerCancelledError,
    batched,
    current_batch,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.blocking.conftest import Held

pytestmark = pytest.mark.usefixtures("tidy")


async def double(items: list[int]) -> list[int]:
    return [2 * item for item in items]


def double_in_thread(items: list[int]) -> list[int]:
    return [2 * item for item in items]


@batched()
async def add(left: list[int], right: list[int]) -> list[int]:
    return [one + other for one, other in zip(left, right, strict=True)]


class Model:
    @batched(max_batch_size=4)
    def double(self, items: list[int]) -> list[int]:
        return [2 * item for item in items]


# ------------------------------------------------------------------------------------------ results
@pytest.mark.parametrize("handler", [double, double_in_thread])
def test_each_item_gets_its_own_result(handler: Any, loop_factory: Any) -> None:
    with BlockingBatcher(handler, loop_factory=loop_factory, max_batch_size=3) as batcher:
        futures = [batcher.submit(item) for item in range(10)]
        assert all(isinstance(each, Future) for each in futures)
        assert [each.result(10) for each in futures] == list(range(0, 20, 2))
        now = batcher.statistics()
        assert (now.submitted, now.completed) == (10, 10)


def test_what_is_submitted_while_the_handler_is_busy_goes_together(held: Held) -> None:
    with BlockingBatcher(held, max_batch_size=8) as batcher:
        first = batcher.submit(0)
        assert held.entered.wait(10)
        rest = [batcher.submit(item) for item in range(1, 9)]
        held.leave.set()
        assert [each.result(10) for each in (first, *rest)] == list(range(0, 18, 2))
    assert held.calls == [[0], list(range(1, 9))]


def test_many_items_have_one_future() -> None:
    with BlockingBatcher(double) as batcher:
        assert batcher.submit_many(iter(range(5))).result(10) == [0, 2, 4, 6, 8]
        assert batcher.submit_many([]).result(10) == []


def test_the_items_of_many_are_read_in_the_callers_thread() -> None:
    threads = []

    def source() -> Any:
        threads.append(threading.current_thread())
        yield 1

    with BlockingBatcher(double) as batcher:
        batcher.submit_many(source()).result(10)
    assert threads == [threading.current_thread()]


def fail_on_three(items: list[int]) -> list[Any]:
    return [ValueError(item) if item == 3 else item for item in items]


def test_failures_among_many_are_raised_or_put_in_their_places() -> None:
    with BlockingBatcher(fail_on_three) as batcher:
        with pytest.raises(ValueError, match=r"^3$"):
            batcher.submit_many(range(5)).result(10)
        every = batcher.submit_many(range(5), return_exceptions=True).result(10)
        assert isinstance(every[3], ValueError)
        assert every[:3] == [0, 1, 2]


def test_a_batcher_a_decorated_function_and_a_method_can_be_called_from_threads() -> None:
    made: Batcher[int, int] = Batcher(double, name="made")
    with BlockingBatcher(made) as batcher:
        assert batcher.batcher is made
        assert batcher.submit(4).result(10) == 8
        assert (batcher.name, repr(batcher)) == ("made", "<BlockingBatcher 'made'>")
    with BlockingBatcher(add) as sums:
        assert sums.submit((1, 2)).result(10) == 3
    with BlockingBatcher(Model().double) as doubles:
        assert doubles.submit(3).result(10) == 6
    with BlockingBatcher(double, name="own") as own:
        assert own.name == "own"


def test_a_given_batcher_serves_its_own_loop_at_the_same_time() -> None:
    async def both() -> list[int]:
        with_thread = asyncio.to_thread(lambda: batcher.submit((5, 6)).result(10))
        return await asyncio.gather(add(1, 2), with_thread)

    with BlockingBatcher(add) as batcher:
        assert asyncio.run(both()) == [3, 11]


def test_a_handler_may_ask_about_its_batch() -> None:
    def ask(items: list[int]) -> list[str]:
        return [current_batch().name] * len(items)

    with BlockingBatcher(ask, name="asked") as batcher:
        assert batcher.submit(1).result(10) == "asked"


def test_a_future_can_be_awaited() -> None:
    async def main() -> int:
        return await asyncio.wrap_future(batcher.submit(21))

    with BlockingBatcher(double) as batcher:
        assert asyncio.run(main()) == 42


def test_a_callers_context_is_not_kept() -> None:
    import contextvars

    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def look(items: list[int]) -> list[Any]:
        return [variable.get("nothing")] * len(items)

    seen: Future[str] = Future()
    with BlockingBatcher(look) as batcher:
        variable.set("caller's")
        future = batcher.submit(1)
        future.add_done_callback(lambda _: seen.set_result(variable.get("nothing")))
        assert future.result(10) == "nothing"
    assert seen.result(10) in ("nothing", "caller's")  # the latter if it was done before


# ----------------------------------------------------------------------------------------- failures
def test_each_caller_has_its_own_exception() -> None:
    original = KeyError("shared")

    def fail(items: list[int]) -> None:
        raise original

    with BlockingBatcher(fail) as batcher:
        errors = [batcher.submit(item).exception(10) for item in range(2)]
    assert [type(each) for each in errors] == [KeyError, KeyError]
    assert errors[0] is not errors[1]
    assert [each.__cause__ for each in errors if each] == [original, original]


def test_a_full_batcher_rejects_in_the_future(held: Held) -> None:
    with BlockingBatcher(held, capacity=1, overflow="reject") as batcher:
        first = batcher.submit(1)
        assert isinstance(batcher.submit(2).exception(10), CapacityError)
        held.leave.set()
        assert first.result(10) == 2


def test_beyond_the_capacity_futures_wait(held: Held) -> None:
    with BlockingBatcher(held, capacity=2, max_batch_size=1) as batcher:
        futures = [batcher.submit(item) for item in range(5)]
        assert held.entered.wait(10)
        held.leave.set()
        assert [each.result(10) for each in futures] == [0, 2, 4, 6, 8]


def test_a_late_item_raises_to_its_own_caller(clockwork: Any) -> None:
    async def slow(items: list[int]) -> list[int]:
        await asyncio.sleep(5)
        return items

    with BlockingBatcher(slow, loop_factory=clockwork) as batcher:
        late, patient = batcher.submit(1, timeout=1), batcher.submit(2)
        with pytest.raises(BatchTimeoutError):
            late.result(10)
        assert patient.result(10) == 2


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_wrong_timeout_is_told_by_the_future(timeout: float) -> None:
    with BlockingBatcher(double) as batcher:
        error = batcher.submit(1, timeout=timeout).exception(10)
        assert isinstance(error, ValueError)
        assert str(error) == f"timeout must be > 0, got {timeout}"


def test_an_item_that_lacks_a_value_is_told_by_the_future() -> None:
    with BlockingBatcher(add) as batcher:
        assert isinstance(batcher.submit(1).exception(10), TypeError)


def test_waiting_for_a_result_can_time_out(held: Held) -> None:
    with BlockingBatcher(held) as batcher:
        future = batcher.submit(1)
        with pytest.raises(TimeoutError):
            future.result(0)
        held.leave.set()
        assert future.result(10) == 2


def exiting(items: list[int]) -> None:
    raise SystemExit


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_exit_request_in_the_handler_ends_the_loop_and_nobody_hangs() -> None:
    batcher: BlockingBatcher[int, None] = BlockingBatcher(exiting, max_batch_size=1)
    futures = [batcher.submit(item) for item in range(3)]
    assert isinstance(futures[0].exception(10), HandlerCancelledError)
    assert all(each.exception(10) is not None for each in futures)
    assert batcher.close() == 0


# ------------------------------------------------------------------------------------- cancellation
def test_cancelling_a_queued_item_keeps_it_from_the_handler(held: Held) -> None:
    with BlockingBatcher(held) as batcher:
        first = batcher.submit(0)
        assert held.entered.wait(10)
        queued, sibling = batcher.submit(1), batcher.submit(2)
        assert queued.cancel()
        assert queued.cancel()
        held.leave.set()
        assert (first.result(10), sibling.result(10)) == (0, 4)
        with pytest.raises(CancelledError):
            queued.result(10)
        assert not first.cancel()
    assert held.calls == [[0], [2]]


def test_cancelling_in_flight_leaves_the_siblings_alone(held: Held) -> None:
    with BlockingBatcher(held, max_latency=60, max_batch_size=2) as batcher:
        given_up, sibling = batcher.submit(1), batcher.submit(2)
        assert held.entered.wait(10)
        assert given_up.cancel()
        held.leave.set()
        assert sibling.result(10) == 4
        assert batcher.statistics().cancelled == 1


def test_cancelling_all_cancels_the_handler(held: Held) -> None:
    with BlockingBatcher(held) as batcher:
        future = batcher.submit(1)
        assert held.entered.wait(10)
        assert future.cancel()
        assert held.cancelled.wait(10)


def test_an_item_that_is_cancelled_before_it_reaches_the_loop_is_not_submitted() -> None:
    entered, leave = threading.Event(), threading.Event()

    async def blocking(items: list[int]) -> list[int]:
        entered.set()
        assert leave.wait(10)
        return items

    with BlockingBatcher(blocking) as batcher:
        first = batcher.submit(1)
        assert entered.wait(10)
        second = batcher.submit(2)
        assert second.cancel()
        leave.set()
        assert first.result(10) == 1
        wait([second], 10)
        assert batcher.statistics().submitted == 1


def test_who_waits_for_several_futures_hears_of_those_that_were_cancelled(held: Held) -> None:
    with BlockingBatcher(held) as batcher:
        futures = [batcher.submit(item) for item in range(2)]
        assert held.entered.wait(10)
        assert all(each.cancel() for each in futures)
        assert wait(futures, 10).not_done == set()
        assert set(as_completed(futures, 10)) == set(futures)


# ---------------------------------------------------------------------------------- drain and flush
def test_drain_returns_when_all_is_settled() -> None:
    with BlockingBatcher(double, max_latency=3600) as batcher:
        batcher.drain()  # nothing was begun
        batcher.flush()
        futures = [batcher.submit(item) for item in range(3)]
        batcher.drain()
        assert all(each.done() for each in futures)


def test_flush_dispatches_what_was_submitted() -> None:
    with BlockingBatcher(double, max_latency=3600) as batcher:
        future = batcher.submit(1)
        batcher.flush()
        assert future.result(10) == 2


# ---------------------------------------------------------------------------------- where it hangs
def from_the_loop(batcher: BlockingBatcher[int, Any], call: Any) -> Any:
    """Call something in the loop's own thread."""
    asked: Future[Any] = Future()

    def ask(future: Future[Any]) -> None:
        try:
            asked.set_result(call())
        except BaseException as error:
            asked.set_exception(error)

    batcher.submit(1).add_done_callback(ask)
    return asked.result(10)


OWN_THREAD = (
    "batcher 'double' runs on this very event loop, which a blocking call would stop: "
    "await instead (asyncio.wrap_future makes a future awaitable)"
)


@pytest.mark.parametrize("name", ["result", "exception", "drain", "close", "map", "unordered"])
def test_waiting_in_the_loops_own_thread_is_an_error(name: str) -> None:
    calls: dict[str, Callable[[BlockingBatcher[int, int]], Any]] = {
        "result": lambda batcher: batcher.submit(2).result(),
        "exception": lambda batcher: batcher.submit(2).exception(),
        "drain": BlockingBatcher.drain,
        "close": BlockingBatcher.close,
        "map": lambda batcher: list(batcher.map([1])),
        "unordered": lambda batcher: list(batcher.map([1], ordering="unordered")),
    }
    entered = threading.Event()

    async def slow(items: list[int]) -> list[int]:
        assert entered.wait(10)
        return items

    with BlockingBatcher(slow, name="double") as batcher:
        asked: Future[Any] = Future()

        def ask(_: Future[Any]) -> None:
            try:
                calls[name](batcher)
            except RuntimeError as error:
                asked.set_result(str(error))

        batcher.submit(1).add_done_callback(ask)
        entered.set()
        assert asked.result(10) == OWN_THREAD


def test_a_callback_may_submit_and_read_what_is_done() -> None:
    with BlockingBatcher(double) as batcher:
        first = batcher.submit(2)
        assert first.result(10) == 4
        assert from_the_loop(batcher, first.result) == 4
        assert from_the_loop(batcher, lambda: batcher.submit(3)).result(10) == 6


@pytest.mark.parametrize("name", ["drain", "close"])
def test_a_handler_must_not_drain_or_close_its_own_batcher(name: str) -> None:
    def handler(items: list[int]) -> None:
        getattr(batcher, name)()

    with BlockingBatcher(handler) as batcher:
        error = batcher.submit(1).exception(10)
    assert str(error) == (
        "batcher 'handler' must not be drained or closed by its own handler, "
        "for which it would wait"
    )


def test_a_handler_may_use_another_batcher() -> None:
    with BlockingBatcher(double) as inner:

        def handler(items: list[int]) -> list[int]:
            results = inner.submit_many(items).result(10)
            inner.drain()
            return results

        with BlockingBatcher(handler) as outer:
            assert outer.submit(2).result(10) == 4
