"""In which order results are released."""

from __future__ import annotations

import asyncio
from typing import Any

from microbatch import Batcher, BatchTimeoutError
from microbatch.testing import RecordingHandler


def falling(items: list[float]) -> float:
    """The first batch takes longest."""
    return 10.0 - items[0]


async def finishing(batcher: Batcher[Any, Any], count: int) -> list[tuple[Any, float]]:
    """Submit so many items, and give which was done when."""
    done: list[tuple[Any, float]] = []

    async def one(item: int) -> None:
        try:
            await batcher.submit(item)
        finally:
            done.append((item, asyncio.get_running_loop().time()))

    await asyncio.gather(*map(one, range(count)), return_exceptions=True)
    return done


async def test_unordered_results_come_as_they_are_ready() -> None:
    handler: RecordingHandler[Any, Any] = RecordingHandler(delay=falling)
    batcher: Batcher[Any, Any] = Batcher(handler, max_batch_size=1, max_concurrent_batches=3)
    assert await finishing(batcher, 3) == [(2, 8.0), (1, 9.0), (0, 10.0)]


async def test_ordered_results_come_in_the_order_of_submission() -> None:
    handler: RecordingHandler[Any, Any] = RecordingHandler(delay=falling)
    batcher: Batcher[Any, Any] = Batcher(
        handler, max_batch_size=2, max_concurrent_batches=3, ordering="ordered"
    )
    assert await finishing(batcher, 6) == [(item, 10.0) for item in range(6)]


async def test_a_slot_is_free_before_ordered_results_are_released() -> None:
    handler: RecordingHandler[Any, Any] = RecordingHandler(delay=falling)
    batcher: Batcher[Any, Any] = Batcher(
        handler, max_batch_size=1, max_concurrent_batches=2, ordering="ordered"
    )
    assert await finishing(batcher, 3) == [(0, 10.0), (1, 10.0), (2, 17.0)]
    assert [call.started for call in handler.calls] == [0.0, 0.0, 9.0]


async def test_a_failed_batch_keeps_its_place() -> None:
    def fail_first(items: list[int]) -> list[int]:
        if items[0] == 1:
            raise ValueError
        return items

    handler: RecordingHandler[Any, Any] = RecordingHandler(fail_first, delay=falling)
    batcher: Batcher[Any, Any] = Batcher(
        handler, max_batch_size=1, max_concurrent_batches=3, ordering="ordered"
    )
    assert [item for item, _ in await finishing(batcher, 3)] == [0, 1, 2]


async def test_a_late_item_is_told_on_time_and_delays_nobody() -> None:
    handler: RecordingHandler[Any, Any] = RecordingHandler(delay=falling)
    batcher: Batcher[Any, Any] = Batcher(
        handler, max_batch_size=1, max_concurrent_batches=2, ordering="ordered"
    )
    first, second = batcher.submit(0, timeout=3.0), batcher.submit(1)
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    assert isinstance(outcomes[0], BatchTimeoutError)
    assert outcomes[1] == 1
    assert asyncio.get_running_loop().time() == 9.0


async def test_closing_waits_until_ordered_results_are_released() -> None:
    handler: RecordingHandler[Any, Any] = RecordingHandler(delay=falling)
    batcher: Batcher[Any, Any] = Batcher(
        handler, max_batch_size=1, max_concurrent_batches=2, ordering="ordered"
    )
    tickets = [batcher.submit(0), batcher.submit(1)]
    await batcher.aclose()
    assert all(each.done() for each in tickets)


async def test_the_order_stands_when_keys_come_into_it() -> None:
    handler: RecordingHandler[Any, Any] = RecordingHandler(delay=falling)
    batcher: Batcher[Any, Any] = Batcher(
        handler, max_batch_size=1, max_concurrent_batches=3, ordering="ordered"
    )
    done: list[int] = []
    for item, key in ((0, None), (1, "other"), (2, None)):
        own: dict[str, Any] = {"key": key} if key else {}
        batcher.submit(item, **own).add_done_callback(lambda ticket: done.append(ticket.result()))
        await asyncio.sleep(0.1)
    await batcher.drain()
    assert done == [1, 0, 2]


async def test_a_batch_that_a_handler_fills_comes_after_its_own() -> None:
    """Eager handlers run before their batch has a task."""

    async def handler(items: list[int]) -> list[int]:
        if items == [0]:
            submit(1)
            await asyncio.sleep(1.0)
        return items

    def submit(item: int) -> None:
        batcher.submit(item).add_done_callback(lambda ticket: done.append(ticket.result()))

    done: list[int] = []
    batcher: Batcher[int, int] = Batcher(
        handler, max_batch_size=1, max_concurrent_batches=2, ordering="ordered"
    )
    submit(0)
    await batcher.drain()
    assert done == [0, 1]


async def test_a_batch_that_cannot_be_called_for_keeps_its_place() -> None:
    async def handler(items: list[int]) -> list[int]:
        await asyncio.sleep(1.0)
        return items

    def pick(items: list[int]) -> Any:
        if items == [1]:
            raise ValueError("no")
        return handler(items)

    batcher: Batcher[int, int] = Batcher(
        handler, max_batch_size=1, max_concurrent_batches=2, ordering="ordered"
    )
    batcher.router.handler = pick
    assert await finishing(batcher, 3) == [(0, 1.0), (1, 1.0), (2, 1.0)]
