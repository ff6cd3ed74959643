"""What is told of batches that take several calls, and of those that fail half answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import BatchEnded, Batcher
from tests.attempts.trying import Trouble, outcomes, policy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EACH = pytest.mark.parametrize(
    "options", [{}, {"retry": policy(2, 1.0)}, {"on_error": "bisect"}], ids=["", "retry", "bisect"]
)
ORDERINGS = pytest.mark.parametrize("ordering", ["unordered", "ordered"])


async def ends_of(batcher: Batcher[Any, Any], events: list[Any]) -> list[str]:
    await batcher.drain()
    now = batcher.statistics()
    ends = [event.outcome for event in events if isinstance(event, BatchEnded)]
    assert now.cancelled_batches == ends.count("cancelled")
    assert now.failed_batches == ends.count("raised")
    return ends


@EACH
@ORDERINGS
async def test_a_handler_that_cancels_itself_is_told_as_cancelled(
    options: Any, ordering: Any
) -> None:
    async def handler(items: list[str]) -> list[str]:
        raise asyncio.CancelledError

    events: list[Any] = []
    batcher = Batcher(handler, observer=events.append, ordering=ordering, **options)
    await outcomes(batcher.submit("a"))
    assert await ends_of(batcher, events) == ["cancelled"]


@EACH
async def test_a_call_that_nobody_awaits_any_more_is_told_as_cancelled(options: Any) -> None:
    async def handler(items: list[str]) -> list[str]:
        await asyncio.sleep(10.0)
        return items

    events: list[Any] = []
    batcher = Batcher(handler, observer=events.append, **options)
    ticket = batcher.submit("a")
    await asyncio.sleep(1.0)
    ticket.cancel()
    assert await ends_of(batcher, events) == ["cancelled"]


async def test_a_batch_that_is_given_up_before_it_is_tried_again_has_raised() -> None:
    async def handler(items: list[str]) -> list[str]:
        raise Trouble

    events: list[Any] = []
    batcher = Batcher(handler, observer=events.append, retry=policy(2, 10.0))
    ticket = batcher.submit("a")
    await asyncio.sleep(1.0)
    ticket.cancel()
    assert await ends_of(batcher, events) == ["raised"]


async def test_a_failure_outlasts_a_later_cancellation() -> None:
    async def handler(items: list[str]) -> list[str]:
        raise asyncio.CancelledError if items == ["b"] else Trouble

    events: list[Any] = []
    batcher = Batcher(handler, observer=events.append, on_error="bisect")
    await outcomes(*map(batcher.submit, "ab"))
    assert await ends_of(batcher, events) == ["raised"]


@EACH
@ORDERINGS
async def test_a_generator_that_raises_is_told_as_failed(options: Any, ordering: Any) -> None:
    async def handler(items: list[str]) -> AsyncIterator[tuple[int, str]]:
        for place, item in enumerate(items):
            if item == "c":
                raise Trouble
            yield place, item

    events: list[Any] = []
    batcher = Batcher(handler, observer=events.append, ordering=ordering, **options)
    *results, error = await outcomes(*map(batcher.submit, "abc"))
    assert results == ["a", "b"]
    assert type(error) is Trouble
    assert await ends_of(batcher, events) == ["raised"]
    assert events[-1].failed == 1


@ORDERINGS
async def test_what_a_generator_left_unanswered_is_sent_again(ordering: Any) -> None:
    calls: list[list[str]] = []
    done: list[str] = []

    async def handler(items: list[str]) -> AsyncIterator[tuple[int, str]]:
        calls.append(items)
        for place, item in enumerate(items):
            if len(calls) > 1 or item in "ac":
                yield place, item + str(len(calls))
        if len(calls) < 2:
            raise Trouble

    batcher = Batcher(handler, ordering=ordering, retry=policy(2))
    tickets = [batcher.submit(item) for item in "abcd"]
    for ticket in tickets:
        ticket.add_done_callback(lambda ticket: done.append(ticket.result()))
    assert await asyncio.gather(*tickets) == ["a1", "b2", "c1", "d2"]
    assert calls == [["a", "b", "c", "d"], ["b", "d"]]
    in_turn = ["a1", "b2", "c1", "d2"]
    assert done == (in_turn if ordering == "ordered" else sorted(in_turn, key=lambda r: r[1]))
    assert batcher.statistics().retried == 2


async def test_an_answer_that_is_held_may_still_be_given_up() -> None:
    async def handler(items: list[str]) -> AsyncIterator[tuple[int, str]]:
        if items == ["a", "b", "c"]:
            yield 0, "a"
            tickets[1].cancel()
            yield 1, "b"
            raise Trouble
        await asyncio.sleep(1.0)
        yield 0, "c"

    batcher: Batcher[str, str] = Batcher(handler, ordering="ordered", retry=policy(2))
    tickets = [batcher.submit(item) for item in "abc"]
    await asyncio.sleep(0.5)
    tickets[0].cancel()
    results = await outcomes(*tickets)
    assert [type(each) for each in results[:2]] == [asyncio.CancelledError] * 2
    assert results[2] == "c"
