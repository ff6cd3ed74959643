"""Mapping a source of items, bounded and in either order."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import Batcher, BatcherClosedError, BatchTimeoutError, CapacityError
from microbatch.testing import RecordingHandler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def collect(results: AsyncIterator[Any], into: list[Any] | None = None) -> list[Any]:
    """Give all results; what came before a failure is in ``into`` then."""
    got = [] if into is None else into
    async for each in results:
        got.append(each)
    return got


async def counting(count: int, *, pause: float = 0.0) -> AsyncIterator[int]:
    for number in range(count):
        if pause:
            await asyncio.sleep(pause)
        yield number


def tenfold(items: list[int]) -> list[int]:
    return [item * 10 for item in items]


# ------------------------------------------------------------------------------------------ results
async def test_map_yields_the_results_of_an_iterable_in_order() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(tenfold)
    batcher = Batcher(handler, max_batch_size=4)
    assert await collect(batcher.map(range(10))) == list(range(0, 100, 10))
    assert max(handler.sizes) == 4


async def test_map_yields_the_results_of_an_async_iterable_in_order() -> None:
    batcher = Batcher(RecordingHandler(tenfold), max_batch_size=4)
    assert await collect(batcher.map(counting(10, pause=0.1))) == list(range(0, 100, 10))


@pytest.mark.parametrize("source", [[], range(0), iter(())])
async def test_map_of_nothing_yields_nothing(source: Any) -> None:
    assert await collect(Batcher(RecordingHandler()).map(source)) == []


async def test_map_of_an_empty_async_iterable_yields_nothing() -> None:
    assert await collect(Batcher(RecordingHandler()).map(counting(0))) == []


def slowest_first(items: list[int]) -> float:
    return 10.0 - items[0]


async def test_map_keeps_the_order_whichever_batch_ends_first() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=slowest_first)
    batcher = Batcher(handler, max_batch_size=2, max_concurrent_batches=3)
    assert await collect(batcher.map(range(6))) == list(range(6))


async def test_unordered_map_yields_results_as_they_are_ready() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=slowest_first)
    batcher = Batcher(handler, max_batch_size=2, max_concurrent_batches=3)
    assert await collect(batcher.map(range(6), ordering="unordered")) == [4, 5, 2, 3, 0, 1]


async def test_falsy_items_and_results_are_results() -> None:
    batcher: Batcher[Any, Any] = Batcher(RecordingHandler(list))
    values = [None, 0, "", [], False]
    assert await collect(batcher.map(values)) == values


async def test_map_yields_while_the_source_goes_on() -> None:
    batcher = Batcher(RecordingHandler(tenfold))
    now = asyncio.get_running_loop().time
    got = [(result, now()) async for result in batcher.map(counting(3, pause=1.0))]
    assert got == [(0, 1.0), (10, 2.0), (20, 3.0)]


@pytest.mark.parametrize("ordering", ["sideways", None, 1])
async def test_a_bad_ordering_is_named_at_once(ordering: Any) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Batcher(RecordingHandler()).map([], ordering=ordering)
    assert str(caught.value) == f"ordering must be one of 'unordered', 'ordered', got {ordering!r}"


async def test_a_source_that_is_none_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"^source must be several items, in what can be iterated"):
        Batcher(RecordingHandler()).map(5)  # type: ignore[arg-type]


@pytest.mark.every_loop
async def test_map_works_on_every_loop() -> None:
    batcher = Batcher(RecordingHandler(tenfold), max_batch_size=3)
    assert await collect(batcher.map(range(10))) == list(range(0, 100, 10))
    unordered = batcher.map(counting(10), ordering="unordered")
    assert sorted(await collect(unordered)) == list(range(0, 100, 10))


# --------------------------------------------------------------------------------------- read-ahead
class Watched:
    """A source that knows how far it was read."""

    def __init__(self) -> None:
        self.read = 0

    def __iter__(self) -> Iterator[int]:
        for number in itertools.count():
            self.read = number + 1
            yield number

    async def __aiter__(self) -> AsyncIterator[int]:
        for number in self:
            yield number


class WatchedAsync:
    def __init__(self) -> None:
        self.watched = Watched()

    def __aiter__(self) -> AsyncIterator[int]:
        return self.watched.__aiter__()


@pytest.mark.parametrize("asynchronous", [False, True], ids=["iterable", "async iterable"])
@pytest.mark.parametrize("ordering", ["ordered", "unordered"])
async def test_a_source_is_read_ahead_by_a_batch_more_than_the_slots_hold(
    asynchronous: bool, ordering: Any
) -> None:
    source = WatchedAsync() if asynchronous else Watched()
    watched = source.watched if isinstance(source, WatchedAsync) else source
    handler: RecordingHandler[int, int] = RecordingHandler()
    handler.hold()
    batcher = Batcher(handler, max_batch_size=4, max_concurrent_batches=2)
    results = batcher.map(source, ordering=ordering)  # type: ignore[arg-type]
    first = asyncio.ensure_future(anext(results))  # type: ignore[arg-type]
    await turns(40)
    assert watched.read == 12
    handler.release()
    assert await first == 0
    assert [await anext(results) for _ in range(30)] == list(range(1, 31))
    await turns(40)
    assert watched.read <= 31 + 12
    await results.aclose()  # type: ignore[attr-defined]


async def test_a_source_is_not_read_beyond_the_capacity() -> None:
    source = Watched()
    batcher: Batcher[int, int] = Batcher(RecordingHandler(delay=1.0), max_batch_size=4, capacity=3)
    results = batcher.map(source)
    assert await anext(results) == 0
    assert source.read == 3
    await results.aclose()  # type: ignore[attr-defined]


async def test_map_without_capacity_is_bounded_all_the_same() -> None:
    source = Watched()
    batcher: Batcher[int, int] = Batcher(
        RecordingHandler(delay=1.0), max_batch_size=4, capacity=None
    )
    results = batcher.map(source)
    assert await anext(results) == 0
    assert source.read == 8
    await results.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("overflow", ["reject", "drop_oldest"])
async def test_map_waits_at_capacity_whatever_others_do(overflow: Any) -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, max_batch_size=2, capacity=2, overflow=overflow)
    other = batcher.submit(100)
    assert await collect(batcher.map(range(5))) == list(range(5))
    assert await other == 100
    assert batcher.statistics().rejected == 0


async def test_a_window_of_one_goes_on() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(tenfold), capacity=1)
    assert await collect(batcher.map(range(3))) == [0, 10, 20]
    assert await collect(batcher.map(counting(3))) == [0, 10, 20]


# ----------------------------------------------------------------------------------------- failures
def fail_on_three(items: list[int]) -> list[Any]:
    return [ValueError(item) if item == 3 else item for item in items]


async def test_a_failed_item_is_raised_in_its_turn() -> None:
    batcher = Batcher(RecordingHandler(fail_on_three))
    got: list[Any] = []
    with pytest.raises(ValueError, match=r"^3$"):
        await collect(batcher.map(range(6)), got)
    assert got == [0, 1, 2]


async def test_what_is_outstanding_after_a_failure_is_cancelled() -> None:
    handler: RecordingHandler[int, Any] = RecordingHandler(
        fail_on_three, delay=lambda items: 1.0 + items[0]
    )
    batcher = Batcher(handler, max_batch_size=4, max_concurrent_batches=2)
    with pytest.raises(ValueError, match=r"^3$"):
        await collect(batcher.map(range(100)))
    await turns()
    now = batcher.statistics()
    assert (now.in_flight, now.queued) == (0, 0)
    assert now.cancelled == 8
    assert [call.outcome for call in handler.calls] == ["returned", "cancelled"]


async def test_return_exceptions_yields_each_failure() -> None:
    batcher = Batcher(RecordingHandler(fail_on_three))
    *before, error, after = await collect(batcher.map(range(5), return_exceptions=True))
    assert (before, after) == ([0, 1, 2], 4)
    assert isinstance(error, ValueError)


def breaking() -> Iterator[int]:
    yield from range(3)
    raise ZeroDivisionError("source")


async def breaking_async() -> AsyncIterator[int]:
    for number in breaking():
        yield number


@pytest.mark.parametrize("source", [breaking, breaking_async])
@pytest.mark.parametrize("return_exceptions", [False, True])
async def test_a_source_that_fails_raises_after_what_came_before_it(
    source: Any, return_exceptions: bool
) -> None:
    batcher = Batcher(RecordingHandler(tenfold, delay=1.0))
    got: list[Any] = []
    with pytest.raises(ZeroDivisionError, match=r"^source$"):
        await collect(batcher.map(source(), return_exceptions=return_exceptions), got)
    assert got == [0, 10, 20]


async def test_a_late_item_is_left_out_and_counted() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(
        delay=lambda items: 5.0 if 2 in items else 0.5
    )
    batcher = Batcher(handler, max_batch_size=1, max_concurrent_batches=9, timeout=1.0)
    assert await collect(batcher.map(range(5))) == [0, 1, 3, 4]
    assert batcher.statistics().late == 1
    await batcher.drain()


async def test_a_late_item_fails_the_map_where_the_policy_is_fail() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=5.0)
    batcher = Batcher(handler, timeout=1.0, timeout_policy="fail")
    with pytest.raises(BatchTimeoutError):
        await collect(batcher.map(range(5)))
    await batcher.drain()


async def test_a_policys_results_are_yielded_for_late_items() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=5.0)
    batcher = Batcher(handler, timeout=1.0, timeout_policy=lambda items: [-i for i in items])
    assert await collect(batcher.map(range(3))) == [0, -1, -2]
    await batcher.drain()


async def test_return_exceptions_yields_late_items_too() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(delay=5.0), timeout=1.0)
    outcomes = await collect(batcher.map(range(2), return_exceptions=True))
    assert [type(each) for each in outcomes] == [BatchTimeoutError] * 2
    await batcher.drain()


async def test_mapping_with_a_closed_batcher_raises() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler())
    await batcher.aclose()
    with pytest.raises(BatcherClosedError):
        await collect(batcher.map(range(3)))


async def test_a_batcher_that_closes_under_a_map_finishes_what_it_had() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(delay=1.0), max_batch_size=2)
    results = batcher.map(range(100))
    got = [await anext(results)]
    closing = asyncio.create_task(batcher.aclose())
    with pytest.raises(BatcherClosedError):
        await collect(results, got)
    await closing
    assert got == list(range(len(got)))
    assert len(got) >= 4


# ---------------------------------------------------------------------------------------- giving up
async def test_breaking_out_cancels_what_is_outstanding() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=lambda items: 1.0 + items[0])
    batcher = Batcher(handler, max_batch_size=2, max_concurrent_batches=2)
    async with contextlib.aclosing(batcher.map(itertools.count())) as results:  # type: ignore[type-var]
        async for _ in results:
            break
    await turns()
    now = batcher.statistics()
    assert (now.in_flight, now.queued, now.slots_busy) == (0, 0, 0)
    assert handler.calls[-1].outcome == "cancelled"


async def test_a_map_that_is_dropped_half_way_cancels_what_is_outstanding() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(delay=1.0), max_batch_size=2)
    async for _ in batcher.map(itertools.count()):
        break
    await turns(20)
    assert batcher.statistics().in_flight == 0


async def test_cancelling_who_iterates_cancels_what_is_outstanding() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=10.0)
    batcher = Batcher(handler)
    task = asyncio.create_task(collect(batcher.map(range(5))))
    await asyncio.sleep(1.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await turns()
    assert handler.calls[0].outcome == "cancelled"
    assert batcher.statistics().cancelled == 5


async def test_giving_up_stops_a_source_that_waits() -> None:
    stopped = []

    async def source() -> AsyncIterator[int]:
        yield 1
        try:
            await asyncio.sleep(3600.0)
        finally:
            stopped.append("source")

    batcher: Batcher[int, int] = Batcher(RecordingHandler())
    async with contextlib.aclosing(batcher.map(source())) as results:  # type: ignore[type-var]
        async for _ in results:
            break
    assert stopped == ["source"]


async def test_giving_up_drops_what_a_source_raises_then() -> None:
    async def source() -> AsyncIterator[int]:
        yield 1
        try:
            await asyncio.sleep(3600.0)
        finally:
            raise CapacityError("too late to be told")

    batcher: Batcher[int, int] = Batcher(RecordingHandler())
    async with contextlib.aclosing(batcher.map(source())) as results:  # type: ignore[type-var]
        async for _ in results:
            break


async def test_a_map_that_never_started_costs_nothing() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler())
    results = batcher.map(range(3))
    await results.aclose()  # type: ignore[attr-defined]
    assert batcher.statistics().submitted == 0
