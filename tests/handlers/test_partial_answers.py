"""Handlers that answer item by item: async generators of (index, result) pairs."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch import Batcher, BatchError, HandlerCancelledError, ResultCountError, testing
from tests.handlers.asking import outcomes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def yielding(*pairs: Any, then: BaseException | None = None, **options: Any) -> Batcher[Any, Any]:
    """Make a batcher whose handler yields these, a second apart, and then raises."""

    async def handler(items: list[Any]) -> AsyncIterator[Any]:
        for pair in pairs:
            await asyncio.sleep(1.0)
            yield pair
        if then is not None:
            raise then

    return Batcher(handler, **options)


async def double(items: list[int]) -> AsyncIterator[tuple[int, int]]:
    for place, item in enumerate(items):
        yield place, 2 * item


async def times(factor: int, items: list[int]) -> AsyncIterator[tuple[int, int]]:
    for place, item in enumerate(items):
        yield place, factor * item


class Doubler:
    async def __call__(self, items: list[int]) -> AsyncIterator[tuple[int, int]]:
        async for pair in double(items):
            yield pair

    async def method(self, items: list[int]) -> AsyncIterator[tuple[int, int]]:
        async for pair in double(items):
            yield pair


@pytest.mark.parametrize(
    ("handler", "name"),
    [
        (double, "double"),
        (Doubler().method, "Doubler.method"),
        (Doubler(), "Doubler"),
        (functools.partial(times, 2), "times"),
        (functools.partial(Doubler()), "Doubler"),
    ],
    ids=["function", "method", "callable", "partial", "partial of callable"],
)
@pytest.mark.every_loop
async def test_any_kind_of_async_generator_can_be_a_handler(handler: Any, name: str) -> None:
    batcher: Batcher[int, int] = Batcher(handler)
    assert await outcomes(batcher, range(3)) == [0, 2, 4]
    assert batcher.name == name
    await batcher.drain()


async def test_each_caller_wakes_as_its_result_comes() -> None:
    batcher = yielding((2, "c"), (0, "a"), (1, "b"))
    loop = asyncio.get_running_loop()

    async def one(item: int) -> tuple[Any, float]:
        return await batcher.submit(item), loop.time()

    answers = await asyncio.gather(*map(one, range(3)))
    assert answers == [("a", 2.0), ("b", 3.0), ("c", 1.0)]


async def test_a_caller_wakes_before_a_handler_that_never_waits_goes_on() -> None:
    log: list[Any] = []

    async def handler(items: list[int]) -> AsyncIterator[tuple[int, int]]:
        for place, item in enumerate(items):
            log.append(f"make {item}")
            yield place, item

    batcher: Batcher[int, int] = Batcher(handler)
    for ticket in (batcher.submit(1), batcher.submit(2)):
        ticket.add_done_callback(lambda ticket: log.append(ticket.result()))
    await batcher.drain()
    assert log == ["make 1", 1, "make 2", 2]


async def test_what_is_missing_at_the_end_is_those_callers_error_alone() -> None:
    a, b, c = await outcomes(yielding((1, "b")), "abc")
    assert b == "b"
    for place, error in ((0, a), (2, c)):
        assert type(error) is ResultCountError
        assert (error.expected, error.received) == (3, 1)
        assert str(error) == (
            "handler 'handler' must yield one result for each of 3 items, "
            f"got none for the item at index {place}"
        )
    assert a.__cause__ is None


async def test_an_exception_as_a_result_is_raised_to_that_caller_alone() -> None:
    original = ValueError("poison")
    poison, fine = await outcomes(yielding((0, original), (1, "fine")))
    assert fine == "fine"
    assert type(poison) is ValueError
    assert poison.__cause__ is original


async def test_what_the_generator_raises_is_raised_to_those_that_wait() -> None:
    original = ValueError("no more")
    first, *rest = await outcomes(yielding((0, "first"), then=original), "abc")
    assert first == "first"
    assert [type(each) for each in rest] == [ValueError] * 2
    assert rest[0] is not rest[1]
    assert rest[0].__cause__ is rest[1].__cause__ is original


async def test_a_generator_that_cancels_itself_cancels_no_caller() -> None:
    first, other = await outcomes(yielding((0, "first"), then=asyncio.CancelledError()))
    assert first == "first"
    assert type(other) is HandlerCancelledError


PAIRS = "must yield (index, result) pairs"
STREAM = ": to yield a list of chunks, one for each item, set stream=True"


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (5, f"{PAIRS}, got 5{STREAM}"),
        (None, f"{PAIRS}, got None{STREAM}"),
        ([1, 2], f"{PAIRS}, got [1, 2]{STREAM}"),
        ((1, 2, 3), f"{PAIRS}, got (1, 2, 3){STREAM}"),
        (("1", 2), f"{PAIRS}, got ('1', 2){STREAM}"),
        ((1.0, 2), f"{PAIRS}, got (1.0, 2){STREAM}"),
        ((True, 2), f"{PAIRS}, got (True, 2){STREAM}"),
        ((3, "x"), "must yield an index from 0 to 2, got 3"),
        ((-1, "x"), "must yield an index from 0 to 2, got -1"),
        ((0, "x"), "must yield each index once, got 0"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("ordering", ["unordered", "ordered"])
async def test_a_wrong_pair_fails_those_that_wait_and_says_what_came(
    pair: Any, message: str, ordering: Any
) -> None:
    first, *rest = await outcomes(yielding((0, "first"), pair, ordering=ordering), "abc")
    assert first == "first"
    for error in rest:
        assert type(error) is BatchError
        assert str(error) == f"handler 'handler' {message}"
    assert rest[0] is not rest[1]


async def test_an_index_may_be_whatever_is_one() -> None:
    class One:
        def __index__(self) -> int:
            return 1

    assert await outcomes(yielding((One(), "b"), (0, "a"))) == ["a", "b"]


# --------------------------------------------------------------------------------------- its end
def watched(log: list[Any], pairs: Any, **options: Any) -> Batcher[Any, Any]:
    """Make a batcher whose handler says how it ends; it then takes a second to clean up."""

    async def handler(items: list[Any]) -> AsyncIterator[Any]:
        try:
            for pair in pairs:
                await asyncio.sleep(1.0)
                yield pair
            log.append("exhausted")
        except BaseException as error:
            log.append(type(error).__name__)
            raise
        finally:
            await asyncio.sleep(1.0)
            log.append(asyncio.get_running_loop().time())

    return Batcher(handler, **options)


async def test_the_generator_is_closed_when_everybody_is_answered() -> None:
    log: list[Any] = []
    batcher = watched(log, [(1, "b"), (0, "a"), (0, "again")])
    assert await outcomes(batcher) == ["a", "b"]
    assert log == ["GeneratorExit"]
    assert batcher.statistics().slots_busy == 1
    await batcher.drain()
    assert log == ["GeneratorExit", 3.0]


async def test_the_generator_is_closed_after_a_wrong_pair() -> None:
    log: list[Any] = []
    await outcomes(watched(log, ["wrong"]))
    assert log == ["GeneratorExit", 2.0]


async def test_a_generator_that_nobody_waits_for_is_cancelled() -> None:
    log: list[Any] = []
    batcher = watched(log, [(0, "a"), (1, "b")])
    first, second = batcher.submit(1), batcher.submit(2)
    await first
    await asyncio.sleep(0.5)
    second.cancel()
    await batcher.drain()
    assert log == ["CancelledError", 2.5]


async def test_without_cancel_abandoned_it_is_closed_at_its_next_yield() -> None:
    log: list[Any] = []
    batcher = watched(log, [(0, "a"), (1, "b"), (2, "c")], cancel_abandoned=False)
    tickets = [batcher.submit(item) for item in range(3)]
    await asyncio.sleep(1.5)
    for ticket in tickets:
        ticket.cancel()
    await batcher.drain()
    assert log == ["GeneratorExit", 3.0]


async def test_a_result_for_a_caller_that_has_gone_goes_nowhere() -> None:
    batcher = yielding((0, "a"), (1, "b"))
    first, second = batcher.submit(1), batcher.submit(2)
    await asyncio.sleep(0.5)
    first.cancel()
    assert await second == "b"
    assert batcher.statistics().completed == 1


async def test_a_late_caller_is_told_alone() -> None:
    batcher = yielding((0, "a"), (1, "b"))
    first, late = batcher.submit(1), batcher.submit(2, timeout=1.5)
    assert await first == "a"
    with pytest.raises(TimeoutError):
        await late
    await batcher.drain()


async def test_closing_with_a_timeout_cancels_the_generator() -> None:
    log: list[Any] = []
    batcher = watched(log, [(0, "a"), (1, "b")])
    first, second = batcher.submit(1), batcher.submit(2)
    assert await batcher.aclose(timeout=1.5) == 1
    assert (await first, type(second.exception()).__name__) == ("a", "BatcherClosedError")
    assert log == ["CancelledError", 2.5]


async def test_an_eager_generator_that_answers_all_at_once_may_clean_up() -> None:
    log: list[Any] = []

    async def handler(items: list[int]) -> AsyncIterator[tuple[int, int]]:
        try:
            yield 0, items[0]
        finally:
            await asyncio.sleep(1.0)
            log.append("clean")

    batcher: Batcher[int, int] = Batcher(handler, max_batch_size=1)
    assert await batcher.submit(7) == 7
    await batcher.drain()
    assert log == ["clean"]


# ---------------------------------------------------------------------------------- in their order
async def finishing(batcher: Batcher[Any, Any], count: int) -> list[tuple[int, Any, float]]:
    loop, done = asyncio.get_running_loop(), []

    async def one(item: int) -> None:
        (outcome,) = await asyncio.gather(batcher.submit(item), return_exceptions=True)
        done.append((item, outcome, loop.time()))

    await asyncio.gather(*map(one, range(count)))
    return done


async def backwards(items: list[int]) -> AsyncIterator[tuple[int, int]]:
    for place in reversed(range(len(items))):
        await asyncio.sleep(1.0)
        yield place, items[place]


async def test_ordered_results_wait_for_their_batchs_turn() -> None:
    batcher: Batcher[int, int] = Batcher(
        backwards, ordering="ordered", max_batch_size=2, max_concurrent_batches=2
    )
    assert await finishing(batcher, 3) == [(0, 0, 2.0), (1, 1, 2.0), (2, 2, 2.0)]


async def test_ordered_results_keep_failures_and_gaps_in_their_places() -> None:
    original = ValueError("poison")
    batcher = yielding((2, "c"), (0, original), ordering="ordered")
    (_, a, _), (_, b, _), (_, c, _) = await finishing(batcher, 3)
    assert (type(a), a.__cause__, c) == (ValueError, original, "c")
    assert type(b) is ResultCountError
    assert str(b).endswith("got none for the item at index 1")


async def test_ordered_results_that_came_before_a_failure_are_kept() -> None:
    original = ValueError("no more")
    batcher = yielding((1, "b"), then=original, ordering="ordered")
    a, b, c = await outcomes(batcher, "abc")
    assert (b, type(a), type(c)) == ("b", ValueError, ValueError)
    assert a is not c


async def test_an_ordered_generator_is_closed_when_nobody_is_left_to_answer() -> None:
    log: list[Any] = []
    batcher = watched(log, [(1, "b"), (0, "a"), (2, "c")], ordering="ordered")
    tickets = [batcher.submit(item) for item in range(3)]
    await asyncio.sleep(1.5)
    tickets[2].cancel()
    assert await asyncio.gather(*tickets[:2]) == ["a", "b"]
    assert log == ["GeneratorExit", 3.0]


# ------------------------------------------------------------------------------------ any sequence
@given(
    st.integers(1, 4).flatmap(
        lambda size: st.tuples(
            st.just(size), st.lists(st.integers(-1, size), max_size=size + 2), st.booleans()
        )
    )
)
def test_whatever_is_yielded_each_caller_gets_its_own(case: tuple[int, list[int], bool]) -> None:
    size, places, ordered = case

    async def main() -> list[Any]:
        batcher = yielding(
            *((place, f"result {place}") for place in places),
            ordering="ordered" if ordered else "unordered",
        )
        try:
            return await outcomes(batcher, range(size))
        finally:
            await batcher.drain()

    answered: set[int] = set()
    rest: type[Exception] = ResultCountError
    for place in places:
        if len(answered) == size:
            break
        if place in answered or not 0 <= place < size:
            rest = BatchError
            break
        answered.add(place)
    got = testing.run(main)
    assert [f"result {place}" if place in answered else rest for place in range(size)] == [
        each if isinstance(each, str) else type(each) for each in got
    ]
