"""Timeouts from submission to result, and what becomes of what is late."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from microbatch import Batcher, BatchError, BatchTimeoutError, HandlerCancelledError
from microbatch.testing import RecordingHandler


def now() -> float:
    return asyncio.get_running_loop().time()


def slow(delay: float = 10.0) -> RecordingHandler[Any, Any]:
    return RecordingHandler(delay=delay)


async def outcomes(*tickets: Any) -> list[Any]:
    return await asyncio.gather(*tickets, return_exceptions=True)


def kinds_of(values: list[Any]) -> list[type]:
    return [type(each) for each in values]


# ------------------------------------------------------------------------------------------ partial
async def test_a_late_item_in_flight_raises_batch_timeout_error_on_time() -> None:
    batcher: Batcher[int, int] = Batcher(slow(), timeout=2.0)
    message = r"^an item of batcher 'recording' passed its timeout of 2 s while it was in flight$"
    with pytest.raises(BatchTimeoutError, match=message):
        await batcher.submit(1)
    assert now() == 2.0
    await batcher.drain()


async def test_a_late_item_in_the_queue_says_so() -> None:
    batcher: Batcher[int, int] = Batcher(slow(), max_batch_size=1)
    first = batcher.submit(1)
    message = r"^an item of batcher 'recording' passed its timeout of 0.5 s while it was queued$"
    with pytest.raises(BatchTimeoutError, match=message):
        await batcher.submit(2, timeout=0.5)
    assert await first == 1


async def test_a_batch_timeout_error_is_a_timeout_error() -> None:
    batcher: Batcher[int, int] = Batcher(slow(), timeout=2.0)
    with pytest.raises(TimeoutError):
        await batcher.submit(1)
    await batcher.drain()


async def test_siblings_of_a_late_item_go_on() -> None:
    handler = slow()
    batcher: Batcher[int, int] = Batcher(handler)
    late, other = await outcomes(batcher.submit(1, timeout=1.0), batcher.submit(2))
    assert isinstance(late, BatchTimeoutError)
    assert other == 2
    assert handler.calls[0].outcome == "returned"
    now = batcher.statistics()
    assert (now.late, now.completed, now.failed) == (1, 1, 0)


async def test_the_handler_is_cancelled_once_every_item_of_its_batch_is_late() -> None:
    handler = slow()
    batcher: Batcher[int, int] = Batcher(handler, timeout=1.0)
    assert kinds_of(await outcomes(batcher.submit(1), batcher.submit(2))) == [BatchTimeoutError] * 2
    await batcher.drain()
    assert handler.calls[0].outcome == "cancelled"
    assert handler.calls[0].ended == 1.0


async def test_without_cancel_abandoned_the_handler_of_late_items_runs_on() -> None:
    handler = slow()
    batcher: Batcher[int, int] = Batcher(handler, timeout=1.0, cancel_abandoned=False)
    await outcomes(batcher.submit(1))
    await batcher.drain()
    assert handler.calls[0].outcome == "returned"


async def test_each_caller_of_late_items_has_an_error_of_its_own() -> None:
    batcher: Batcher[int, int] = Batcher(slow(), timeout=1.0)
    errors = await outcomes(*map(batcher.submit, range(3)))
    assert len({id(each) for each in errors}) == 3
    await batcher.drain()


async def test_a_result_in_time_is_no_timeout() -> None:
    batcher: Batcher[int, int] = Batcher(slow(1.0), timeout=1.5)
    assert await batcher.submit(1) == 1
    await asyncio.sleep(5.0)
    assert batcher.statistics().late == 0


# ------------------------------------------------------------------------------- overrides per item
async def test_an_items_own_timeout_is_shorter_or_longer_than_the_options() -> None:
    batcher: Batcher[int, int] = Batcher(slow(3.0), timeout=2.0)
    start = [batcher.submit(1, timeout=1.0), batcher.submit(2), batcher.submit(3, timeout=4.0)]
    ends = {}
    for number, ticket in enumerate(start):
        ticket.add_done_callback(lambda _, number=number: ends.setdefault(number, now()))
    first, second, third = await outcomes(*start)
    assert kinds_of([first, second]) == [BatchTimeoutError] * 2
    assert third == 3
    assert ends == {0: 1.0, 1: 2.0, 2: 3.0}


async def test_an_items_timeout_of_none_has_no_end() -> None:
    batcher: Batcher[int, int] = Batcher(slow(3.0), timeout=2.0)
    assert await batcher.submit(1, timeout=None) == 1


async def test_own_timeouts_pass_in_their_own_order() -> None:
    batcher: Batcher[int, int] = Batcher(slow())
    ends: list[float] = []

    async def one(timeout: float) -> None:
        with pytest.raises(BatchTimeoutError):
            await batcher.submit(0, timeout=timeout)
        ends.append(now())

    await asyncio.gather(*map(one, [3.0, 1.0, 2.0, 0.5]))
    assert ends == [0.5, 1.0, 2.0, 3.0]
    await batcher.drain()


async def test_many_own_timeouts_that_came_to_nothing_are_forgotten() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler())
    for item in range(300):
        assert await batcher.submit(item, timeout=60.0) == item
    assert batcher.statistics().completed == 300


@pytest.mark.parametrize(
    ("timeout", "error", "message"),
    [
        (0, ValueError, "timeout must be > 0, got 0"),
        (-1.0, ValueError, "timeout must be > 0, got -1.0"),
        (math.nan, ValueError, "timeout must be > 0, got nan"),
        ("1", TypeError, "timeout must be a number of seconds or None, got '1'"),
        (True, TypeError, "timeout must be a number of seconds or None, got True"),
    ],
)
@pytest.mark.parametrize("method", ["submit", "submit_nowait", "submit_many"])
async def test_a_bad_timeout_of_one_item_is_named(
    method: str, timeout: Any, error: type[Exception], message: str
) -> None:
    batcher: Batcher[Any, Any] = Batcher(RecordingHandler())
    with pytest.raises(error) as caught:
        getattr(batcher, method)(["item"], timeout=timeout)
    assert str(caught.value) == message
    assert batcher.statistics().submitted == 0


# -------------------------------------------------------------------------------------- submit_many
async def test_submit_many_fails_with_its_first_late_item() -> None:
    batcher: Batcher[int, int] = Batcher(
        RecordingHandler(delay=lambda items: float(items[0])), max_batch_size=1, timeout=1.5
    )
    with pytest.raises(BatchTimeoutError, match="while it was in flight"):
        await batcher.submit_many([1, 1, 1])
    assert (batcher.statistics().completed, batcher.statistics().late) == (1, 2)
    await batcher.drain()


async def test_submit_many_with_return_exceptions_keeps_what_was_in_time() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(delay=1.0), max_batch_size=2, timeout=1.5)
    first, second, third = await batcher.submit_many([1, 2, 3], return_exceptions=True)
    assert (first, second) == (1, 2)
    assert isinstance(third, BatchTimeoutError)
    await batcher.drain()


async def test_submit_many_has_a_timeout_of_its_own() -> None:
    handler = slow()
    batcher: Batcher[int, int] = Batcher(handler, max_batch_size=2)
    with pytest.raises(BatchTimeoutError, match="passed its timeout of 1 s while it was in flight"):
        await batcher.submit_many([1, 2, 3], timeout=1.0)
    assert now() == 1.0
    await batcher.drain()
    assert handler.calls[0].items == (1, 2)
    assert len(handler.calls) == 1
    assert batcher.statistics().late == 3


async def test_a_cancelled_submit_many_is_never_late() -> None:
    batcher: Batcher[int, int] = Batcher(slow(2.0))
    many = batcher.submit_many([1, 2, 3], timeout=1.0)
    one = batcher.submit(4)
    many.cancel()
    assert await one == 4
    now = batcher.statistics()
    assert (now.cancelled, now.late) == (3, 0)


# --------------------------------------------------------------------------------------------- fail
async def test_fail_lets_a_late_item_in_flight_fail_its_whole_batch() -> None:
    handler = slow()
    batcher: Batcher[int, int] = Batcher(handler, timeout_policy="fail")
    late, sibling = await outcomes(batcher.submit(1, timeout=1.0), batcher.submit(2))
    assert kinds_of([late, sibling]) == [BatchTimeoutError] * 2
    assert str(late) == (
        "an item of batcher 'recording' passed its timeout of 1 s while it was in flight"
    )
    assert str(sibling) == (
        "an item of batcher 'recording' failed with its batch, in which one was late"
    )
    assert now() == 1.0
    await batcher.drain()
    assert handler.calls[0].outcome == "cancelled"
    counted = batcher.statistics()
    assert (counted.late, counted.failed) == (1, 1)


async def test_fail_leaves_other_batches_alone() -> None:
    handler = slow(2.0)
    batcher: Batcher[int, int] = Batcher(
        handler, timeout_policy="fail", max_batch_size=1, max_concurrent_batches=2
    )
    late, other = await outcomes(batcher.submit(1, timeout=1.0), batcher.submit(2))
    assert isinstance(late, BatchTimeoutError)
    assert other == 2


async def test_fail_lets_a_late_item_in_the_queue_fail_alone() -> None:
    handler = slow(2.0)
    batcher: Batcher[int, int] = Batcher(handler, timeout_policy="fail", max_batch_size=1)
    first, late, last = await outcomes(
        batcher.submit(1), batcher.submit(2, timeout=1.0), batcher.submit(3)
    )
    assert (first, last) == (1, 3)
    assert isinstance(late, BatchTimeoutError)
    assert handler.items == [1, 3]


async def test_fail_cancels_the_handler_even_without_cancel_abandoned() -> None:
    handler = slow()
    batcher: Batcher[int, int] = Batcher(
        handler, timeout=1.0, timeout_policy="fail", cancel_abandoned=False
    )
    await outcomes(batcher.submit(1))
    await batcher.drain()
    assert handler.calls[0].outcome == "cancelled"


# ----------------------------------------------------------------------------------------- callable
async def test_a_policy_answers_for_the_late_items_alone() -> None:
    asked: list[list[int]] = []

    def policy(items: list[int]) -> list[str]:
        asked.append(items)
        return [f"default for {item}" for item in items]

    handler = slow()
    batcher: Batcher[int, Any] = Batcher(handler, timeout_policy=policy)
    first, second, third = await outcomes(
        batcher.submit(1, timeout=1.0), batcher.submit(2), batcher.submit(3, timeout=1.0)
    )
    assert (first, second, third) == ("default for 1", 2, "default for 3")
    assert sorted(asked[0]) == [1, 3]
    assert len(asked) == 1
    now = batcher.statistics()
    assert (now.late, now.completed) == (2, 1)


async def test_a_policy_is_asked_apart_for_queued_items_and_those_in_flight() -> None:
    asked: list[list[int]] = []

    def policy(items: list[int]) -> list[int]:
        asked.append(items)
        return [-item for item in items]

    batcher: Batcher[int, int] = Batcher(
        slow(), timeout=1.0, timeout_policy=policy, max_batch_size=2
    )
    assert await outcomes(*map(batcher.submit, range(5))) == [0, -1, -2, -3, -4]
    assert asked == [[2, 3, 4], [0, 1]]
    await batcher.drain()


async def test_a_policy_may_be_asynchronous() -> None:
    async def policy(items: list[int]) -> list[int]:
        await asyncio.sleep(0.5)
        return [-item for item in items]

    batcher: Batcher[int, int] = Batcher(slow(), timeout=1.0, timeout_policy=policy)
    assert await batcher.submit(7) == -7
    assert now() == 1.5
    await batcher.drain()


async def test_a_policy_that_answers_none_gives_none_to_each() -> None:
    batcher: Batcher[int, Any] = Batcher(slow(), timeout=1.0, timeout_policy=lambda items: None)
    assert await outcomes(batcher.submit(1), batcher.submit(2)) == [None, None]
    await batcher.drain()


async def test_a_policy_that_raises_gives_each_late_caller_a_copy() -> None:
    original = ZeroDivisionError("policy")

    def policy(items: list[int]) -> list[int]:
        raise original

    batcher: Batcher[int, int] = Batcher(slow(), timeout=1.0, timeout_policy=policy)
    errors = await outcomes(batcher.submit(1), batcher.submit(2))
    assert kinds_of(errors) == [ZeroDivisionError] * 2
    assert [each.__cause__ for each in errors] == [original] * 2
    await batcher.drain()


async def test_a_policy_that_answers_nonsense_is_told_so() -> None:
    batcher: Batcher[int, int] = Batcher(slow(), timeout=1.0, timeout_policy=lambda items: 5)
    with pytest.raises(BatchError, match="must return a sequence of results or None, got int"):
        await batcher.submit(1)
    await batcher.drain()


async def test_the_handler_of_items_that_are_all_the_policys_is_cancelled() -> None:
    handler = slow()
    batcher: Batcher[int, int] = Batcher(handler, timeout=1.0, timeout_policy=lambda items: items)
    assert await batcher.submit(1) == 1
    await batcher.drain()
    assert handler.calls[0].outcome == "cancelled"


async def test_a_policy_is_cancelled_when_nobody_waits_for_it_any_more() -> None:
    ends: list[str] = []

    async def policy(items: list[int]) -> list[int]:
        try:
            await asyncio.sleep(60.0)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        return items

    batcher: Batcher[int, int] = Batcher(slow(), timeout=1.0, timeout_policy=policy)
    ticket = batcher.submit(1)
    await asyncio.sleep(1.5)
    ticket.cancel()
    await batcher.drain()
    assert ends == ["cancelled"]
    assert batcher.statistics().cancelled == 1
    assert batcher.statistics().late == 0


async def test_a_policy_that_gives_its_own_callers_up_is_cancelled() -> None:
    tickets: list[Any] = []

    async def policy(items: list[int]) -> list[int]:
        tickets[0].cancel()
        await asyncio.sleep(3600.0)
        return items

    batcher: Batcher[int, int] = Batcher(slow(), timeout=1.0, timeout_policy=policy)
    tickets.append(batcher.submit(1))
    await batcher.drain()
    assert now() < 3600.0


async def test_a_policy_that_cancels_itself_never_cancels_the_caller() -> None:
    async def policy(items: list[int]) -> list[int]:
        raise asyncio.CancelledError

    batcher: Batcher[int, int] = Batcher(slow(), timeout=1.0, timeout_policy=policy)
    with pytest.raises(HandlerCancelledError):
        await batcher.submit(1)
    await batcher.drain()


async def test_closing_waits_for_a_policy() -> None:
    async def policy(items: list[int]) -> list[int]:
        await asyncio.sleep(5.0)
        return items

    batcher: Batcher[int, int] = Batcher(slow(2.0), timeout=1.0, timeout_policy=policy)
    ticket = batcher.submit(1)
    await asyncio.sleep(1.5)
    await batcher.aclose()
    assert now() == 6.0
    assert await ticket == 1
