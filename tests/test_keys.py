"""Batches of one key: which key goes when, and what the keys share."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch import Batcher, CapacityError, batched, current_batch
from microbatch.testing import RecordingHandler, run

HOUR = 3600.0


def first(item: str) -> str:
    return item[0]


def items_of(handler: RecordingHandler[Any, Any]) -> list[tuple[Any, ...]]:
    return [call.items for call in handler.calls]


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.every_loop
async def test_a_batch_holds_items_of_one_key() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler(lambda items: [i.upper() for i in items])
    batcher = Batcher(handler, key=first)
    answers = await asyncio.gather(*map(batcher.submit, ["a1", "b1", "a2", "b2"]))
    assert answers == ["A1", "B1", "A2", "B2"]
    assert items_of(handler) == [("a1", "a2"), ("b1", "b2")]


async def test_size_holds_for_each_key() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher = Batcher(handler, key=first, max_batch_size=2, max_latency=HOUR)
    tickets = [batcher.submit(item) for item in ("a1", "b1", "a2", "c1")]
    await asyncio.gather(tickets[0], tickets[2])
    assert items_of(handler) == [("a1", "a2")]
    assert batcher.statistics().batches == {"size": 1}
    batcher.flush()
    await asyncio.gather(*tickets)


async def test_latency_holds_for_each_key() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher = Batcher(handler, key=first, max_latency=1.0)
    tickets = [batcher.submit("a1")]
    await asyncio.sleep(0.5)
    tickets += [batcher.submit("b1"), batcher.submit("a2")]
    await asyncio.gather(*tickets)
    assert [(call.items, call.started) for call in handler.calls] == [
        (("a1", "a2"), 1.0),
        (("b1",), 1.5),
    ]
    assert batcher.statistics().batches == {"latency": 2}


async def test_of_the_due_keys_the_one_with_the_oldest_item_goes_first() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher = Batcher(handler, key=first)
    handler.hold()
    busy = batcher.submit("x")
    await turns()
    tickets = [batcher.submit(item) for item in ("c1", "a1", "b1", "a2", "c2")]
    handler.release()
    await asyncio.gather(busy, *tickets)
    assert items_of(handler) == [("x",), ("c1", "c2"), ("a1", "a2"), ("b1",)]


async def test_a_full_key_goes_before_an_older_one_that_still_waits() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher = Batcher(handler, key=first, max_batch_size=2, max_latency=1.0)
    await asyncio.gather(*map(batcher.submit, ["a1", "b1", "b2"]))
    assert items_of(handler) == [("b1", "b2"), ("a1",)]


async def test_keys_share_the_slots() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, key=first, max_concurrent_batches=2)
    await asyncio.gather(*map(batcher.submit, ["a", "b", "c"]))
    assert [call.started for call in handler.calls] == [0.0, 0.0, 1.0]


async def test_one_key_takes_no_more_slots_than_it_may() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler(delay=1.0)
    batcher = Batcher(
        handler,
        key=first,
        max_batch_size=1,
        max_concurrent_batches=3,
        max_concurrent_batches_per_key=2,
    )
    await asyncio.gather(*map(batcher.submit, ["a1", "a2", "a3", "a4", "b1", "b2"]))
    starts = [(call.started, call.items[0]) for call in handler.calls]
    assert sorted(starts) == [
        (0.0, "a1"),
        (0.0, "a2"),
        (0.0, "b1"),
        (1.0, "a3"),
        (1.0, "a4"),
        (1.0, "b2"),
    ]


async def test_a_key_that_had_all_its_slots_waits_from_when_it_may_go() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler(delay=1.0)
    batcher = Batcher(
        handler,
        key=first,
        max_concurrent_batches=2,
        max_concurrent_batches_per_key=1,
        max_latency=0.25,
    )
    one = batcher.submit("a1")
    await asyncio.sleep(0.5)
    two = batcher.submit("a2")
    await asyncio.gather(one, two)
    assert [call.started for call in handler.calls] == [0.25, 1.5]


async def test_a_batch_of_one_key_makes_no_other_wait_longer() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, key=first, max_batch_size=2, max_latency=0.5)
    tickets = [batcher.submit(item) for item in ("a1", "a2", "b1")]
    await asyncio.gather(*tickets)
    assert [call.started for call in handler.calls] == [0.0, 1.0]


async def test_keys_share_the_capacity() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, key=first, capacity=2, overflow="reject", max_latency=HOUR)
    tickets = [batcher.submit("a"), batcher.submit("b")]
    with pytest.raises(CapacityError):
        batcher.submit("c")
    await asyncio.gather(*tickets)
    assert batcher.statistics().batches == {"capacity": 1, "latency": 1}


async def test_waiting_items_are_admitted_first_come_first_served() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, key=first, capacity=3)
    tickets = [batcher.submit(item) for item in ("a1", "b1", "a2", "b2", "a3")]
    assert batcher.statistics().waiting == 2
    await asyncio.gather(*tickets)
    assert items_of(handler) == [("a1", "a2"), ("b1", "b2"), ("a3",)]


async def test_a_key_may_be_given_with_the_item() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher = Batcher(handler, key=first)
    await asyncio.gather(
        batcher.submit("a1"),
        batcher.submit("a2", key="b"),
        batcher.submit("b1"),
        batcher.submit_many(["c1", "a3"], key="a"),
    )
    assert items_of(handler) == [("a1", "c1", "a3"), ("a2", "b1")]


async def test_a_key_may_be_given_where_there_is_no_function_for_it() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher = Batcher(handler)
    tickets = [batcher.submit("p1"), batcher.submit("q1", key="q"), batcher.submit("p2")]
    await asyncio.gather(*tickets)
    assert items_of(handler) == [("p1", "p2"), ("q1",)]


async def test_the_handler_is_told_the_key() -> None:
    @batched(key=first)
    async def keys(items: list[str]) -> list[Any]:
        return [current_batch().key] * len(items)

    assert await asyncio.gather(keys("a1"), keys("b1"), keys("a2")) == ["a", "b", "a"]


async def test_a_key_that_raises_raises_in_submit_and_hurts_nobody_else() -> None:
    batcher: Batcher[str, str] = Batcher(RecordingHandler(), key=first)
    good = batcher.submit("a")
    with pytest.raises(IndexError):
        batcher.submit("")
    with pytest.raises(IndexError):
        batcher.submit_many(["b", ""])
    assert await good == "a"
    assert batcher.statistics().submitted == 1
    assert await batcher.submit("c") == "c"


async def test_a_key_that_cannot_be_hashed_is_a_type_error() -> None:
    batcher: Batcher[Any, Any] = Batcher(RecordingHandler(), key=lambda item: item)
    with pytest.raises(TypeError, match=r"^key must be hashable, got \[1\]$"):
        batcher.submit([1])
    with pytest.raises(TypeError, match=r"^key must be hashable, got {}$"):
        batcher.submit(1, key={})
    assert batcher.statistics().submitted == 0


async def test_a_key_that_cannot_be_compared_raises_its_own_error() -> None:
    class Odd:
        def __hash__(self) -> int:
            return hash("a")

        def __eq__(self, other: object) -> bool:
            raise TypeError("odd")

    batcher: Batcher[str, str] = Batcher(RecordingHandler(), max_latency=1.0)
    first = batcher.submit("first", key="a")
    with pytest.raises(TypeError, match=r"^odd$"):
        batcher.submit("second", key=Odd())
    assert await first == "first"


async def test_ordered_results_keep_their_order_within_each_key() -> None:
    def slow_first(items: list[str]) -> float:
        return 2.0 if items == ["a1"] else 1.0 if items == ["b1"] else 0.25

    handler: RecordingHandler[str, str] = RecordingHandler(delay=slow_first)
    batcher = Batcher(
        handler, key=first, max_batch_size=1, max_concurrent_batches=9, ordering="ordered"
    )
    done: list[str] = []

    async def call(item: str) -> None:
        done.append(await batcher.submit(item))

    await asyncio.gather(*map(call, ["a1", "b1", "a2", "b2", "c1"]))
    assert done == ["c1", "b1", "b2", "a1", "a2"]


async def test_map_reads_ahead_so_that_keys_can_fill_their_batches() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher = Batcher(handler, key=first, max_batch_size=10, max_latency=HOUR)
    source = [f"{key}{number}" for number in range(10) for key in "abcdefgh"]
    assert [answer async for answer in batcher.map(source)] == source
    assert set(handler.sizes) == {10}


async def test_distinct_keys_leave_nothing_behind() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(), key=Key)
    await batcher.submit_many(range(500))
    await turns()
    gc.collect()
    assert [each for each in gc.get_objects() if type(each) is Key] == []


class Key:
    def __init__(self, number: int) -> None:
        self.number = number


@given(
    items=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=60),
    size=st.integers(1, 5),
    slots=st.integers(1, 3),
    per_key=st.none() | st.integers(1, 2),
    latency=st.sampled_from([0.0, 0.5, 2.0]),
)
def test_every_item_is_handled_once_with_others_of_its_key_in_order(
    items: list[tuple[int, int]], size: int, slots: int, per_key: int | None, latency: float
) -> None:
    running: Counter[int] = Counter()
    handled: list[tuple[int, int]] = []

    async def handler(batch: list[tuple[int, int]]) -> list[tuple[int, int]]:
        (key,) = {key for key, _ in batch}
        running[key] += 1
        assert sum(running.values()) <= slots
        assert running[key] <= (per_key or slots)
        assert len(batch) <= size
        handled.extend(batch)
        await asyncio.sleep(1.0)
        running[key] -= 1
        return batch

    async def main() -> None:
        batcher = Batcher(
            handler,
            key=lambda item: item[0],
            max_batch_size=size,
            max_latency=latency,
            max_concurrent_batches=slots,
            max_concurrent_batches_per_key=per_key,
        )
        numbered = [(key, number) for number, (key, _) in enumerate(items)]
        tickets = []
        for item, (_, pause) in zip(numbered, items, strict=True):
            tickets.append(batcher.submit(item))
            await asyncio.sleep(pause / 4)
        assert await asyncio.gather(*tickets) == numbered
        for key in range(5):
            of_key = [item for item in handled if item[0] == key]
            assert of_key == sorted(of_key)

    run(main)
