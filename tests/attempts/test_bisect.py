"""A failed batch is halved until the item that makes it fail stands alone."""

from __future__ import annotations

import asyncio
import gc
import math
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import (
    Batcher,
    BatcherClosedError,
    BatchTimeoutError,
    HandlerCancelledError,
    ResultCountError,
    batched,
    current_batch,
)
from microbatch.testing import RecordingHandler, run
from tests.attempts.trying import Trouble, now, outcomes, policy, turns

if TYPE_CHECKING:
    from collections.abc import Callable


def poisoned(
    *bad: Any, make: Callable[..., BaseException] = Trouble, delay: Any = 0.0
) -> RecordingHandler[Any, Any]:
    """Fail for batches that hold one of these, and answer others with their items."""

    def function(items: list[Any]) -> list[Any]:
        found = [item for item in items if item in bad]
        if found:
            raise make(*found)
        return items

    return RecordingHandler(function, delay=delay)


def halving(handler: Any, **options: Any) -> Batcher[Any, Any]:
    return Batcher(handler, on_error="bisect", **options)


def calls_of(handler: RecordingHandler[Any, Any]) -> list[str]:
    return ["".join(call.items) for call in handler.calls]


def kinds_of(values: list[Any]) -> list[Any]:
    return [each if isinstance(each, str) else type(each) for each in values]


# ------------------------------------------------------------------------------------- the bad item
@pytest.mark.every_loop
async def test_the_bad_item_fails_alone() -> None:
    handler = poisoned("b")
    batcher = halving(handler)
    results = await outcomes(*map(batcher.submit, "abcd"))
    assert kinds_of(results) == ["a", Trouble, "c", "d"]
    assert results[1].args == ("b",)
    assert calls_of(handler) == ["abcd", "ab", "cd", "a", "b"]
    counts = batcher.statistics()
    assert (counts.completed, counts.failed, counts.batched, counts.retried) == (3, 1, 4, 6)
    assert (counts.calls, counts.mean_batch_size) == (1, 4.0)


async def test_what_is_known_to_be_bad_is_not_called_as_a_whole_again() -> None:
    handler = poisoned("d")
    assert kinds_of(await outcomes(*map(halving(handler).submit, "abcd"))) == [*"abc", Trouble]
    assert calls_of(handler) == ["abcd", "ab", "c", "d"]


async def test_the_cause_of_the_bad_items_error_is_what_its_own_call_raised() -> None:
    handler = poisoned("b")
    _, error = await outcomes(*map(halving(handler).submit, "ab"))
    assert type(error.__cause__) is Trouble
    assert error.__cause__ is not error
    assert error.__cause__.__context__ is None


async def test_several_bad_items_fail_with_their_own_errors() -> None:
    handler = poisoned(*"adg")
    results = await outcomes(*map(halving(handler).submit, "abcdefgh"))
    assert kinds_of(results) == [Trouble, "b", "c", Trouble, "e", "f", Trouble, "h"]
    assert [results[place].args for place in (0, 3, 6)] == [("a",), ("d",), ("g",)]


async def test_when_every_item_is_bad_each_is_called_alone() -> None:
    handler = poisoned(*"abcd")
    results = await outcomes(*map(halving(handler).submit, "abcd"))
    assert [each.args for each in results] == [("a",), ("b",), ("c",), ("d",)]
    assert len(handler.calls) == 7


async def test_a_batch_of_one_is_not_called_again() -> None:
    handler = poisoned("a")
    assert kinds_of(await outcomes(halving(handler).submit("a"))) == [Trouble]
    assert calls_of(handler) == ["a"]


async def test_a_failure_that_comes_once_costs_no_item() -> None:
    failed = []

    async def handler(items: list[str]) -> list[str]:
        if not failed:
            failed.append(items)
            raise Trouble
        return items

    assert await outcomes(*map(halving(handler).submit, "abcdefg")) == [*"abcdefg"]


async def test_a_wrong_number_of_results_is_a_failed_batch() -> None:
    handler: RecordingHandler[Any, Any] = RecordingHandler(
        lambda items: [item for item in items if item != "b"]
    )
    results = await outcomes(*map(halving(handler).submit, "abcd"))
    assert kinds_of(results) == ["a", ResultCountError, "c", "d"]
    assert (results[1].expected, results[1].received) == (1, 0)


async def test_exceptions_that_are_results_do_not_make_a_failed_batch() -> None:
    handler: RecordingHandler[Any, Any] = RecordingHandler(lambda items: ["A", Trouble()])
    assert kinds_of(await outcomes(*map(halving(handler).submit, "ab"))) == ["A", Trouble]
    assert len(handler.calls) == 1


async def test_a_ticket_of_many_items_gets_each_of_them() -> None:
    batcher = halving(poisoned("c"))
    assert kinds_of(await batcher.submit_many([*"abcde"], return_exceptions=True)) == [
        *"ab",
        Trouble,
        *"de",
    ]


async def test_a_decorated_method_is_halved_too() -> None:
    class Model:
        @batched(on_error="bisect")
        def invert(self, numbers: list[int], digits: list[int]) -> list[float]:
            return [round(1 / each, place) for each, place in zip(numbers, digits, strict=True)]

    model = Model()
    results = await outcomes(*(model.invert(number, 1) for number in (1, 0, 2)))
    assert results[::2] == [1.0, 0.5]
    assert type(results[1]) is ZeroDivisionError


# ----------------------------------------------------------------------------------------- the cost
EVERY_PLACE, LARGEST = 128, 256


def test_one_bad_item_of_n_costs_at_most_2_log2_n_and_one_further_calls() -> None:
    calls = 0
    bad: Any = None

    async def handler(items: list[int]) -> list[int]:
        nonlocal calls
        calls += 1
        if bad in items:
            raise Trouble
        return items

    async def measure() -> None:
        nonlocal calls, bad
        for size in range(1, LARGEST + 1):
            batcher = halving(handler, max_batch_size=size)
            for bad in {*range(size)} if size <= EVERY_PLACE else {0, 1, size // 2, size - 1}:
                calls = 0
                results = await batcher.submit_many(range(size), return_exceptions=True)
                assert type(results.pop(bad)) is Trouble
                assert results == [item for item in range(size) if item != bad]
                assert calls - 1 <= 2 * math.log2(size) + 1

    run(measure, debug=False)


# ----------------------------------------------------------------------------------------- timeouts
@pytest.mark.parametrize("kind", [TimeoutError, BatchTimeoutError])
async def test_a_batch_that_timed_out_is_not_halved(kind: type[TimeoutError]) -> None:
    handler = poisoned("b", make=kind)
    assert kinds_of(await outcomes(*map(halving(handler).submit, "abc"))) == [kind] * 3
    assert calls_of(handler) == ["abc"]


async def test_a_half_that_timed_out_is_not_halved_and_the_rest_goes_on() -> None:
    def make(*found: str) -> Exception:
        return Trouble() if "f" in found else TimeoutError()

    handler = poisoned("b", "f", make=make)
    results = await outcomes(*map(halving(handler).submit, "abcdefgh"))
    assert kinds_of(results) == [*[TimeoutError] * 4, "e", Trouble, "g", "h"]
    assert calls_of(handler) == ["abcdefgh", "abcd", "efgh", "ef", "gh", "e", "f"]


async def test_an_items_own_deadline_stands_while_others_are_called() -> None:
    handler = poisoned("b", delay=1.0)
    batcher = halving(handler)
    tickets = [batcher.submit(item, timeout=2.5 if item == "d" else None) for item in "abcd"]
    ends = []
    for ticket in tickets:
        ticket.add_done_callback(lambda ticket: ends.append(now()))
    assert kinds_of(await outcomes(*tickets)) == ["a", Trouble, "c", BatchTimeoutError]
    assert calls_of(handler) == ["abcd", "ab", "cd", "a", "b"]
    assert ends == [2.5, 3.0, 4.0, 5.0]


async def test_what_waits_for_its_call_is_left_out_once_it_is_late() -> None:
    handler = poisoned("b", delay=1.0)
    batcher = halving(handler)
    tickets = [batcher.submit(item, timeout=1.5 if item in "cd" else None) for item in "abcd"]
    assert kinds_of(await outcomes(*tickets)) == ["a", Trouble, *[BatchTimeoutError] * 2]
    assert calls_of(handler) == ["abcd", "ab", "a", "b"]


async def test_a_late_item_fails_its_part_alone_under_the_policy_fail() -> None:
    handler = poisoned("b", delay=1.0)
    batcher = halving(handler, timeout_policy="fail")
    tickets = [batcher.submit(item, timeout=1.5 if item == "a" else None) for item in "abcd"]
    assert kinds_of(await outcomes(*tickets)) == [*[BatchTimeoutError] * 2, "c", "d"]
    assert [(*call.items, call.outcome, call.ended) for call in handler.calls] == [
        (*"abcd", "raised", 1.0),
        (*"ab", "cancelled", 1.5),
        (*"cd", "returned", 2.5),
    ]


# ----------------------------------------------------------------------------- who is still awaited
@pytest.mark.every_loop
async def test_the_call_for_a_half_is_cancelled_once_nobody_waits_for_that_half() -> None:
    ended = []

    async def handler(items: list[str]) -> list[str]:
        if len(items) == 4:
            raise Trouble
        if "a" in items:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(items)
        return items

    tickets = [*map(halving(handler).submit, "abcd")]
    await turns(20)
    tickets[0].cancel()
    await turns()
    assert ended == []
    tickets[1].cancel()
    assert await outcomes(*tickets[2:]) == ["c", "d"]
    assert ended == [["a", "b"]]


async def test_a_cancelled_half_leaves_the_other_half_alone() -> None:
    handler = poisoned("b", delay=1.0)
    batcher = halving(handler)
    tickets = [*map(batcher.submit, "abcd")]
    await asyncio.sleep(1.5)
    tickets[0].cancel()
    tickets[1].cancel()
    assert await outcomes(*tickets[2:]) == ["c", "d"]
    assert [(*call.items, call.outcome, call.ended) for call in handler.calls] == [
        (*"abcd", "raised", 1.0),
        (*"ab", "cancelled", 1.5),
        (*"cd", "returned", 2.5),
    ]


async def test_nothing_is_known_of_the_halves_once_somebody_has_left() -> None:
    handler = poisoned("a", delay=1.0)
    tickets = [*map(halving(handler).submit, "abcdef")]
    await asyncio.sleep(0.5)
    tickets[0].cancel()
    assert await outcomes(*tickets[1:]) == [*"bcdef"]
    assert calls_of(handler) == ["abcdef", "bc", "def"]


async def test_a_guess_is_dropped_when_an_item_of_it_has_left() -> None:
    handler = poisoned("e", delay=1.0)
    batcher = halving(handler)
    tickets = [*map(batcher.submit, "abcdefgh")]
    await asyncio.sleep(1.5)  # while the left half is called
    tickets[4].cancel()
    assert kinds_of(await outcomes(*tickets[5:])) == [*"fgh"]
    assert calls_of(handler) == ["abcdefgh", "abcd", "fgh"]


async def test_the_last_one_left_of_a_failed_half_is_called_alone() -> None:
    handler = poisoned("a", "f", delay=1.0)
    batcher = halving(handler)
    tickets = [*map(batcher.submit, "abcdefgh")]
    await asyncio.sleep(2.5)  # while the right half is called
    for ticket in tickets[:3]:
        ticket.cancel()
    await outcomes(*tickets)
    assert tickets[3].result() == "d"
    assert calls_of(handler)[:4] == ["abcdefgh", "abcd", "efgh", "ef"]
    assert calls_of(handler)[-1] == "d"


async def test_a_failed_half_that_everybody_left_is_not_called_again() -> None:
    handler = poisoned("a", "h", delay=1.0)
    batcher = halving(handler)
    tickets = [*map(batcher.submit, "abcdefgh")]
    await asyncio.sleep(5.5)
    assert calls_of(handler) == ["abcdefgh", "abcd", "efgh", "ef", "g", "h"]
    for ticket in tickets[:4]:
        ticket.cancel()
    await batcher.drain()
    assert len(handler.calls) == 6
    assert batcher.statistics().failed == 1


async def test_without_cancel_abandoned_a_call_for_nobody_runs_on_and_is_not_halved() -> None:
    handler = poisoned("a", delay=1.0)
    batcher = halving(handler, cancel_abandoned=False)
    tickets = [*map(batcher.submit, "ab")]
    await asyncio.sleep(0.5)
    for ticket in tickets:
        ticket.cancel()
    await batcher.drain()
    assert [(call.outcome, call.ended) for call in handler.calls] == [("raised", 1.0)]


async def test_current_batch_counts_the_calls_for_its_items() -> None:
    seen = []

    async def handler(items: list[str]) -> list[str]:
        batch = current_batch()
        seen.append(("".join(items), batch.size, batch.attempt, batch.reason))
        if "d" in items:
            raise Trouble
        return items

    await outcomes(*map(halving(handler, max_batch_size=4).submit, "abcd"))
    assert seen == [
        ("abcd", 4, 1, "size"),
        ("ab", 2, 2, "size"),
        ("c", 1, 2, "size"),
        ("d", 1, 2, "size"),
    ]


# ----------------------------------------------------------------------------------------- in order
async def test_results_of_the_good_half_are_handed_out_before_the_bad_one_is_found() -> None:
    handler = poisoned("b", delay=1.0)
    batcher = halving(handler)
    ends: dict[str, float] = {}

    async def one(item: str) -> None:
        try:
            await batcher.submit(item)
        finally:
            ends[item] = now()

    await outcomes(*map(one, "abcd"))
    assert ends == {"a": 4.0, "b": 5.0, "c": 3.0, "d": 3.0}


async def test_ordered_results_of_halves_are_held_until_it_is_their_turn() -> None:
    handler = poisoned("b", "z", delay=1.0)
    batcher = halving(handler, max_batch_size=4, max_concurrent_batches=2, ordering="ordered")
    done: list[tuple[str, float]] = []

    async def one(item: str) -> None:
        try:
            await batcher.submit(item)
        finally:
            done.append((item, now()))

    await outcomes(*map(one, "abcdwxyz"))
    assert done == [(item, 5.0) for item in "abcdwxyz"]


async def test_an_item_whose_result_is_held_may_still_be_late_or_given_up() -> None:
    handler = poisoned("a", delay=1.0)
    batcher = halving(handler, ordering="ordered")
    tickets = [batcher.submit(item, timeout=3.5 if item == "c" else None) for item in "abcd"]
    await asyncio.sleep(3.25)
    tickets[3].cancel()
    results = await outcomes(*tickets)
    assert kinds_of(results) == [Trouble, "b", BatchTimeoutError, asyncio.CancelledError]
    assert calls_of(handler) == ["abcd", "ab", "cd", "a", "b"]


# ------------------------------------------------------------------------------ ends of other kinds
async def test_a_handler_that_cancels_itself_is_not_halved() -> None:
    handler = poisoned("b", make=asyncio.CancelledError)
    assert (
        kinds_of(await outcomes(*map(halving(handler).submit, "abc")))
        == [HandlerCancelledError] * 3
    )
    assert calls_of(handler) == ["abc"]


async def test_a_half_whose_handler_cancels_itself_fails_alone() -> None:
    def make(*found: str) -> BaseException:
        return asyncio.CancelledError() if found == ("a",) else Trouble()

    handler = poisoned("a", "d", make=make)
    results = await outcomes(*map(halving(handler).submit, "abcd"))
    assert kinds_of(results) == [*[HandlerCancelledError] * 2, "c", Trouble]


@pytest.mark.parametrize("ordering", ["unordered", "ordered"])
def test_an_exit_request_ends_all_parts_of_a_batch(
    loop_kind: Any, ordering: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def make(*found: str) -> BaseException:
        return SystemExit() if found == ("b",) else Trouble()

    handler = poisoned("b", "d", make=make)
    batcher = halving(handler, ordering=ordering)
    tickets: list[Any] = []

    async def start() -> None:
        tickets.extend(map(batcher.submit, "abcdefgh"))
        await turns(30)

    with loop_kind.open() as loop:
        with pytest.raises(SystemExit):
            loop.run_until_complete(start())
        loop.run_until_complete(batcher.aclose())
    results = [ticket.exception() or ticket.result() for ticket in tickets]
    assert kinds_of(results) == [*[HandlerCancelledError] * 4, *"efgh"]
    assert {str(each) for each in results[:4]} == {"the handler was stopped by SystemExit"}
    if loop_kind.eager:  # asyncio misses somebody who asks the task that never came to be
        del results
        tickets.clear()
        gc.collect()
        caplog.clear()


async def test_closing_with_a_timeout_gives_up_what_is_left_of_a_halved_batch() -> None:
    handler = poisoned("b", delay=1.0)
    batcher = halving(handler)
    tickets = [*map(batcher.submit, "abcd")]
    await asyncio.sleep(0)
    assert await batcher.aclose(timeout=3.5) == 2
    assert now() == 3.5
    assert kinds_of(await outcomes(*tickets)) == [*[BatcherClosedError] * 2, "c", "d"]
    assert [call.outcome for call in handler.calls[-2:]] == ["returned", "cancelled"]


@pytest.mark.parametrize("ordering", ["unordered", "ordered"])
async def test_a_batch_that_is_cancelled_from_outside_keeps_what_was_answered(
    ordering: Any,
) -> None:
    handler = poisoned("b", delay=1.0)
    batcher = halving(handler, ordering=ordering)
    tickets = [*map(batcher.submit, "abcd")]
    await asyncio.sleep(3.5)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    assert kinds_of(await outcomes(*tickets)) == [*[HandlerCancelledError] * 2, "c", "d"]


# --------------------------------------------------------------------------------------- with retry
async def test_each_part_is_retried_before_it_is_halved() -> None:
    handler = poisoned("b", delay=1.0)
    batcher = halving(handler, retry=policy(2, 2.0))
    assert kinds_of(await outcomes(*map(batcher.submit, "abcd"))) == ["a", Trouble, "c", "d"]
    assert calls_of(handler) == ["abcd", "abcd", "ab", "ab", "cd", "a", "b", "b"]
    assert now() == 14.0


async def test_a_timeout_is_retried_as_the_policy_says_and_then_not_halved() -> None:
    handler = poisoned("b", make=TimeoutError)
    batcher = halving(handler, retry=policy(2))
    assert kinds_of(await outcomes(*map(batcher.submit, "abcd"))) == [TimeoutError] * 4
    assert calls_of(handler) == ["abcd", "abcd"]


async def test_what_retry_error_callback_answers_is_not_halved() -> None:
    handler = poisoned("b")
    batcher = halving(handler, retry=policy(2, retry_error_callback=lambda state: None))
    assert await outcomes(*map(batcher.submit, "abcd")) == [None] * 4
    assert calls_of(handler) == ["abcd", "abcd"]


async def test_a_success_with_fewer_items_shows_nothing_about_the_rest() -> None:
    failed = []

    def function(items: list[str]) -> list[str]:
        if "a" in items or not failed:
            failed.append(items)
            raise Trouble
        return items

    handler: RecordingHandler[Any, Any] = RecordingHandler(function, delay=1.0)
    batcher = halving(handler, retry=policy(2, 1.0))
    tickets = [*map(batcher.submit, "abcdefgh")]
    await asyncio.sleep(4.5)  # while the left half waits for its second attempt
    tickets[0].cancel()
    assert await outcomes(*tickets[1:]) == [*"bcdefgh"]
    assert calls_of(handler) == ["abcdefgh", "abcdefgh", "abcd", "bcd", "efgh"]
