"""Mapping a source from a thread, bounded and in either order."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import BatcherClosedError, BatchTimeoutError, BlockingBatcher
from microbatch._streams import blocking_mapping, window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.blocking.conftest import Held

pytestmark = pytest.mark.usefixtures("tidy")


async def tenfold(items: list[int]) -> list[int]:
    return [item * 10 for item in items]


async def fail_on_three(items: list[int]) -> list[Any]:
    return [ValueError(item) if item == 3 else item for item in items]


# ------------------------------------------------------------------------------------------ results
@pytest.mark.parametrize("count", [0, 1, 10, 1000])
def test_map_yields_the_results_in_order(count: int, loop_factory: Any) -> None:
    with BlockingBatcher(tenfold, max_batch_size=4, loop_factory=loop_factory) as batcher:
        assert list(batcher.map(range(count))) == list(range(0, 10 * count, 10))


def test_unordered_map_yields_each_result_once() -> None:
    with BlockingBatcher(tenfold, max_batch_size=4, max_concurrent_batches=3) as batcher:
        results = list(batcher.map(range(1000), ordering="unordered"))
    assert sorted(results) == list(range(0, 10_000, 10))


def test_unordered_map_yields_what_is_ready_first() -> None:
    leave = threading.Event()

    def handler(items: list[int]) -> list[int]:
        if items == [0]:
            assert leave.wait(10)
        return items

    with BlockingBatcher(handler, max_batch_size=1, max_concurrent_batches=2) as batcher:
        results = batcher.map(range(3), ordering="unordered")
        assert [next(results), next(results)] == [1, 2]
        leave.set()
        assert list(results) == [0]


def test_falsy_items_and_results_are_results() -> None:
    values = [None, 0, "", [], False]
    with BlockingBatcher(list[Any].copy) as batcher:
        assert list(batcher.map(values)) == values


@pytest.mark.parametrize("ordering", ["sideways", None, 1])
def test_a_bad_ordering_is_named_at_once(ordering: Any) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        BlockingBatcher(tenfold).map([], ordering=ordering)
    assert str(caught.value) == f"ordering must be one of 'unordered', 'ordered', got {ordering!r}"


def test_a_source_that_is_none_is_a_type_error() -> None:
    with (
        BlockingBatcher(tenfold) as batcher,
        pytest.raises(TypeError, match=r"^source must be several items, in what can"),
    ):
        list(batcher.map(5))  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------- read-ahead
class Watched:
    """A source that knows how far it was read, and by whom."""

    def __init__(self) -> None:
        self.read = 0
        self.threads: set[threading.Thread] = set()

    def __iter__(self) -> Iterator[int]:
        for number in itertools.count():
            self.read = number + 1
            self.threads.add(threading.current_thread())
            yield number


@pytest.mark.parametrize("ordering", ["ordered", "unordered"])
@pytest.mark.parametrize(("capacity", "window"), [(None, 12), (100, 12), (5, 5), (1, 1)])
def test_a_source_is_read_ahead_by_a_batch_more_than_the_slots_hold_within_the_capacity(
    ordering: Any, capacity: int | None, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking_mapping, "PATIENCE", 1000.0)
    source = Watched()
    with BlockingBatcher(
        tenfold, max_batch_size=4, max_concurrent_batches=2, capacity=capacity
    ) as batcher:
        results = batcher.map(source, ordering=ordering)
        assert source.read == 0
        next(results)
        assert source.read == window
        for given in range(2, 50):
            next(results)
            assert source.read <= given + window
        results.close()  # type: ignore[attr-defined]
    assert source.threads == {threading.current_thread()}


def test_with_a_key_a_source_is_read_ahead_by_the_whole_capacity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocking_mapping, "PATIENCE", 1000.0)
    source = Watched()
    with BlockingBatcher(tenfold, max_batch_size=1, capacity=20, key=lambda _: "a") as batcher:
        results = batcher.map(source)
        next(results)
        assert source.read == 20
        results.close()  # type: ignore[attr-defined]


def test_results_that_are_ready_are_not_held_back_by_a_slow_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocking_mapping, "PATIENCE", 0.0)
    given: list[int] = []

    def source() -> Iterator[int]:
        for number in range(5):
            if number:
                batcher.drain()  # the one before is ready
            assert len(given) >= number - 1
            yield number

    with BlockingBatcher(tenfold) as batcher:
        for result in batcher.map(source()):
            given.append(result)  # noqa: PERF402
    assert given == [0, 10, 20, 30, 40]


@pytest.mark.parametrize("overflow", ["reject", "drop_oldest"])
def test_map_waits_at_capacity_whatever_others_do(overflow: Any, held: Held) -> None:
    with BlockingBatcher(held, max_batch_size=2, capacity=2, overflow=overflow) as batcher:
        other = batcher.submit(100)
        assert held.entered.wait(10)
        held.leave.set()
        assert list(batcher.map(range(5))) == [0, 2, 4, 6, 8]
        assert other.result(10) == 200
        assert batcher.statistics().rejected == 0


# ---------------------------------------------------------------------------------------- repeated
class HeldDistinct:
    """A handler that counts the distinct items of its calls, and waits to be let go on."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.leave = threading.Event()

    def __call__(self, items: list[int]) -> list[int]:
        assert len(set(items)) == len(items)
        self.sizes.append(len(items))
        assert self.leave.wait(10)
        return items


@pytest.mark.parametrize("ordering", ["ordered", "unordered"])
def test_with_dedupe_a_source_is_read_ahead_by_distinct_items(
    ordering: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking_mapping, "PATIENCE", 1000.0)
    handler = HeldDistinct()
    numbers = [number for number in range(64) for _ in range(5)]
    read: list[int] = []

    def source() -> Iterator[int]:
        for number in numbers:
            if len(read) > 8 * 5:  # a batch is with the handler, and the next one is queued
                handler.leave.set()
            read.append(number)
            yield number

    with BlockingBatcher(handler, max_batch_size=8, dedupe=lambda number: number) as batcher:
        assert sorted(batcher.map(source(), ordering=ordering)) == numbers
        assert batcher.statistics().deduplicated >= 64 * 4 - len(handler.sizes)
    assert sum(handler.sizes) <= 64 + len(handler.sizes)


@pytest.mark.parametrize("ordering", ["ordered", "unordered"])
@pytest.mark.parametrize(("capacity", "most"), [(20, 20), (None, 100)])
def test_a_source_that_repeats_one_item_for_ever_is_read_within_a_bound(
    capacity: int | None, most: int, ordering: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking_mapping, "PATIENCE", 1000.0)
    monkeypatch.setattr(window, "MOST_WITHOUT_CAPACITY", 100)
    read = itertools.count(1)

    def source() -> Iterator[int]:
        for number in read:
            assert number <= given + most + 1
            yield 7

    given = 0
    with BlockingBatcher(tenfold, max_batch_size=4, capacity=capacity, dedupe=str) as batcher:
        results = batcher.map(source(), ordering=ordering)
        for given in range(2 * most):  # noqa: B007 (the source looks at it)
            assert next(results) == 70
        results.close()  # type: ignore[attr-defined]


def test_with_dedupe_a_batcher_that_closes_under_a_map_finishes_what_it_had() -> None:
    got = []

    def close_after_the_first() -> None:
        for each in batcher.map(itertools.count()):
            got.append(each)
            batcher.close()

    with (
        BlockingBatcher(tenfold, max_batch_size=2, dedupe=lambda number: number) as batcher,
        pytest.raises(BatcherClosedError),
    ):
        close_after_the_first()
    assert got == list(range(0, 10 * len(got), 10))
    assert len(got) >= 1


# --------------------------------------------------------------------------------------- with items
def test_each_result_comes_with_its_item_in_the_order_of_the_source() -> None:
    with BlockingBatcher(tenfold, max_batch_size=4) as batcher:
        got = list(batcher.map(range(100), with_items=True))
    assert got == [(number, 10 * number) for number in range(100)]


def test_each_result_comes_with_its_item_as_it_is_ready() -> None:
    leave = threading.Event()

    def handler(items: list[int]) -> list[int]:
        if items == [0]:
            assert leave.wait(10)
        return [10 * item for item in items]

    with BlockingBatcher(handler, max_batch_size=1, max_concurrent_batches=2) as batcher:
        results = batcher.map(range(3), ordering="unordered", with_items=True)
        assert [next(results), next(results)] == [(1, 10), (2, 20)]
        leave.set()
        assert list(results) == [(0, 0)]


@pytest.mark.parametrize("ordering", ["ordered", "unordered"])
def test_each_exception_comes_with_its_item(ordering: Any) -> None:
    with BlockingBatcher(fail_on_three) as batcher:
        got = list(
            batcher.map(range(5), ordering=ordering, return_exceptions=True, with_items=True)
        )
    assert [item for item, _ in got] == [0, 1, 2, 3, 4]
    assert [outcome for item, outcome in got if item != 3] == [0, 1, 2, 4]
    assert repr(got[3][1]) == "ValueError(3)"


# ----------------------------------------------------------------------------------------- failures
@pytest.mark.parametrize("ordering", ["ordered", "unordered"])
def test_a_failed_item_is_raised_in_its_turn(ordering: Any) -> None:
    got: list[Any] = []
    with BlockingBatcher(fail_on_three) as batcher:
        with pytest.raises(ValueError, match=r"^3$"):
            got.extend(batcher.map(range(6), ordering=ordering))
        batcher.drain()
    assert got == [0, 1, 2]


def test_return_exceptions_yields_each_failure() -> None:
    with BlockingBatcher(fail_on_three) as batcher:
        *before, error, after = list(batcher.map(range(5), return_exceptions=True))
    assert (before, after) == ([0, 1, 2], 4)
    assert isinstance(error, ValueError)


@pytest.mark.parametrize("return_exceptions", [False, True])
def test_a_source_that_fails_raises_after_what_came_before_it(return_exceptions: bool) -> None:
    def source() -> Iterator[int]:
        yield from range(3)
        raise ZeroDivisionError("source")

    got: list[Any] = []
    with (
        BlockingBatcher(tenfold) as batcher,
        pytest.raises(ZeroDivisionError, match=r"^source$"),
    ):
        got.extend(batcher.map(source(), return_exceptions=return_exceptions))
    assert got == [0, 10, 20]


def test_a_late_item_is_left_out_and_counted(clockwork: Any) -> None:
    async def slow_for_two(items: list[int]) -> list[int]:
        await asyncio.sleep(5.0 if 2 in items else 0.5)
        return items

    with BlockingBatcher(
        slow_for_two,
        loop_factory=clockwork,
        max_batch_size=1,
        max_concurrent_batches=9,
        timeout=1.0,
    ) as batcher:
        assert list(batcher.map(range(5))) == [0, 1, 3, 4]
        assert batcher.statistics().late == 1
        outcomes = list(batcher.map(range(2, 3), return_exceptions=True))
        assert [type(each) for each in outcomes] == [BatchTimeoutError]


def test_a_late_item_fails_the_map_where_the_policy_is_fail(clockwork: Any) -> None:
    async def slow(items: list[int]) -> list[int]:
        await asyncio.sleep(5.0)
        return items

    with (
        BlockingBatcher(
            slow, loop_factory=clockwork, timeout=1.0, timeout_policy="fail"
        ) as batcher,
        pytest.raises(BatchTimeoutError),
    ):
        list(batcher.map(range(5)))


def test_a_batcher_that_closes_under_a_map_finishes_what_it_had() -> None:
    got = []

    def close_after_the_first() -> None:
        for each in batcher.map(range(100)):
            got.append(each)
            batcher.close()

    with BlockingBatcher(tenfold, max_batch_size=2) as batcher, pytest.raises(BatcherClosedError):
        close_after_the_first()
    assert got == list(range(0, 10 * len(got), 10))
    assert 1 <= len(got) < 100


# ---------------------------------------------------------------------------------------- giving up
@pytest.mark.parametrize("ordering", ["ordered", "unordered"])
def test_giving_up_cancels_what_is_outstanding(
    ordering: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking_mapping, "PATIENCE", 1000.0)

    async def handler(items: list[int]) -> list[int]:
        if items[0]:
            await asyncio.get_running_loop().create_future()
        return items

    with BlockingBatcher(handler, max_batch_size=1, max_concurrent_batches=2) as batcher:
        results = batcher.map(itertools.count(), ordering=ordering)
        assert next(results) == 0
        results.close()  # type: ignore[attr-defined]
        batcher.drain()
        now = batcher.statistics()
        assert (now.in_flight, now.queued, now.completed) == (0, 0, 1)
        assert now.cancelled == now.submitted - 1  # those that came to the loop before


@pytest.mark.parametrize("ordering", ["ordered", "unordered"])
def test_a_map_that_is_refused_in_the_loops_own_thread_submits_nothing(ordering: Any) -> None:
    entered, refused = threading.Event(), threading.Event()

    def use(_: object) -> None:
        with pytest.raises(RuntimeError, match="runs on this very event loop"):
            list(batcher.map([2, 3], ordering=ordering))
        refused.set()

    async def held(items: list[int]) -> list[int]:
        assert entered.wait(10)
        return items

    with BlockingBatcher(held) as batcher:
        batcher.submit(1).add_done_callback(use)
        entered.set()
        assert refused.wait(10)
        batcher.drain()
        assert batcher.statistics().submitted == 1


def test_a_map_that_never_started_costs_nothing() -> None:
    batcher = BlockingBatcher(tenfold)
    batcher.map(range(3))
    assert batcher._inbox is None
