"""Priorities: strict among fresh items, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch import Batcher
from microbatch.testing import RecordingHandler, run


def urgency(item: tuple[int, int]) -> int:
    return item[0]


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_fresh_items_go_strictly_by_priority() -> None:
    handler: RecordingHandler[tuple[int, int], Any] = RecordingHandler(delay=0.1)
    batcher = Batcher(handler, priority=urgency, max_batch_size=2)
    items = [(2, 0), (0, 1), (1, 2), (0, 3), (2, 4), (1, 5)]
    await batcher.submit_many(items)
    assert handler.items == sorted(items)


async def test_an_urgent_item_overtakes_what_is_queued() -> None:
    handler: RecordingHandler[tuple[int, int], Any] = RecordingHandler(delay=0.5)
    batcher = Batcher(handler, priority=urgency, max_batch_size=1)
    tickets = [batcher.submit((1, number)) for number in range(3)]
    await asyncio.sleep(0.25)
    tickets.append(batcher.submit((0, 3)))
    await asyncio.gather(*tickets)
    assert handler.items == [(1, 0), (0, 3), (1, 1), (1, 2)]


async def test_an_item_that_waited_long_enough_goes_before_urgent_ones() -> None:
    handler: RecordingHandler[tuple[int, int], Any] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, priority=urgency, max_batch_size=1, ageing=2.0)

    async def urgent_ones() -> None:
        for number in range(20):
            batcher.submit((0, number))
            await asyncio.sleep(0.5)

    flood = asyncio.create_task(urgent_ones())
    await asyncio.sleep(0.1)
    await batcher.submit((3, 0))
    place = handler.items.index((3, 0))
    # Submitted at 0.1 with 3 * 2.0 seconds to make up for: whatever came by 6.1 may go before it.
    assert place == len([number for number in range(20) if number * 0.5 <= 6.1])
    await flood
    await batcher.drain()


async def test_a_priority_may_be_given_with_the_item() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher = Batcher(handler)
    await asyncio.gather(
        batcher.submit("usual"),
        batcher.submit("later", priority=1),
        batcher.submit_many(["sooner", "soon"], priority=-0.5),
    )
    assert handler.items == ["sooner", "soon", "usual", "later"]


async def test_priority_decides_between_keys() -> None:
    handler: RecordingHandler[tuple[int, int], Any] = RecordingHandler()
    batcher = Batcher(handler, key=lambda item: item[1], priority=urgency)
    handler.hold()
    busy = batcher.submit((0, 0))
    await turns()
    tickets = [batcher.submit(item) for item in ((2, 1), (1, 2), (0, 3), (3, 2))]
    handler.release()
    await asyncio.gather(busy, *tickets)
    assert [call.items for call in handler.calls] == [
        ((0, 0),),
        ((0, 3),),
        ((1, 2), (3, 2)),
        ((2, 1),),
    ]


@pytest.mark.parametrize(
    ("priority", "error", "message"),
    [
        (math.nan, ValueError, "priority must be finite, got nan"),
        (-math.inf, ValueError, "priority must be finite, got -inf"),
        (10**400, ValueError, f"priority must be finite, got {10**400}"),
        ("high", TypeError, "priority must be a number, got 'high'"),
        (None, TypeError, "priority must be a number, got None"),
        (False, TypeError, "priority must be a number, got False"),
    ],
)
async def test_what_is_no_priority_is_refused(
    priority: Any, error: type[Exception], message: str
) -> None:
    batcher: Batcher[str, str] = Batcher(RecordingHandler(), priority=lambda _: priority)
    with pytest.raises(error) as caught:
        batcher.submit("a")
    assert str(caught.value) == message
    assert batcher.statistics().submitted == 0


arrivals = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8)), max_size=50)


@given(arrivals=arrivals, size=st.integers(1, 4), ageing=st.sampled_from([0.25, 1.0, 3.0]))
def test_no_item_is_overtaken_by_one_that_came_too_much_later(
    arrivals: list[tuple[int, int]], size: int, ageing: float
) -> None:
    """Items are (number, priority, submitted); each pause is in quarters of a second."""
    started: dict[int, int] = {}
    items: list[tuple[int, int, float]] = []

    async def handler(batch: list[tuple[int, int, float]]) -> list[int]:
        for number, _, _ in batch:
            started[number] = len(started)
        await asyncio.sleep(1.0)
        return [number for number, _, _ in batch]

    async def main() -> None:
        batcher = Batcher(
            handler, priority=lambda item: item[1], max_batch_size=size, ageing=ageing
        )
        tickets = []
        for number, (priority, pause) in enumerate(arrivals):
            items.append((number, priority, asyncio.get_running_loop().time()))
            tickets.append(batcher.submit(items[-1]))
            await asyncio.sleep(pause / 4)
        assert await asyncio.gather(*tickets) == [*range(len(arrivals))]

    run(main)
    for one in items:
        for other in items[one[0] + 1 :]:
            later, steps = other[2] - one[2], one[1] - other[1]
            if later > steps * ageing + 1e-6:  # too much later, or no more urgent
                assert started[one[0]] < started[other[0]]
