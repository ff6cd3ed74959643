"""Mapping a source with repeated items, which are handled once: batches are full all the same."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import Batcher
from microbatch._streams import window
from microbatch._streams.window import Window
from microbatch.testing import RecordingHandler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from microbatch.options import Options


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def repeated(times: int, distinct: int) -> Iterator[int]:
    for number in range(distinct):
        yield from [number] * times


async def asynchronous(source: Iterator[int]) -> AsyncIterator[int]:
    for number in source:
        yield number


async def collect(results: AsyncIterator[Any], into: list[Any]) -> None:
    """Get all results; what came before a failure is in ``into`` then."""
    async for each in results:
        into.append(each)  # noqa: PERF401 (a comprehension would lose them)


class Counted:
    """A source of one item for ever, that knows how far it was read."""

    def __init__(self) -> None:
        self.read = 0

    def __iter__(self) -> Iterator[str]:
        for _ in itertools.count():
            self.read += 1
            yield "same"


@pytest.mark.parametrize("ordering", ["ordered", "unordered"])
@pytest.mark.parametrize("wrap", [iter, asynchronous], ids=["iterable", "async iterable"])
async def test_batches_are_full_of_distinct_items(ordering: Any, wrap: Any) -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, max_batch_size=8, dedupe=lambda number: number)
    got = [each async for each in batcher.map(wrap(repeated(5, 64)), ordering=ordering)]
    assert got == list(repeated(5, 64))
    # An async source is asked for each item, so the first batch goes with what came so far. The
    # same item is handled again where it comes on both sides of how far the source was read.
    assert handler.sizes[1:-1] == [8] * (len(handler.sizes) - 2)
    assert sum(handler.sizes) <= 64 + len(handler.sizes)


async def test_the_source_is_read_ahead_by_distinct_items() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    handler.hold()
    batcher = Batcher(handler, max_batch_size=4, dedupe=lambda number: number)
    results = batcher.map(repeated(3, 100))
    first = asyncio.ensure_future(anext(results))  # type: ignore[arg-type]
    await turns(40)
    now = batcher.statistics()
    assert now.submitted - now.joined == 8
    assert now.submitted == (3 * 3 + 1) + (2 + 2 * 3 + 1)  # the batch goes as it is full
    handler.release()
    assert await first == 0
    await results.aclose()  # type: ignore[attr-defined]


async def test_what_others_submitted_counts_for_them() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    handler.hold()
    batcher = Batcher(handler, max_batch_size=2, max_latency=1.0, dedupe=lambda number: number)
    tickets = [batcher.submit(0), batcher.submit(0), batcher.submit(0)]
    results = batcher.map(range(100))
    first = asyncio.ensure_future(anext(results))  # type: ignore[arg-type]
    await turns(40)
    assert batcher.statistics().submitted == 3 + 5
    handler.release()
    assert await asyncio.gather(*tickets, first) == [0] * 4
    await results.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("ordering", ["ordered", "unordered"])
@pytest.mark.parametrize(("capacity", "most"), [(20, 20), (None, 100)])
async def test_a_source_that_repeats_one_item_for_ever_is_read_within_a_bound(
    capacity: int | None, most: int, ordering: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "MOST_WITHOUT_CAPACITY", 100)
    source = Counted()
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher = Batcher(handler, max_batch_size=4, capacity=capacity, dedupe=str)
    async with contextlib.aclosing(batcher.map(source, ordering=ordering)) as results:  # type: ignore[type-var]
        assert await anext(results) == "same"
        assert source.read == most
        assert handler.sizes == [1]
        for given in range(2, 3 * most):
            assert await anext(results) == "same"
            assert source.read <= given + most
    await turns()


async def test_a_source_that_repeats_one_item_for_ever_lets_others_go_on() -> None:
    batcher: Batcher[str, str] = Batcher(RecordingHandler(delay=1.0), dedupe=str)
    async with contextlib.aclosing(batcher.map(Counted())) as results:  # type: ignore[type-var]
        first = asyncio.ensure_future(anext(results))  # type: ignore[arg-type]
        await turns()
        assert await batcher.submit("other") == "other"
        assert await first == "same"
    await turns()


async def test_items_that_joined_come_with_their_own_items() -> None:
    batcher: Batcher[Any, Any] = Batcher(RecordingHandler(), dedupe=int)
    got = [pair async for pair in batcher.map([1, 1.5, 2, "1"], with_items=True)]
    assert got == [(1, 1), (1.5, 1), (2, 2), ("1", 1)]


async def test_a_dedupe_that_raises_is_raised_after_what_came_before_it() -> None:
    batcher: Batcher[Any, Any] = Batcher(RecordingHandler(), dedupe=lambda item: item.bit_count())
    got: list[Any] = []
    with pytest.raises(AttributeError, match=r"^'str' object has no attribute 'bit_count'$"):
        await collect(batcher.map([1, 2, "3"]), got)
    assert got == [1, 1]


# --------------------------------------------------------------------------------------- the window
def window_of(**options: Any) -> Window:
    def handler(items: list[Any]) -> list[Any]:
        return items

    checked: Options = Batcher(handler, **options).options
    return Window.of(checked)


@pytest.mark.parametrize(
    ("options", "distinct", "every"),
    [
        ({}, 128, 128),
        ({"max_batch_size": 4, "max_concurrent_batches": 2}, 12, 12),
        ({"capacity": 100}, 100, 100),
        ({"capacity": None}, 128, 128),
        ({"key": str}, 10_000, 10_000),
        ({"key": str, "capacity": None}, 128, 128),
        ({"dedupe": str}, 128, 10_000),
        ({"dedupe": str, "capacity": 200}, 128, 200),
        ({"dedupe": str, "capacity": 100}, 100, 100),
        ({"dedupe": str, "capacity": None}, 128, 10_000),
        ({"dedupe": str, "capacity": None, "max_batch_size": 8_000}, 16_000, 16_000),
        ({"dedupe": str, "key": str}, 10_000, 10_000),
    ],
)
def test_how_many_items_may_be_outstanding(options: Any, distinct: int, every: int) -> None:
    assert window_of(**options) == Window(distinct, every)


def test_when_to_stop_reading_and_when_to_go_on() -> None:
    ahead = Window(8, 100)
    assert [ahead.full(*counts) for counts in [(7, 0), (8, 0), (20, 13), (20, 12), (100, 99)]] == [
        False,
        True,
        False,
        True,
        True,
    ]
    assert [ahead.half_empty(*counts) for counts in [(4, 0), (5, 0), (50, 46), (51, 50)]] == [
        True,
        False,
        True,
        False,
    ]
