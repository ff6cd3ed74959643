"""What callers, their siblings and the handler see when something ends early or goes wrong.

There is a test for each cell of the table in the explanation of the design.
"""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import (
    Batcher,
    BatcherClosedError,
    HandlerCancelledError,
    ResultCountError,
)
from microbatch.testing import RecordingHandler

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.every_loop


async def turns(count: int = 8) -> None:
    """Let everything happen that needs no time."""
    for _ in range(count):
        await asyncio.sleep(0)


async def call(batcher: Batcher[Any, Any], item: Any) -> Any:
    return await batcher.submit(item)


async def callers(batcher: Batcher[Any, Any], items: str) -> list[asyncio.Task[Any]]:
    """Start a task for each letter, and let the handler have them where it may."""
    tasks = [asyncio.create_task(call(batcher, item)) for item in items]
    await turns()
    return tasks


async def outcomes(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


def held() -> RecordingHandler[Any, Any]:
    handler: RecordingHandler[Any, Any] = RecordingHandler(lambda items: [i.upper() for i in items])
    handler.hold()
    return handler


class Trouble(Exception):
    """What a handler raises."""


# --------------------------------------------------------------------- one caller cancelled, queued
async def queue_behind_a_busy_slot(
    handler: RecordingHandler[Any, Any], items: str
) -> tuple[asyncio.Task[Any], list[asyncio.Task[Any]]]:
    batcher: Batcher[Any, Any] = Batcher(handler)
    (busy,) = await callers(batcher, "x")
    return busy, await callers(batcher, items)


async def test_a_caller_cancelled_while_queued_gets_cancelled_error() -> None:
    handler = held()
    busy, (a, b) = await queue_behind_a_busy_slot(handler, "ab")
    a.cancel()
    with pytest.raises(asyncio.CancelledError):
        await a
    handler.release()
    await outcomes([busy, b])


async def test_siblings_of_a_caller_cancelled_while_queued_are_unaffected() -> None:
    handler = held()
    busy, (a, b, c) = await queue_behind_a_busy_slot(handler, "abc")
    b.cancel()
    handler.release()
    assert await a == "A"
    assert await c == "C"
    await busy


async def test_the_handler_never_sees_the_item_of_a_caller_cancelled_while_queued() -> None:
    handler = held()
    busy, (a, b, c) = await queue_behind_a_busy_slot(handler, "abc")
    b.cancel()
    handler.release()
    await outcomes([busy, a, b, c])
    assert [call.items for call in handler.calls] == [("x",), ("a", "c")]


# ------------------------------------------------------------------ one caller cancelled, in flight
async def test_a_caller_cancelled_in_flight_gets_cancelled_error_at_once() -> None:
    handler = held()
    a, b = await callers(Batcher(handler), "ab")
    a.cancel()
    with pytest.raises(asyncio.CancelledError):
        await a
    assert handler.calls[0].outcome is None
    handler.release()
    await b


async def test_siblings_of_a_caller_cancelled_in_flight_are_unaffected() -> None:
    handler = held()
    a, b, c = await callers(Batcher(handler), "abc")
    b.cancel()
    await turns()
    handler.release()
    assert await a == "A"
    assert await c == "C"


async def test_the_handler_runs_on_when_one_caller_is_cancelled_in_flight() -> None:
    handler = held()
    a, b = await callers(Batcher(handler), "ab")
    a.cancel()
    await turns()
    handler.release()
    await b
    assert [(call.items, call.outcome) for call in handler.calls] == [(("a", "b"), "returned")]


# --------------------------------------------------------------------------- every caller cancelled
async def test_every_caller_of_a_cancelled_batch_gets_cancelled_error() -> None:
    tasks = await callers(Batcher(held()), "abc")
    for task in tasks:
        task.cancel()
    assert [type(each) for each in await outcomes(tasks)] == [asyncio.CancelledError] * 3


async def test_the_handler_is_cancelled_once_every_caller_is() -> None:
    handler = held()
    a, b = await callers(Batcher(handler), "ab")
    a.cancel()
    await turns()
    assert handler.calls[0].outcome is None
    b.cancel()
    await turns()
    assert handler.calls[0].outcome == "cancelled"


async def test_the_handler_runs_on_for_nobody_without_cancel_abandoned() -> None:
    handler = held()
    batcher: Batcher[Any, Any] = Batcher(handler, cancel_abandoned=False)
    tasks = await callers(batcher, "ab")
    for task in tasks:
        task.cancel()
    await outcomes(tasks)
    assert handler.calls[0].outcome is None
    handler.release()
    await batcher.drain()
    assert handler.calls[0].outcome == "returned"


async def test_the_slot_of_a_cancelled_handler_is_free_only_when_it_has_ended() -> None:
    cleaned_up = asyncio.Event()
    seen: list[str] = []

    async def handler(items: list[str]) -> None:
        seen.extend(items)
        if "a" in items:
            try:
                await asyncio.Event().wait()
            finally:
                await cleaned_up.wait()

    batcher: Batcher[str, None] = Batcher(handler)
    (a,) = await callers(batcher, "a")
    a.cancel()
    (b,) = await callers(batcher, "b")
    assert seen == ["a"]
    assert batcher.statistics().slots_busy == 1
    cleaned_up.set()
    await b
    assert seen == ["a", "b"]


async def test_what_an_abandoned_handler_still_answers_or_raises_goes_nowhere() -> None:
    async def stubborn(items: list[str]) -> list[str]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if items == ["a"]:
                return ["too", "many"]
        raise Trouble

    batcher: Batcher[str, str] = Batcher(stubborn)
    for item in "ab":
        (task,) = await callers(batcher, item)
        task.cancel()
        await turns()
    assert batcher.statistics().slots_busy == 0


# ----------------------------------------------------------------------------------- handler raises
def raising(error: Callable[[], BaseException], **options: Any) -> Batcher[str, str]:
    async def handler(items: list[str]) -> list[str]:
        raise error()

    return Batcher(handler, **options)


async def test_a_failed_handler_gives_each_caller_an_exception_of_the_same_type() -> None:
    (error,) = await outcomes(await callers(raising(lambda: Trouble("no", 1)), "a"))
    assert type(error) is Trouble
    assert error.args == ("no", 1)


async def test_the_cause_of_a_callers_exception_is_what_the_handler_raised() -> None:
    original = Trouble("no")
    (error,) = await outcomes(await callers(raising(lambda: original), "a"))
    assert error is not original
    assert error.__cause__ is original


async def test_siblings_of_a_failed_batch_each_get_their_own_copy() -> None:
    original = Trouble("no")
    errors = await outcomes(await callers(raising(lambda: original), "abc"))
    assert len({id(each) for each in [original, *errors]}) == 4
    assert [each.__cause__ for each in errors] == [original] * 3


# ------------------------------------------------------------- handler raises CancelledError itself
async def test_a_handler_that_cancels_itself_never_cancels_its_callers() -> None:
    tasks = await callers(raising(asyncio.CancelledError), "ab")
    for error in await outcomes(tasks):
        assert type(error) is HandlerCancelledError
        assert str(error) == "the handler of batcher 'handler' was cancelled"
    assert not any(task.cancelled() for task in tasks)


async def test_a_handler_whose_task_is_cancelled_from_outside_never_cancels_its_callers() -> None:
    async def handler(items: list[str]) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    errors = await outcomes(await callers(Batcher(handler), "ab"))
    assert [type(each) for each in errors] == [HandlerCancelledError] * 2


# ------------------------------------------------------------------------------- wrong result count
async def test_a_wrong_result_count_raises_an_error_with_both_numbers() -> None:
    async def handler(items: list[str]) -> list[str]:
        return ["only"]

    (error, *_) = await outcomes(await callers(Batcher(handler), "abc"))
    assert type(error) is ResultCountError
    assert (error.name, error.expected, error.received) == ("handler", 3, 1)
    assert str(error) == "handler 'handler' must return one result for each of 3 items, got 1"


async def test_siblings_of_a_wrong_result_count_each_get_their_own_error() -> None:
    async def handler(items: list[str]) -> list[str]:
        return [*items, "more"]

    errors = await outcomes(await callers(Batcher(handler), "abc"))
    assert [type(each) for each in errors] == [ResultCountError] * 3
    assert len({id(each) for each in errors}) == 3
    assert {(each.expected, each.received) for each in errors} == {(3, 4)}


# -------------------------------------------------------------------------- exit requests propagate
@pytest.mark.parametrize("exit_request", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("size", [2, 9], ids=["full", "natural"])
def test_an_exit_request_in_the_handler_propagates_and_settles_every_caller(
    loop_kind: Any,
    exit_request: type[BaseException],
    size: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    batcher = raising(exit_request, max_batch_size=size)
    tasks: list[asyncio.Task[Any]] = []

    async def start() -> None:
        tasks.extend(asyncio.create_task(call(batcher, item)) for item in "ab")
        await turns()

    with loop_kind.open() as loop:
        with pytest.raises(exit_request):
            loop.run_until_complete(start())
        loop.run_until_complete(turns())
        settled = [task.exception() for task in tasks]
        loop.run_until_complete(batcher.aclose())
    errors = [each for each in settled if not isinstance(each, exit_request)]
    assert {type(each) for each in errors} == {HandlerCancelledError}
    assert {str(each) for each in errors} == {f"the handler was stopped by {exit_request.__name__}"}
    assert batcher.statistics().slots_busy == 0
    if loop_kind.eager:  # create_task() itself raises, so asyncio misses somebody who asks the task
        del settled
        gc.collect()
        caplog.clear()


def test_an_exit_request_in_a_handlers_thread_propagates_and_settles_every_caller(
    loop_kind: Any,
) -> None:
    def handler(items: list[str]) -> None:
        raise SystemExit(3)

    batcher: Batcher[str, None] = Batcher(handler)
    tasks: list[asyncio.Task[Any]] = []

    async def start() -> None:
        tasks.extend(asyncio.create_task(call(batcher, item)) for item in "ab")
        await asyncio.wait(tasks)

    with loop_kind.open() as loop:
        with pytest.raises(SystemExit):
            loop.run_until_complete(start())
        loop.run_until_complete(batcher.drain())
        assert [type(task.exception()) for task in tasks] == [HandlerCancelledError] * 2


def test_an_exit_request_of_one_caller_leaves_the_others_to_finish(loop_kind: Any) -> None:
    handler = held()
    batcher: Batcher[Any, Any] = Batcher(handler, max_batch_size=2)

    async def exiting() -> None:
        await batcher.submit("a")
        raise SystemExit(3)

    async def start() -> list[asyncio.Task[Any]]:
        tasks = [asyncio.create_task(exiting())]
        tasks += [asyncio.create_task(call(batcher, item)) for item in "bcd"]
        await turns()
        return tasks

    with loop_kind.open() as loop:
        leaving, *others = loop.run_until_complete(start())
        handler.release()
        with pytest.raises(SystemExit):
            loop.run_until_complete(outcomes(others))
        assert loop.run_until_complete(outcomes(others)) == ["B", "C", "D"]
        assert isinstance(leaving.exception(), SystemExit)


# ------------------------------------------------------------------------------------------ closing
async def test_items_accepted_before_aclose_finish() -> None:
    handler = held()
    batcher: Batcher[Any, Any] = Batcher(handler, max_batch_size=2, max_latency=3600.0)
    tasks = await callers(batcher, "abc")
    closing = asyncio.create_task(batcher.aclose())
    await turns()
    handler.release()
    assert await outcomes(tasks) == ["A", "B", "C"]
    assert await closing == 0


async def test_submitting_after_aclose_raises_batcher_closed_error() -> None:
    batcher: Batcher[Any, Any] = Batcher(RecordingHandler())
    await batcher.aclose()
    for submit in (batcher.submit, batcher.submit_nowait, batcher.submit_many):
        with pytest.raises(BatcherClosedError, match=r"^batcher 'recording' is closed$"):
            submit(["a"])


async def test_aclose_returns_when_the_handler_has_drained() -> None:
    handler = held()
    batcher: Batcher[Any, Any] = Batcher(handler)
    (task,) = await callers(batcher, "a")
    closing = asyncio.create_task(batcher.aclose())
    await turns()
    assert not closing.done()
    handler.release()
    await closing
    assert handler.calls[0].outcome == "returned"
    assert task.done()


async def test_items_left_when_aclose_times_out_get_batcher_closed_error() -> None:
    batcher: Batcher[Any, Any] = Batcher(held(), max_batch_size=2)
    tasks = await callers(batcher, "abc")
    assert await batcher.aclose(timeout=0) == 3
    errors = await outcomes(tasks)
    assert [type(each) for each in errors] == [BatcherClosedError] * 3
    assert {str(each) for each in errors} == {
        "batcher 'recording' was closed before the item was handled"
    }


async def test_aclose_that_times_out_cancels_the_handler_and_waits_for_its_end() -> None:
    ended = []

    async def handler(items: list[str]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await turns()
            ended.append("cleaned up")

    batcher: Batcher[str, None] = Batcher(handler)
    tasks = await callers(batcher, "ab")
    await batcher.aclose(timeout=0)
    assert ended == ["cleaned up"]
    await outcomes(tasks)


# --------------------------------------------------------------- the loop closes with items pending
def test_a_loop_that_closes_with_items_pending_gives_a_resource_warning_with_the_count(
    loop_kind: Any,
) -> None:
    batcher: Batcher[Any, Any] = Batcher(RecordingHandler(), max_latency=3600.0)

    async def leave() -> None:
        batcher.submit("a")
        batcher.submit_many([*"bc"])
        await turns()

    message = (
        r"^an event loop was closed with unsettled items of batcher 'recording': 3; "
        r"drain\(\) or aclose\(\) it before its loop ends$"
    )
    with pytest.warns(ResourceWarning, match=message):
        loop_kind.run(leave)
    loop_kind.run(batcher.drain)


def test_the_loop_after_one_that_closed_with_items_pending_starts_clean(loop_kind: Any) -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher: Batcher[Any, Any] = Batcher(handler, max_batch_size=2, max_latency=3600.0)

    async def leave() -> None:
        batcher.submit("a")
        await turns()

    async def use() -> list[str]:
        tickets = [batcher.submit("b"), batcher.submit("c")]
        await turns()
        assert [call.items for call in handler.calls] == [("b", "c")]
        return [await each for each in tickets]

    with pytest.warns(ResourceWarning, match="unsettled items of batcher .*: 1; "):
        loop_kind.run(leave)
    assert loop_kind.run(use) == ["b", "c"]
    assert batcher.statistics().cancelled == 1


def test_callers_of_a_handler_that_the_end_of_its_loop_cancels_do_not_hang(loop_kind: Any) -> None:
    batcher: Batcher[Any, Any] = Batcher(held())
    tickets = []

    async def leave() -> None:
        tickets.append(batcher.submit("a"))
        await turns()

    loop_kind.run(leave)
    assert [type(each.exception()) for each in tickets] == [HandlerCancelledError]
