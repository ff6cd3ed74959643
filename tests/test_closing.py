"""Draining and closing."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from microbatch import Batcher, BatcherClosedError
from microbatch.testing import RecordingHandler

HOUR = 3600.0


def now() -> float:
    return asyncio.get_running_loop().time()


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# -------------------------------------------------------------------------------------------- drain
async def test_drain_returns_when_all_is_settled_and_no_handler_runs() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(delay=1.0), max_batch_size=2)
    tickets = [batcher.submit(item) for item in range(5)]
    await batcher.drain()
    assert now() == 3.0
    assert all(each.done() for each in tickets)
    assert batcher.statistics().slots_busy == 0


async def test_drain_of_an_idle_batcher_returns_at_once() -> None:
    await Batcher(RecordingHandler()).drain()


async def test_draining_items_do_not_wait_for_companions() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(), max_latency=HOUR)
    ticket = batcher.submit(1)
    await batcher.drain()
    assert ticket.done()
    assert now() == 0.0


async def test_items_that_come_while_draining_do_not_wait_for_companions() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, max_latency=HOUR, max_concurrent_batches=2)
    batcher.submit(1)
    draining = asyncio.create_task(batcher.drain())
    await asyncio.sleep(0.5)
    batcher.submit(2)
    await draining
    assert [call.started for call in handler.calls] == [0.0, 0.5]


async def test_items_that_come_while_draining_with_all_slots_busy_go_next() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, max_latency=HOUR)
    batcher.submit(1)
    draining = asyncio.create_task(batcher.drain())
    await asyncio.sleep(0.5)
    batcher.submit(2)
    await draining
    assert [call.started for call in handler.calls] == [0.0, 1.0]


async def test_after_draining_items_wait_for_companions_again() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler, max_latency=5.0)
    await asyncio.gather(batcher.submit(1), batcher.drain())
    await asyncio.sleep(1.0)
    await batcher.submit(2)
    assert [call.started for call in handler.calls] == [0.0, 6.0]


async def test_a_drained_batcher_can_be_used_again() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler())
    for item in range(3):
        ticket = batcher.submit(item)
        await batcher.drain()
        assert await ticket == item


async def test_several_may_drain_at_once_and_one_may_give_up() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(delay=2.0))
    batcher.submit(1)
    first, second = asyncio.create_task(batcher.drain()), asyncio.create_task(batcher.drain())
    await asyncio.sleep(1.0)
    first.cancel()
    await second
    assert first.cancelled()
    assert now() == 2.0


async def test_drain_returns_even_when_a_callback_of_the_last_item_flushes() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler())
    batcher.submit(1).add_done_callback(lambda _: batcher.flush())
    await batcher.drain()
    assert batcher.statistics().completed == 1


async def test_drain_waits_for_a_handler_that_nobody_awaits_any_more() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=2.0)
    batcher = Batcher(handler, cancel_abandoned=False)
    ticket = batcher.submit(1)
    await asyncio.sleep(1.0)
    ticket.cancel()
    await batcher.drain()
    assert handler.calls[0].outcome == "returned"


# ------------------------------------------------------------------------------------------- aclose
async def test_aclose_answers_that_nothing_was_given_up() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(delay=1.0), max_batch_size=2)
    tickets = [batcher.submit(item) for item in range(5)]
    assert await batcher.aclose() == 0
    assert now() == 3.0
    assert [each.result() for each in tickets] == list(range(5))


async def test_a_batcher_is_closed_once_closing_has_begun() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(delay=1.0))
    ticket = batcher.submit(1)
    assert not batcher.closed
    closing = asyncio.create_task(batcher.aclose())
    await turns()
    assert batcher.closed
    assert not ticket.done()
    await closing
    assert batcher.closed
    assert await ticket == 1


async def test_aclose_within_its_timeout_gives_nothing_up() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(delay=1.0))
    ticket = batcher.submit(1)
    assert await batcher.aclose(timeout=5.0) == 0
    assert now() == 1.0
    assert ticket.result() == 1


async def test_aclose_past_its_timeout_answers_how_many_were_given_up() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(delay=1.0), max_batch_size=2, capacity=4)
    tickets = [batcher.submit(item) for item in range(9)]
    assert await batcher.aclose(timeout=1.5) == 7
    assert now() == 1.5
    assert [type(each.exception()) for each in tickets[2:]] == [BatcherClosedError] * 7
    counted = batcher.statistics()
    assert (counted.completed, counted.failed) == (2, 7)


async def test_aclose_past_its_timeout_gives_up_what_a_submit_many_has_left() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(delay=1.0), max_batch_size=2)
    many = batcher.submit_many(range(6), return_exceptions=True)
    assert await batcher.aclose(timeout=1.5) == 4
    outcomes = await many
    assert outcomes[:2] == [0, 1]
    assert [type(each) for each in outcomes[2:]] == [BatcherClosedError] * 4


async def test_aclose_waits_for_a_cancelled_handler_however_long_it_takes() -> None:
    async def handler(items: list[int]) -> None:
        try:
            await asyncio.sleep(HOUR)
        finally:
            await asyncio.sleep(10.0)

    batcher: Batcher[int, None] = Batcher(handler)
    ticket = batcher.submit(1)
    assert await batcher.aclose(timeout=1.0) == 1
    assert now() == 11.0
    assert isinstance(ticket.exception(), BatcherClosedError)


async def test_aclose_twice_is_the_same_as_once() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler())
    await batcher.submit(1)
    assert await batcher.aclose() == 0
    assert await batcher.aclose() == 0


async def test_a_second_aclose_waits_for_the_same_end() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(delay=10.0))
    ticket = batcher.submit(1)
    first = asyncio.create_task(batcher.aclose())
    await asyncio.sleep(1.0)
    assert await batcher.aclose(timeout=2.0) == 1
    assert await first == 0
    assert now() == 3.0
    assert isinstance(ticket.exception(), BatcherClosedError)


async def test_a_cancelled_aclose_leaves_the_batcher_closed_and_the_items_to_finish() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(delay=10.0), max_latency=HOUR)
    ticket = batcher.submit(1)
    closing = asyncio.create_task(batcher.aclose())
    await asyncio.sleep(1.0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    with pytest.raises(BatcherClosedError):
        batcher.submit(2)
    assert await ticket == 1
    assert now() == 10.0


@pytest.mark.parametrize(
    ("timeout", "error", "message"),
    [
        (-1, ValueError, "timeout must be >= 0, got -1"),
        (-0.5, ValueError, "timeout must be >= 0, got -0.5"),
        (math.nan, ValueError, "timeout must be a finite number of seconds, got nan"),
        ("1", TypeError, "timeout must be a number of seconds or None, got '1'"),
        (True, TypeError, "timeout must be a number of seconds or None, got True"),
    ],
)
async def test_a_bad_timeout_of_aclose_is_named_and_leaves_the_batcher_open(
    timeout: Any, error: type[Exception], message: str
) -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler())
    with pytest.raises(error) as caught:
        await batcher.aclose(timeout=timeout)
    assert str(caught.value) == message
    assert await batcher.submit(1) == 1


# --------------------------------------------------------------------------------------- async with
async def test_async_with_closes_in_the_end() -> None:
    async with Batcher(RecordingHandler(delay=1.0)) as batcher:
        ticket = batcher.submit(1)
    assert ticket.done()
    with pytest.raises(BatcherClosedError):
        batcher.submit(2)


async def test_async_with_finishes_items_when_its_body_fails() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(delay=1.0))
    tickets = []

    async def fail() -> None:
        async with batcher:
            tickets.append(batcher.submit(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert tickets[0].result() == 1


# ------------------------------------------------------------------------------------------ misuse
@pytest.mark.parametrize("wait", ["drain", "aclose"])
async def test_a_handler_that_waits_for_itself_is_told_so(wait: str) -> None:
    async def handler(items: list[int]) -> None:
        await getattr(batcher, wait)()

    batcher: Batcher[int, None] = Batcher(handler)
    with pytest.raises(RuntimeError, match="must not be drained or closed by its own handler"):
        await batcher.submit(1)
    assert await batcher.aclose() == 0


async def test_a_batcher_that_was_closed_while_somebody_drained_stays_closed() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(delay=1.0), max_latency=0.5)
    ticket = batcher.submit(1)
    draining = asyncio.create_task(batcher.drain())
    await turns()
    closing = asyncio.create_task(batcher.aclose())
    closing.cancel()
    await asyncio.wait([closing])
    closing = asyncio.create_task(batcher.aclose())
    await turns()
    closing.cancel()
    await asyncio.gather(ticket, draining, return_exceptions=True)
    with pytest.raises(BatcherClosedError):
        batcher.submit(2)


async def test_what_was_accepted_before_a_cancelled_aclose_does_not_wait_any_more() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(), max_latency=HOUR)
    ticket = batcher.submit(1)
    closing = asyncio.create_task(batcher.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    assert await ticket == 1
    assert asyncio.get_running_loop().time() < 1.0


async def test_a_handler_that_led_to_another_call_is_still_told_that_it_must_not_drain() -> None:
    async def handler(items: list[int]) -> list[int]:
        if items == [0]:
            batcher.submit(1)
            with pytest.raises(RuntimeError, match="must not be drained or closed by its own"):
                await batcher.drain()
        return items

    batcher: Batcher[int, int] = Batcher(handler, max_batch_size=1, max_concurrent_batches=2)
    assert await batcher.submit(0) == 0
    await batcher.drain()
