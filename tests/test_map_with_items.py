"""Mapping a source, and getting each result with its item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from microbatch import Batcher, BatchTimeoutError, batched
from microbatch.testing import RecordingHandler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def tenfold(items: list[int]) -> list[int]:
    return [item * 10 for item in items]


def fail_on_three(items: list[int]) -> list[Any]:
    return [ValueError(item) if item == 3 else item for item in items]


def slowest_first(items: list[int]) -> float:
    return 10.0 - items[0]


@batched(max_batch_size=2)
async def add(numbers: list[int], others: list[int]) -> list[int]:
    return [number + other for number, other in zip(numbers, others, strict=True)]


async def collect(results: AsyncIterator[Any], into: list[Any]) -> None:
    """Get all results; what came before a failure is in ``into`` then."""
    async for each in results:
        into.append(each)  # noqa: PERF401 (a comprehension would lose them)


class Scale:
    @batched()
    async def apply(self, numbers: list[int]) -> list[int]:
        return tenfold(numbers)


async def test_each_result_comes_with_its_item_in_the_order_of_the_source() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(tenfold, delay=slowest_first)
    batcher = Batcher(handler, max_batch_size=2, max_concurrent_batches=3)
    got = [pair async for pair in batcher.map(range(6), with_items=True)]
    assert got == [(0, 0), (1, 10), (2, 20), (3, 30), (4, 40), (5, 50)]


async def test_each_result_comes_with_its_item_as_it_is_ready() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(tenfold, delay=slowest_first)
    batcher = Batcher(handler, max_batch_size=2, max_concurrent_batches=3)
    results = batcher.map(range(6), ordering="unordered", with_items=True)
    got = [pair async for pair in results]
    assert got == [(4, 40), (5, 50), (2, 20), (3, 30), (0, 0), (1, 10)]


@pytest.mark.parametrize("ordering", ["ordered", "unordered"])
async def test_each_exception_comes_with_its_item(ordering: Any) -> None:
    batcher = Batcher(RecordingHandler(fail_on_three))
    results = batcher.map(range(5), ordering=ordering, return_exceptions=True, with_items=True)
    got = [pair async for pair in results]
    assert [item for item, _ in got] == [0, 1, 2, 3, 4]
    assert [outcome for item, outcome in got if item != 3] == [0, 1, 2, 4]
    assert repr(got[3][1]) == "ValueError(3)"


async def test_without_return_exceptions_the_first_failure_is_raised_in_its_turn() -> None:
    got: list[Any] = []
    batcher = Batcher(RecordingHandler(fail_on_three))
    with pytest.raises(ValueError, match=r"^3$"):
        await collect(batcher.map(range(6), with_items=True), got)
    assert got == [(0, 0), (1, 1), (2, 2)]


async def test_late_items_are_left_out_or_come_with_their_exceptions() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(
        delay=lambda items: 5.0 if 2 in items else 0.5
    )
    batcher = Batcher(handler, max_batch_size=1, max_concurrent_batches=9, timeout=1.0)
    assert [pair async for pair in batcher.map(range(4), with_items=True)] == [
        (0, 0),
        (1, 1),
        (3, 3),
    ]
    late = batcher.map([2], return_exceptions=True, with_items=True)
    assert [(item, type(error)) async for item, error in late] == [(2, BatchTimeoutError)]
    await batcher.drain()


async def test_several_parameters_give_the_item_as_the_source_gave_it() -> None:
    source: list[Any] = [(1, 2), [3, 4]]
    assert [pair async for pair in add.map(source, with_items=True)] == [((1, 2), 3), ([3, 4], 7)]


async def test_methods_and_async_sources_give_items_too() -> None:
    async def source() -> Any:
        yield 1
        yield 1

    assert [pair async for pair in Scale().apply.map(source(), with_items=True)] == [(1, 10)] * 2


async def test_items_that_are_equal_or_cannot_be_hashed_come_with_their_own_results() -> None:
    batcher: Batcher[list[int], int] = Batcher(RecordingHandler(lambda items: [*range(len(items))]))
    source = [[1], [1], [1]]
    got = [pair async for pair in batcher.map(source, with_items=True)]
    assert got == [([1], 0), ([1], 1), ([1], 2)]
    assert [item is given for (item, _), given in zip(got, source, strict=True)] == [True] * 3
