"""Histograms: each value is in one bucket, near its bound, and none is lost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch import _core

if TYPE_CHECKING:
    from types import ModuleType

    from tests.core.world import World

LEAST, MOST = 2.0**-30, 2.0**34
VALUES = st.lists(
    st.one_of(
        st.floats(allow_nan=False, width=64),
        st.floats(1e-9, 1e5),
        st.integers(0, 100).map(float),
        st.integers(-32, 36).map(lambda power: 2.0**power),
        st.integers(-32, 36).map(lambda power: math.nextafter(2.0**power, math.inf)),
    ),
    max_size=50,
)


def filled(core: ModuleType, values: list[float]) -> Any:
    histogram = core.Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(VALUES)
def test_it_knows_the_least_the_greatest_and_the_sum(values: list[float]) -> None:
    histogram = filled(_core, values)
    assert histogram.min == min(values, default=math.inf)
    assert histogram.max == max(values, default=-math.inf)
    total = 0.0
    for value in values:
        total += value
    assert histogram.sum == total or (math.isnan(histogram.sum) and math.isnan(total))


@given(st.floats(LEAST, MOST, exclude_min=True))
def test_a_bound_is_at_most_a_sixteenth_above_what_is_in_its_bucket(value: float) -> None:
    [(bound, count)] = filled(_core, [value]).buckets
    assert count == 1
    assert value <= bound <= value * (1 + 1 / 16)


@given(VALUES)
def test_no_value_is_lost(values: list[float]) -> None:
    buckets = filled(_core, values).buckets
    assert sum(count for _, count in buckets) == len(values)
    assert [bound for bound, _ in buckets] == sorted({bound for bound, _ in buckets})


def test_an_empty_histogram_has_no_buckets(core: ModuleType) -> None:
    histogram = core.Histogram()
    assert (histogram.buckets, histogram.sum) == ([], 0.0)
    assert (histogram.min, histogram.max) == (math.inf, -math.inf)


@pytest.mark.parametrize("value", [*range(1, 33), 64, 1024, 0.5, 2**-29, MOST])
def test_small_whole_numbers_and_powers_of_two_are_bounds(core: ModuleType, value: float) -> None:
    assert filled(core, [value]).buckets == [(value, 1)]


@pytest.mark.parametrize(
    ("value", "bound"),
    [(0.0, LEAST), (-5.0, LEAST), (LEAST, LEAST), (-math.inf, LEAST), (2 * MOST, math.inf)],
)
def test_one_bucket_at_each_end_takes_all_beyond(
    core: ModuleType, value: float, bound: float
) -> None:
    assert filled(core, [value]).buckets == [(bound, 1)]


# --------------------------------------------------------------------------------- what is measured
def test_taking_a_batch_measures_the_wait_of_each_item(world: World) -> None:
    world.submit("a")
    world.advance(1.0)
    world.submit("b", "c")
    world.advance(2.0)
    world.take()
    measures = world.lane.measures
    assert measures.queue_wait.buckets == [(2.0, 2), (3.0, 1)]
    assert (measures.queue_wait.sum, measures.queue_wait.max) == (7.0, 3.0)
    assert measures.batch_size.buckets == [(3.0, 1)]
    assert measures.occupancy.buckets == [(0.75, 1)]
    assert measures.handler_time.buckets == []


def test_the_items_of_one_submission_are_measured_one_by_one(world: World) -> None:
    world.submitter.submit_many(["a", "b", "c"])
    world.advance(4.0)
    world.take(2)
    world.take(2)
    assert world.lane.measures.queue_wait.buckets == [(4.0, 3)]
    assert world.lane.measures.batch_size.buckets == [(1.0, 1), (2.0, 1)]


def test_what_was_given_up_or_never_taken_is_not_measured(world: World) -> None:
    first, _second = world.submit("a", "b")
    first.cancel()
    world.take()
    world.take()
    assert world.lane.measures.queue_wait.buckets == [(LEAST, 1)]
    assert world.lane.measures.batch_size.buckets == [(1.0, 1)]


def test_the_end_of_a_handler_call_is_measured_once_told(world: World) -> None:
    world.submit("a")
    batch = world.take()
    assert batch.ended == 0.0
    world.advance(0.5)
    batch.end()
    assert batch.ended == world.now
    assert world.lane.measures.handler_time.buckets == [(0.5, 1)]


# ------------------------------------------------------------------------------ what a batch knows
def test_a_flight_counts_the_items_that_got_an_exception(world: World) -> None:
    world.submit("a", "b", "c", "d", "e")
    batch = world.take(5)
    batch.settle(0, KeyError("a"), own_copy)
    batch.settle(1, "fine", own_copy)
    assert not batch.settle(0, "again", own_copy)
    part = batch.part(2, 4)
    part.part(0, 1).fail(lambda _: ValueError())
    part.resolve((None, KeyError("d")), own_copy)
    assert batch.failed == 3
    batch.fail(lambda _: ValueError())
    assert (batch.failed, part.failed) == (4, 0)
    assert world.counters() == {"submitted": 5, "completed": 1, "failed": 4}


def own_copy(error: BaseException) -> BaseException:
    return type(error)(*error.args)
