"""Batches that may weigh only so much."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch import Batcher, OverweightError, batched, current_batch
from microbatch.testing import RecordingHandler, run

HOUR = 3600.0


def items_of(handler: RecordingHandler[Any, Any]) -> list[tuple[Any, ...]]:
    return [call.items for call in handler.calls]


async def test_the_next_item_that_does_not_fit_closes_the_batch() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher = Batcher(handler, max_batch_weight=6, weigh=len)
    await asyncio.gather(*map(batcher.submit, ["aaa", "bb", "cc", "d", "eee", "f"]))
    assert items_of(handler) == [("aaa", "bb"), ("cc", "d", "eee"), ("f",)]


async def test_a_batch_goes_as_soon_as_it_is_as_heavy_as_it_may_be() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher = Batcher(handler, max_batch_weight=6, weigh=len, max_latency=HOUR)
    tickets = [batcher.submit("aaaa"), batcher.submit("bb"), batcher.submit("c")]
    await asyncio.gather(*tickets[:2])
    assert items_of(handler) == [("aaaa", "bb")]
    assert batcher.statistics().batches == {"weight": 1}
    batcher.flush()
    await tickets[2]


async def test_an_item_heavier_than_the_bound_goes_alone_in_its_turn() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher = Batcher(handler, max_batch_weight=6, weigh=len)
    await asyncio.gather(*map(batcher.submit, ["a", "bbbbbbbbb", "c", "d"]))
    assert items_of(handler) == [("a",), ("bbbbbbbbb",), ("c", "d")]


async def test_an_item_heavier_than_the_bound_is_refused_where_that_is_asked() -> None:
    batcher: Batcher[str, str] = Batcher(
        RecordingHandler(), max_batch_weight=6, weigh=len, overweight="reject", name="texts"
    )
    fits = batcher.submit("ffffff")
    with pytest.raises(OverweightError) as caught:
        batcher.submit("too heavy")
    assert str(caught.value) == "weight must be <= max_batch_weight (6) for batcher 'texts', got 9"
    with pytest.raises(ValueError, match=r"got 7$"):
        batcher.submit_many(["a", "bbbbbbb"])
    assert await fits == "ffffff"
    assert (batcher.statistics().submitted, batcher.statistics().rejected) == (1, 2)


async def test_size_holds_too() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher = Batcher(handler, max_batch_weight=6, weigh=len, max_batch_size=2)
    await asyncio.gather(*map(batcher.submit, ["a", "b", "c"]))
    assert items_of(handler) == [("a", "b"), ("c",)]


async def test_a_weight_may_be_given_with_the_item() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher = Batcher(handler, max_batch_weight=6)
    tickets = [batcher.submit("a", weight=4), batcher.submit("b", weight=4), batcher.submit("c")]
    await asyncio.gather(*tickets)
    assert items_of(handler) == [("a",), ("b", "c")]


async def test_a_weight_without_a_bound_is_refused() -> None:
    batcher: Batcher[str, str] = Batcher(RecordingHandler())
    with pytest.raises(
        ValueError, match=r"^weight must not be given without max_batch_weight, got"
    ):
        batcher.submit("a", weight=2)


@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        (-1, ValueError, "weight must be >= 0 and finite, got -1"),
        (math.nan, ValueError, "weight must be >= 0 and finite, got nan"),
        (math.inf, ValueError, "weight must be >= 0 and finite, got inf"),
        (10**400, ValueError, f"weight must be >= 0 and finite, got {10**400}"),
        ("heavy", TypeError, "weight must be a number, got 'heavy'"),
        (None, TypeError, "weight must be a number, got None"),
        (True, TypeError, "weight must be a number, got True"),
    ],
)
async def test_what_is_no_weight_is_refused(
    weight: Any, error: type[Exception], message: str
) -> None:
    batcher: Batcher[str, str] = Batcher(
        RecordingHandler(), max_batch_weight=6, weigh=lambda _: weight
    )
    with pytest.raises(error) as caught:
        batcher.submit("a")
    assert str(caught.value) == message
    with pytest.raises(error):
        batcher.submit("a", weight=weight)
    assert batcher.statistics().submitted == 0


async def test_the_handler_is_told_the_weight() -> None:
    @batched(max_batch_weight=10, weigh=len)
    async def weights(items: list[str]) -> list[float]:
        return [current_batch().weight] * len(items)

    assert await asyncio.gather(weights("aaa"), weights("bb")) == [5.0, 5.0]


async def test_without_weights_each_item_weighs_one() -> None:
    @batched()
    async def weights(items: list[str]) -> list[float]:
        return [current_batch().weight] * len(items)

    assert await asyncio.gather(weights("aaa"), weights("bb")) == [2.0, 2.0]


async def test_a_cancelled_item_weighs_nothing() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher = Batcher(handler, max_batch_weight=6, weigh=len, max_latency=1.0)
    a, b = batcher.submit("aaa"), batcher.submit("bb")
    a.cancel()
    c = batcher.submit("cccc")
    await asyncio.gather(b, c)
    assert items_of(handler) == [("bb", "cccc")]


@given(
    weights=st.lists(st.integers(0, 12), max_size=60),
    bound=st.integers(1, 10),
    size=st.integers(1, 6),
)
def test_batches_are_those_that_filling_in_order_makes(
    weights: list[int], bound: int, size: int
) -> None:
    expected: list[list[int]] = []
    for weight in weights:
        fits = expected and len(expected[-1]) < size and sum(expected[-1]) + weight <= bound
        if fits:
            expected[-1].append(weight)
        else:
            expected.append([weight])
    batches: list[list[int]] = []

    async def handler(items: list[int]) -> list[int]:
        batches.append(items)
        await asyncio.sleep(1.0)
        return items

    async def main() -> None:
        batcher = Batcher(handler, max_batch_size=size, max_batch_weight=bound, weigh=float)
        assert await batcher.submit_many(weights) == weights

    run(main)
    assert batches == expected
