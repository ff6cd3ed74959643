"""When a batch is formed, and of what: triggers, late binding, and what is left out."""

from __future__ import annotations

import asyncio
import statistics
from typing import Any

import pytest

from microbatch import Batcher, BatchTimeoutError
from microbatch.testing import RecordingHandler

HOUR = 3600.0


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def now() -> float:
    return asyncio.get_running_loop().time()


def items_of(handler: RecordingHandler[Any, Any]) -> list[tuple[Any, ...]]:
    return [call.items for call in handler.calls]


def starts_of(handler: RecordingHandler[Any, Any]) -> list[float]:
    return [round(call.started, 6) for call in handler.calls]


# ----------------------------------------------------------------------------------------- triggers
async def test_a_full_batch_goes_at_once() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler, max_batch_size=3, max_latency=HOUR)
    assert await asyncio.gather(*map(batcher.submit, range(3))) == [0, 1, 2]
    assert now() == 0.0
    assert batcher.statistics().batches == {"size": 1}


async def test_the_oldest_item_waits_for_companions_as_long_as_max_latency() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler, max_batch_size=3, max_latency=0.5)
    first = batcher.submit(1)
    await asyncio.sleep(0.4)
    second = batcher.submit(2)
    await asyncio.gather(first, second)
    assert [(call.items, call.started) for call in handler.calls] == [((1, 2), 0.5)]
    assert batcher.statistics().batches == {"latency": 1}


async def test_without_max_latency_what_came_in_the_same_tick_goes_together() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler)
    await asyncio.gather(*map(batcher.submit, range(5)))
    assert handler.sizes == [5]
    assert batcher.statistics().batches == {"natural": 1}


async def test_without_max_latency_what_piled_up_behind_a_busy_slot_goes_together() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler)
    tickets = []
    for item in range(5):
        tickets.append(batcher.submit(item))
        await asyncio.sleep(0.1)
    await asyncio.gather(*tickets)
    assert items_of(handler) == [(0,), (1, 2, 3, 4)]
    assert starts_of(handler) == [0.0, 1.0]
    assert batcher.statistics().batches == {"natural": 2}


async def test_flush_sends_what_is_queued_without_waiting_for_companions() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler, max_latency=HOUR)
    tickets = [batcher.submit(1), batcher.submit(2)]
    batcher.flush()
    await asyncio.gather(*tickets)
    assert now() == 0.0
    assert items_of(handler) == [(1, 2)]
    assert batcher.statistics().batches == {"flush": 1}


async def test_an_item_that_comes_after_flush_waits_for_companions_again() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, max_latency=10.0)
    first = batcher.submit(1)
    batcher.flush()
    await asyncio.sleep(0.5)
    second = batcher.submit(2)
    await asyncio.gather(first, second)
    assert starts_of(handler) == [0.0, 11.0]


async def test_flush_with_every_slot_busy_lets_the_queue_go_as_slots_become_free() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, max_batch_size=2, max_latency=HOUR)
    tickets = [batcher.submit(item) for item in range(5)]
    batcher.flush()
    await asyncio.gather(*tickets)
    assert items_of(handler) == [(0, 1), (2, 3), (4,)]
    assert starts_of(handler) == [0.0, 1.0, 2.0]
    assert batcher.statistics().batches == {"size": 2, "flush": 1}


async def test_flush_of_nothing_does_nothing() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler)
    batcher.flush()
    await turns()
    assert handler.calls == []


async def test_closing_sends_what_is_queued_without_waiting_for_companions() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler, max_latency=HOUR)
    ticket = batcher.submit(1)
    await batcher.aclose()
    assert await ticket == 1
    assert now() == 0.0
    assert batcher.statistics().batches == {"close": 1}


async def test_a_full_capacity_sends_a_batch_that_nobody_else_could_join() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, max_batch_size=10, max_latency=HOUR, capacity=2)
    await asyncio.gather(*map(batcher.submit, range(4)))
    assert items_of(handler) == [(0, 1), (2, 3)]
    assert starts_of(handler) == [0.0, 1.0]
    assert batcher.statistics().batches == {"capacity": 2}


async def test_statistics_count_calls_and_the_mean_size_of_batches() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(), max_batch_size=4)
    assert batcher.statistics().mean_batch_size == 0.0
    await batcher.submit_many(range(10))
    now = batcher.statistics()
    assert (now.calls, now.batched, now.submitted, now.completed) == (3, 10, 10, 10)
    assert now.mean_batch_size == pytest.approx(10 / 3)
    assert sum(now.batches.values()) == 3


async def test_statistics_tell_where_items_are() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    handler.hold()
    batcher = Batcher(handler, max_batch_size=2, capacity=3)
    tickets = [batcher.submit(item) for item in range(5)]
    await turns()
    now = batcher.statistics()
    assert (now.in_flight, now.queued, now.waiting, now.slots_busy) == (2, 1, 2, 1)
    assert now.submitted == 5
    handler.release()
    await asyncio.gather(*tickets)


async def test_statistics_are_a_snapshot() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler())
    before = batcher.statistics()
    await batcher.submit(1)
    assert before.submitted == 0
    assert before.batches == {}
    with pytest.raises(AttributeError):
        before.submitted = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        before.batches["size"] = 1  # type: ignore[index]


# ------------------------------------------------------------------------------------- late binding
async def test_batches_that_form_late_need_few_calls_and_short_waits() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=0.1)
    batcher = Batcher(handler, max_batch_size=32, max_latency=0.01)
    waits = []

    async def arrive(number: int) -> None:
        await asyncio.sleep(0.004 * number)
        start = now()
        await batcher.submit(number)
        waits.append(now() - start)

    await asyncio.gather(*map(arrive, range(100)))
    assert len(waits) == 100
    assert len(handler.calls) <= 6
    assert statistics.median(waits) <= 0.165


async def test_no_batch_is_formed_while_every_slot_is_busy() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, max_batch_size=4, max_latency=0.1)
    tickets = [batcher.submit(0)]
    for item in range(1, 5):
        await asyncio.sleep(0.2)
        tickets.append(batcher.submit(item))
    await asyncio.gather(*tickets)
    assert items_of(handler) == [(0,), (1, 2, 3, 4)]
    assert starts_of(handler) == [0.1, 1.1]


async def test_a_free_slot_takes_as_many_as_fit_once_a_trigger_holds() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, max_batch_size=4)
    await asyncio.gather(*map(batcher.submit, range(11)))
    assert handler.sizes == [4, 4, 3]
    assert batcher.statistics().batches == {"size": 2, "natural": 1}


async def test_as_many_batches_run_at_once_as_there_are_slots() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, max_batch_size=1, max_concurrent_batches=3)
    tickets = [batcher.submit(item) for item in range(7)]
    await turns()
    assert batcher.statistics().slots_busy == 3
    await asyncio.gather(*tickets)
    assert starts_of(handler) == [0.0] * 3 + [1.0] * 3 + [2.0]


async def test_the_wait_runs_from_when_a_slot_became_free() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, max_batch_size=2, max_latency=0.7)
    tickets = [batcher.submit(1), batcher.submit(2)]
    await asyncio.sleep(0.5)
    tickets.append(batcher.submit(3))
    await asyncio.gather(*tickets)
    assert starts_of(handler) == [0.0, 1.7]


async def test_callers_that_come_back_a_little_later_make_full_batches() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, max_batch_size=8, max_latency=0.25)

    async def worker(number: int) -> None:
        for item in range(3):
            await asyncio.sleep(0.02 * number)
            await batcher.submit(item)

    await asyncio.gather(*(worker(number) for number in range(8)))
    assert handler.sizes == [8, 8, 8]


async def test_a_timer_of_an_older_batch_never_flushes_a_younger_one() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler, max_batch_size=2, max_latency=1.0)
    older = [batcher.submit(1)]  # arms the timer for 1.0
    await asyncio.sleep(0.5)
    older.append(batcher.submit(2))  # and makes the batch full
    await asyncio.gather(*older)
    await asyncio.sleep(0.25)
    younger = batcher.submit(3)
    await younger
    assert starts_of(handler) == [0.5, 1.75]


async def test_callers_that_submit_again_at_once_join_the_next_batch() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, max_batch_size=8)

    async def worker() -> None:
        for item in range(3):
            await batcher.submit(item)

    await asyncio.gather(*(worker() for _ in range(4)))
    assert handler.sizes == [4, 4, 4]


async def test_a_handler_may_submit_to_its_own_batcher() -> None:
    async def handler(items: list[int]) -> list[int]:
        below = [item - 1 for item in items if item]
        await batcher.submit_many(below)
        return items

    batcher: Batcher[int, int] = Batcher(handler, max_batch_size=1, max_concurrent_batches=4)
    assert await batcher.submit(3) == 3
    assert batcher.statistics().calls == 4


# ------------------------------------------------------------------------- cancelled, expired: gone
async def test_cancelled_items_do_not_count_towards_the_size_of_a_batch() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler, max_batch_size=3, max_latency=HOUR)
    first, second = batcher.submit(1), batcher.submit(2)
    assert second.cancel()
    third = batcher.submit(3)
    await turns()
    assert handler.calls == []
    fourth = batcher.submit(4)
    await asyncio.gather(first, third, fourth)
    assert items_of(handler) == [(1, 3, 4)]


async def test_expired_items_never_reach_the_handler_nor_count_towards_the_size() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler, max_batch_size=3, max_latency=HOUR)
    first, second = batcher.submit(1), batcher.submit(2, timeout=1.0)
    with pytest.raises(BatchTimeoutError):
        await second
    third = batcher.submit(3)
    await turns()
    assert handler.calls == []
    fourth = batcher.submit(4)
    await asyncio.gather(first, third, fourth)
    assert items_of(handler) == [(1, 3, 4)]


async def test_a_cancelled_oldest_item_takes_its_wait_with_it() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler, max_batch_size=3, max_latency=1.0)
    batcher.submit(1).cancel()
    await asyncio.sleep(0.5)
    await batcher.submit(2)
    assert [(call.items, call.started) for call in handler.calls] == [((2,), 1.5)]


async def test_items_that_are_all_cancelled_in_the_queue_make_no_batch() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler, max_latency=1.0)
    for ticket in [batcher.submit(item) for item in range(3)]:
        ticket.cancel()
    await asyncio.sleep(2.0)
    assert handler.calls == []
    assert batcher.statistics().cancelled == 3


async def test_a_cancelled_submit_many_leaves_the_queue_whole() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler, max_batch_size=100, max_latency=1.0)
    first = batcher.submit(1)
    many = batcher.submit_many([2, 3, 4])
    last = batcher.submit(5)
    many.cancel()
    assert await asyncio.gather(first, last) == [1, 5]
    assert items_of(handler) == [(1, 5)]
    assert batcher.statistics().cancelled == 3


async def test_a_cancelled_submit_many_is_taken_out_of_queue_and_flight() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    handler.hold()
    batcher = Batcher(handler, max_batch_size=2)
    first = batcher.submit(1)
    many = batcher.submit_many([2, 3, 4])
    last = batcher.submit(5)
    await turns()
    many.cancel()
    await turns()
    handler.release()
    assert await asyncio.gather(first, last) == [1, 5]
    assert items_of(handler) == [(1, 2), (5,)]
    with pytest.raises(asyncio.CancelledError):
        await many
