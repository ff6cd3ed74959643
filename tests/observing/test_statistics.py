"""What statistics() tells of batches: how they went, and how their figures were distributed."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch import Batcher, BatcherStatistics, Distribution
from microbatch._core import Histogram
from microbatch._dispatch.snapshots import distribution_of
from microbatch.statistics import duration, metrics
from microbatch.testing import RecordingHandler

VALUES = st.lists(st.floats(2.0**-30, 2.0**34, exclude_min=True), min_size=1, max_size=60)


def distribution(values: list[float]) -> Distribution:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return distribution_of(histogram)


# ------------------------------------------------------------------------------------ distributions
@given(VALUES, st.floats(0, 1))
def test_a_quantile_is_at_most_a_sixteenth_above_the_sorted_value(
    values: list[float], q: float
) -> None:
    rank = max(math.ceil(q * len(values)), 1)
    exact = sorted(values)[rank - 1]
    assert exact <= distribution(values).quantile(q) <= exact * (1 + 1 / 16)


@given(VALUES)
def test_the_outer_quantiles_are_the_least_and_the_greatest_value(values: list[float]) -> None:
    known = distribution(values)
    assert (known.quantile(0), known.quantile(1)) == (min(values), max(values))
    assert (known.min, known.max, known.count) == (min(values), max(values), len(values))
    assert known.mean == pytest.approx(sum(values) / len(values))


def test_nothing_has_a_distribution_too() -> None:
    nothing = Distribution()
    assert (nothing.count, nothing.sum, nothing.mean, nothing.quantile(0.5)) == (0, 0.0, 0.0, 0.0)
    assert nothing.cumulative([1, 2]) == [0, 0]
    assert nothing + nothing == nothing


@pytest.mark.parametrize("q", [-0.1, 1.5, math.nan])
def test_a_quantile_is_of_a_part_from_0_to_1(q: float) -> None:
    with pytest.raises(ValueError, match=f"q must be from 0 to 1, got {q}"):
        Distribution().quantile(q)


@given(VALUES, st.lists(st.integers(-30, 34).map(lambda power: 2.0**power), unique=True))
def test_cumulative_counts_are_exact_at_powers_of_two(
    values: list[float], bounds: list[float]
) -> None:
    bounds.sort()
    exact = [sum(value <= bound for value in values) for bound in bounds]
    assert distribution(values).cumulative(bounds) == exact


@given(VALUES, VALUES)
def test_the_sum_of_two_is_the_distribution_of_all(some: list[float], more: list[float]) -> None:
    both, all_ = distribution(some) + distribution(more), distribution([*some, *more])
    assert (both.buckets, both.min, both.max) == (all_.buckets, all_.min, all_.max)
    assert both.sum == pytest.approx(all_.sum)


# --------------------------------------------------------------------------------------- statistics
async def test_figures_of_batches_are_distributed_over_the_batches() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=0.5)
    batcher = Batcher(handler, max_batch_size=4, max_latency=2.0)
    before = batcher.statistics()
    await asyncio.gather(*(batcher.submit(item) for item in range(6)))
    now = batcher.statistics()
    assert before.batch_size == before.handler_time == Distribution()
    assert now.batch_size.buckets == ((2.0, 1), (4.0, 1))
    assert now.occupancy.buckets == ((0.5, 1), (1.0, 1))
    assert (now.queue_wait.count, now.queue_wait.max) == (6, 2.5)
    assert now.queue_wait.quantile(0) == 0.0
    assert now.queue_wait.quantile(0.5) == 2.0**-30  # as near to 0 as it tells
    assert now.handler_time.buckets == ((0.5, 2),)
    assert now.mean_batch_size == now.batch_size.mean == 3.0
    assert (now.failed_batches, now.cancelled_batches) == (0, 0)


async def test_batches_that_failed_or_were_cancelled_are_counted() -> None:
    async def handler(items: list[str]) -> list[str]:
        if items == ["cancel"]:
            raise asyncio.CancelledError
        if items == ["raise"]:
            raise ValueError
        return items * 2 if items == ["too many"] else items

    batcher = Batcher(handler, max_batch_size=1)
    words = ["cancel", "raise", "fine", "too many"]
    await asyncio.gather(*(batcher.submit(word) for word in words), return_exceptions=True)
    now = batcher.statistics()
    assert (now.failed_batches, now.cancelled_batches, now.calls) == (2, 1, 4)
    assert now.handler_time.count == 4


async def test_a_handler_that_cannot_be_called_is_a_failed_batch() -> None:
    async def handler(items: list[int]) -> list[int]:
        return items

    batcher: Batcher[int, int] = Batcher(handler)
    batcher.router.here()._call = lambda items: 1 / 0  # type: ignore[assignment]
    with pytest.raises(ZeroDivisionError):
        await batcher.submit(1)
    now = batcher.statistics()
    assert (now.failed_batches, now.handler_time.count, now.slots_busy) == (1, 1, 0)


def test_figures_are_summed_over_loops_that_are_closed_too(loop_kind: Any) -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(), max_batch_size=2)

    async def main(count: int) -> None:
        await asyncio.gather(*(batcher.submit(item) for item in range(count)))

    for count in (1, 2, 4):
        loop_kind.run(main, count)
    now = batcher.statistics()
    assert now.batch_size.buckets == ((1.0, 1), (2.0, 3))
    assert (now.queue_wait.count, now.handler_time.count) == (7, 4)
    assert (now.completed, now.slots_busy, now.calls) == (7, 0, 4)


async def test_each_number_has_one_owner_who_counts_it() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(), on_error="bisect")
    owners = batcher.router.here()._owners()
    for metric in metrics():
        assert sum(hasattr(owner, metric.name) for owner in owners) == 1, metric


def test_statistics_of_two_batchers_add_up() -> None:
    one = BatcherStatistics(submitted=2, completed=1, batches={"size": 1, "flush": 1})
    two = BatcherStatistics(submitted=3, queued=3, batches={"size": 2})
    both = one + two
    assert (both.submitted, both.completed, both.queued) == (5, 1, 3)
    assert both.batches == {"size": 3, "flush": 1}
    assert both.calls == 4


# ---------------------------------------------------------------------------------- to be looked at
async def used() -> BatcherStatistics:
    batcher = Batcher(
        RecordingHandler(
            lambda items: [ValueError() if item == 5 else item for item in items], delay=0.5
        ),
        max_batch_size=4,
        max_latency=2.0,
    )
    await asyncio.gather(*(batcher.submit(item) for item in range(6)), return_exceptions=True)
    return batcher.statistics()


async def test_statistics_are_shown_on_a_line() -> None:
    assert repr(await used()) == (
        "<BatcherStatistics: submitted 6, completed 5, failed 1, batches 2 (size 1, latency 1), "
        "mean batch size 3, queue wait p50 0 s, p99 2.5 s, handler time p50 500 ms, p99 500 ms>"
    )


async def test_statistics_are_a_table_in_a_notebook() -> None:
    table = (await used())._repr_html_()
    assert table.startswith(
        "<table><caption>BatcherStatistics</caption><tr><th>submitted</th><td>6</td></tr>"
    )
    assert "<tr><th>batches</th><td>2 (size 1, latency 1)</td></tr>" in table
    assert table.endswith("<td>p50 500 ms, p99 500 ms</td></tr></table>")


def test_whatever_is_shown_in_html_is_escaped() -> None:
    odd = BatcherStatistics(batched=1, batches={"<b>&": 1})
    assert "<td>1 (&lt;b&gt;&amp; 1)</td>" in odd._repr_html_()


def test_statistics_of_nothing_are_shown() -> None:
    assert repr(BatcherStatistics()) == "<BatcherStatistics: submitted 0>"
    assert repr(BatcherStatistics(rejected=2)) == "<BatcherStatistics: rejected 2>"
    assert repr(Distribution()) == "<Distribution: values 0>"


def test_what_was_learned_is_shown_with_its_units() -> None:
    learned = BatcherStatistics(
        learned_latency=0.00421875,
        expected_arrivals=30.41666,
        batches_saved=26,
        seconds_saved=15.05,
    )
    assert repr(learned) == (
        "<BatcherStatistics: learned latency 4.22 ms, expected arrivals 30.4, batches saved 26, "
        "seconds saved 15.1 s>"
    )


def test_a_distribution_is_shown_on_a_line_or_as_a_table() -> None:
    known = distribution([0.25, 0.5, 1.0, 123.456])
    assert repr(known) == (
        "<Distribution: values 4, mean 31.3, p50 0.5, p99 123, min 0.25, max 123>"
    )
    assert known._repr_html_().startswith(
        "<table><caption>Distribution</caption><tr><th>values</th><td>4</td></tr><tr><th>mean</th>"
    )


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0 s"),
        (2.0**-30, "0 s"),
        (2e-9, "0.002 µs"),
        (2e-6, "2 µs"),
        (9.996e-4, "1 ms"),
        (0.01234, "12.3 ms"),
        (0.9996, "1 s"),
        (12.345, "12.3 s"),
        (5000.0, "5000 s"),
    ],
)
def test_times_are_shown_to_three_digits(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_statistics_never_change() -> None:
    with pytest.raises(AttributeError):
        BatcherStatistics().batch_size = Distribution()  # type: ignore[misc]
    with pytest.raises(TypeError):
        (BatcherStatistics() + BatcherStatistics()).batches["size"] = 1  # type: ignore[index]
