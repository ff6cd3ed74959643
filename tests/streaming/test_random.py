"""Whatever handlers, readers and clocks do: each reader gets its chunks in order, then its end."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microbatch import END, Batcher, BatchTimeoutError, CapacityError, testing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from microbatch import Stream

Way = Literal["read", "submit", "close", "break", "cancel", "drop"]


class Poison(Exception):
    """What an item may end with."""


@dataclasses.dataclass(frozen=True)
class Item:
    """What is asked for, and what its reader does."""

    count: int
    fails: bool
    way: Way
    leaves_after: int
    pauses: list[float]
    timeout: float | None
    starts: float


@dataclasses.dataclass
class Reading:
    """What a reader got."""

    item: Item
    chunks: list[int] = dataclasses.field(default_factory=list)
    end: Any = None


DELAYS = st.sampled_from([0.0, 0.0, 0.5, 1.0, 3.0])
ITEMS = st.builds(
    Item,
    count=st.integers(0, 6),
    fails=st.booleans(),
    way=st.sampled_from(["read", "read", "submit", "close", "break", "cancel", "drop"]),
    leaves_after=st.integers(0, 3),
    pauses=st.lists(DELAYS, min_size=1, max_size=3),
    timeout=st.sampled_from([None, None, 2.25, 7.25]),
    starts=DELAYS,
)
OPTIONS = st.fixed_dictionaries(
    {
        "max_batch_size": st.integers(1, 4),
        "max_latency": st.sampled_from([0.0, 1.0]),
        "max_concurrent_batches": st.integers(1, 2),
        "stream_buffer": st.integers(1, 3),
        "stream_overflow": st.sampled_from(["wait", "fail"]),
        "cancel_abandoned": st.booleans(),
    }
)


class Handler:
    """Give each item its numbers, then its end; return early, fail or take its time as told."""

    def __init__(self, delays: list[float], fails_at: int | None) -> None:
        self.delays = delays
        self.fails_at = fails_at
        self.open = 0

    async def __call__(self, items: list[Item]) -> AsyncIterator[list[Any]]:
        self.open += 1
        try:
            alive = tuple(range(len(items)))
            step = 0
            while alive:
                if step == self.fails_at:
                    raise Poison("batch")
                await asyncio.sleep(self.delays[step % len(self.delays)])
                before = alive
                alive = yield [self.chunk(items[place], step) for place in alive]
                assert set(alive) < set(before) or alive == before
                step += 1
        finally:
            self.open -= 1

    def chunk(self, item: Item, step: int) -> Any:
        if step < item.count:
            return step
        return Poison("item") if item.fails else END


async def consume(batcher: Batcher[Item, list[int]], reading: Reading) -> None:
    item = reading.item
    await asyncio.sleep(item.starts)
    try:
        if item.way == "submit":
            reading.chunks = await batcher.submit(item, timeout=item.timeout)
        else:
            await follow(batcher, reading)
        reading.end = reading.end or "end"
    except (Poison, BatchTimeoutError, CapacityError) as error:
        reading.end = error


async def follow(batcher: Batcher[Item, list[int]], reading: Reading) -> None:
    item, stream = reading.item, batcher.stream(reading.item, timeout=reading.item.timeout)
    if item.way == "cancel":  # the task is kept, and what it was cancelled in with it
        async with stream:
            await take_some(stream, reading)
    elif item.way != "drop" or item.leaves_after:
        await take_some(stream, reading)
    else:
        reading.end = "left"


async def take_some(stream: Stream[int], reading: Reading) -> None:
    item = reading.item
    async for chunk in stream:
        reading.chunks.append(chunk)
        if item.way != "read" and len(reading.chunks) > item.leaves_after:
            reading.end = "left"
            if item.way == "close":
                await stream.aclose()
            elif item.way == "cancel":
                asyncio.current_task().cancel()  # type: ignore[union-attr]
            else:
                return
        await asyncio.sleep(item.pauses[chunk % len(item.pauses)])


def check(reading: Reading, options: dict[str, Any], fails_at: int | None) -> None:
    item, end = reading.item, reading.end
    if isinstance(end, BatchTimeoutError):
        assert item.timeout is not None
    elif isinstance(end, CapacityError):
        assert options["stream_overflow"] == "fail"
        assert len(reading.chunks) >= options["stream_buffer"]
    elif isinstance(end, Poison):
        whose = end.args[0]
        assert item.fails if whose == "item" else fails_at is not None
        assert whose == "batch" or item.way == "submit" or len(reading.chunks) == item.count
    elif end != "left":
        assert (end, item.fails, len(reading.chunks)) == ("end", False, item.count)
    assert reading.chunks == list(range(len(reading.chunks)))
    assert len(reading.chunks) <= item.count


@pytest.mark.usefixtures("tidy")
@settings(deadline=None)
@given(
    items=st.lists(ITEMS, min_size=1, max_size=7),
    options=OPTIONS,
    delays=st.lists(DELAYS, min_size=1, max_size=3),
    fails_at=st.none() | st.integers(0, 4),
)
def test_each_reader_gets_its_chunks_in_order_and_then_its_end(
    items: list[Item], options: dict[str, Any], delays: list[float], fails_at: int | None
) -> None:
    handler = Handler(delays, fails_at)
    readings = [Reading(item) for item in items]

    async def main() -> None:
        batcher: Batcher[Item, list[int]] = Batcher(handler, stream=True, **options)
        tasks = [asyncio.create_task(consume(batcher, reading)) for reading in readings]
        done, _ = await asyncio.wait(tasks)
        for task in done:
            assert task.cancelled() or task.exception() is None
        await batcher.aclose()
        counts = batcher.statistics()
        assert (counts.in_flight, counts.queued, counts.slots_busy) == (0, 0, 0)

    testing.run(main)
    assert handler.open == 0
    for reading in readings:
        check(reading, options, fails_at)
