"""What is learned of traffic, and how long to wait by it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch._dispatch.learning import (
    BINS,
    EVERY,
    AtOnce,
    Ended,
    HandlerTime,
    LearnedWait,
    Round,
    Seen,
)

HANDLING = 0.020


def ended(
    size: int, seconds: float, others: int = 0, turn: float = 0.0, idle: float | None = None
) -> Ended:
    """Sum over one batch, as the core does."""
    idle = turn if idle is None else idle
    return Ended(1.0, size, float(size + others), seconds, size * size, size * seconds, turn, idle)


def several(count: int, size: int, others: int) -> Ended:
    """Sum over some batches of one kind."""
    return total([ended(size, HANDLING, others)] * count)


def total(batches: list[Ended]) -> Ended:
    return Ended(*map(sum, zip(*batches, strict=True)))


class Traffic:
    """Tell a LearnedWait of batches, and of how soon their callers come back."""

    def __init__(self, *, slots: int = 1, size: int = 64, bound: float = math.inf) -> None:
        self.width = 0.0
        self.counts = [0] * (BINS + 1)
        self.learned = LearnedWait(slots, size, bound, self.take_arrivals)
        self.ended: list[Ended] = []

    def take_arrivals(self, width: float) -> list[int]:
        counts, self.counts = self.counts, [0] * (BINS + 1)
        self.width = width
        return counts

    def back(self, *soon: float) -> None:
        """Have callers come back so many seconds after a batch."""
        for seconds in soon:
            if seconds == 0.0:
                self.counts[0] += 1
            elif self.width and seconds < BINS * self.width:
                self.counts[int(seconds / self.width) + 1] += 1

    def batches(
        self, count: int, answered: int, soon: list[float], *, seconds: float = HANDLING
    ) -> float:
        """Have so many batches end, each with as many callers queued."""
        for _ in range(count):
            self.end(answered, seconds, answered)
            self.back(*soon)
        return self.learned.wait

    def end(
        self,
        answered: int,
        seconds: float,
        others: int,
        turn: float = 0.0,
        idle: float | None = None,
    ) -> None:
        if len(self.ended) == EVERY:
            self.learned.choose(total(self.ended))
            self.ended.clear()
        self.ended.append(ended(answered, seconds, others, turn, idle))


WAVE = [0.001 + 0.0002 * number for number in range(16)]
"""Sixteen callers who are back within 4 ms."""


# ------------------------------------------------------------------------------- the handler's time
def test_the_handlers_time_is_a_line_through_its_batches() -> None:
    handler = HandlerTime()
    for size in (10, 40, 25, 60, 5, 33) * 5:
        handler.add(ended(size, 0.02 + 0.001 * size))
    assert handler.each == pytest.approx(0.001, rel=0.05)
    assert handler.fixed == pytest.approx(0.02, rel=0.05)


def test_batches_of_one_size_say_nothing_of_items() -> None:
    handler = HandlerTime()
    for seconds in (0.02, 0.03, 0.02, 0.03):
        handler.add(ended(16, seconds))
    assert handler.each == 0.0
    assert handler.fixed == pytest.approx(0.025)


def test_batches_of_one_size_leave_the_line_as_it_was() -> None:
    handler = HandlerTime()
    for size in (10, 40, 25, 60) * 5:
        handler.add(ended(size, 0.001 * size))
    before = handler.each
    for _ in range(5):
        size = round(handler._size)
        handler.add(ended(size, 0.001 * size))
    assert handler.each == pytest.approx(before)


@given(st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 1e3)), min_size=1, max_size=50))
def test_neither_part_of_the_handlers_time_is_negative(batches: list[tuple[int, float]]) -> None:
    handler = HandlerTime()
    for size, seconds in batches:
        handler.add(ended(size, seconds))
    assert handler.each >= 0.0
    assert handler.fixed >= -1e-6


# ---------------------------------------------------------------------------------------- the curve
def test_the_curve_forgets() -> None:
    seen = Seen()
    for _ in range(40):
        seen.add(several(8, 16, 16), [8 * 16] + [0] * BINS)
    assert seen.batches == pytest.approx(16, rel=0.01)
    assert seen.back[0] == pytest.approx(16 * 16, rel=0.01)
    for _ in range(10):
        seen.add(several(8, 16, 16), [0] * (BINS + 1))
    assert seen.back[0] < 1.0


def test_the_curve_remembers_enough_answers_of_small_batches() -> None:
    seen = Seen()
    for _ in range(400):
        seen.add(several(8, 1, 1), [0] * (BINS + 1))
    assert seen.answered == pytest.approx(128, rel=0.01)


# ------------------------------------------------------------------------------- what a round costs
def test_callers_who_are_back_in_time_save_batches() -> None:
    handler, seen = HandlerTime(), Seen()
    handler.add(ended(16, HANDLING))
    seen.add(several(8, 16, 16), [0] * (BINS + 1))
    round_ = Round(1, 64, handler, seen, AtOnce())
    assert round_.of_back(0) == pytest.approx(2 * HANDLING)
    assert round_.of_back(128) == pytest.approx(HANDLING)
    assert round_.of_back(128, 0.004) == pytest.approx(HANDLING + 0.004)


def test_no_fewer_batches_than_it_takes() -> None:
    handler, seen = HandlerTime(), Seen()
    handler.add(ended(16, HANDLING))
    seen.add(several(8, 16, 16), [0] * (BINS + 1))
    assert Round(1, 16, handler, seen, AtOnce()).of_back(128) == pytest.approx(2 * HANDLING)


# ----------------------------------------------------------------------------------- what is chosen
def test_those_who_come_back_soon_are_waited_for() -> None:
    traffic = Traffic()
    assert traffic.batches(2 * EVERY, 16, WAVE) == 0.0
    wait = traffic.batches(2 * EVERY, 16, WAVE)
    assert WAVE[-1] < wait < HANDLING
    assert traffic.learned.expected == pytest.approx(16)


def test_nobody_is_waited_for_who_comes_back_in_the_same_turn() -> None:
    assert Traffic().batches(10 * EVERY, 16, [0.0] * 16) == 0.0


def test_nobody_is_waited_for_who_comes_back_too_late() -> None:
    assert Traffic().batches(10 * EVERY, 16, [2 * HANDLING] * 16) == 0.0
    assert Traffic().batches(10 * EVERY, 16, [0.9 * HANDLING] * 16) == 0.0


def test_nobody_is_waited_for_who_does_not_come_back() -> None:
    assert Traffic().batches(10 * EVERY, 16, []) == 0.0


def test_steady_arrivals_are_not_waited_for() -> None:
    steady = [HANDLING * number / 16 for number in range(1, 24)]
    assert Traffic().batches(10 * EVERY, 16, steady) == 0.0


@pytest.mark.parametrize("bound", [0.0, 0.0005, 0.002])
def test_nothing_is_chosen_beyond_the_bound(bound: float) -> None:
    assert Traffic(bound=bound).batches(10 * EVERY, 16, WAVE) <= bound


def test_no_wait_pays_where_the_batch_is_full_without() -> None:
    assert Traffic(size=16).batches(10 * EVERY, 16, WAVE) == 0.0


def test_no_wait_pays_where_all_the_time_is_the_items() -> None:
    traffic = Traffic()
    for number in range(10 * EVERY):
        answered = 8 + number % 17
        traffic.batches(1, answered, WAVE[:answered], seconds=0.002 * answered)
    assert traffic.learned.wait == 0.0


def test_who_comes_back_no_more_is_soon_waited_for_no_more() -> None:
    traffic = Traffic()
    assert traffic.batches(6 * EVERY, 16, WAVE) > 0.0
    assert traffic.batches(8 * EVERY, 16, []) == 0.0
    assert traffic.batches(8 * EVERY, 16, WAVE) > 0.0


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_another_scale_of_times_is_learned_anew(factor: float) -> None:
    traffic = Traffic()
    assert traffic.batches(6 * EVERY, 16, WAVE) > 0.0
    soon = [factor * seconds for seconds in WAVE]
    waits = [traffic.batches(1, 16, soon, seconds=factor * HANDLING) for _ in range(12 * EVERY)]
    assert 0.0 in waits
    assert soon[-1] < waits[-1] < factor * HANDLING
    assert traffic.width * BINS == pytest.approx(1.5 * factor * HANDLING, rel=0.5)


def test_time_that_the_loop_takes_for_the_answered_is_part_of_going_at_once() -> None:
    slowly = [0.017 + 0.0002 * number for number in range(16)]
    busy, idle = Traffic(), Traffic()
    for _ in range(6 * EVERY):
        busy.end(16, HANDLING, 16, turn=0.010)
        busy.back(*slowly)
        idle.end(16, HANDLING, 16)
        idle.back(*slowly)
    assert busy.learned.wait > slowly[-1]
    assert idle.learned.wait == 0.0


def test_a_wait_that_is_seen_to_pay_is_kept_whatever_the_curve_says() -> None:
    kept, dropped = Traffic(), Traffic()
    for traffic in (kept, dropped):
        assert traffic.batches(4 * EVERY, 16, WAVE) > 0.0
    wait = kept.learned.wait
    for _ in range(2 * EVERY):
        kept.end(32, HANDLING, 0, idle=0.010)
        kept.back(*[0.9 * HANDLING] * 32)
        dropped.end(32, HANDLING, 0, idle=0.020)
        dropped.back(*[0.9 * HANDLING] * 32)
    assert kept.learned.wait == wait
    assert kept.learned.expected > 0.0
    assert dropped.learned.wait == 0.0


def test_what_a_wait_is_compared_with_is_measured_anew_sometimes() -> None:
    traffic, waits = Traffic(), []
    assert traffic.batches(4 * EVERY, 16, WAVE) > 0.0
    for _ in range(70 * EVERY):
        traffic.end(32, HANDLING, 0, idle=0.010)
        traffic.back(*[0.9 * HANDLING] * 32)
        waits.append(traffic.learned.wait > 0.0)
    assert 55 * EVERY < waits.index(False) < 65 * EVERY
    assert not waits[-1]  # going at once costs less now


def test_a_wait_that_still_pays_is_chosen_again_at_once() -> None:
    traffic, waits = Traffic(), []
    for _ in range(300 * EVERY):
        merged = traffic.learned.wait > 0.0
        traffic.end(32 if merged else 16, HANDLING, 0 if merged else 16)
        traffic.back(*(WAVE * 2 if merged else WAVE))
        waits.append(merged)
    assert 0.98 < sum(waits) / len(waits) < 1.0
    assert waits[-1]


def test_a_straggler_is_waited_for_where_that_costs_little() -> None:
    traffic = Traffic()
    soon = [*WAVE[:-1], 0.006]
    assert traffic.batches(8 * EVERY, 16, soon) > 0.006


# ----------------------------------------------------------------------------------------- anything
batch = st.tuples(
    st.integers(1, 100),
    st.one_of(st.just(0.0), st.floats(0, 100), st.sampled_from([1e-9, 0.02])),
    st.integers(0, 1000),
    st.floats(0, 1),
    st.floats(0, 1),
    st.lists(st.integers(0, BINS), max_size=3),
)
bounds = st.one_of(st.just(math.inf), st.floats(0, 1))


@given(
    batches=st.lists(batch, max_size=12),
    often=st.integers(1, 12),
    slots=st.integers(1, 4),
    size=st.integers(1, 64),
    bound=bounds,
)
def test_whatever_happens_the_wait_is_within_its_bounds(
    batches: list[Any], often: int, slots: int, size: int, bound: float
) -> None:
    traffic = Traffic(slots=slots, size=size, bound=bound)
    for answered, seconds, others, turn, idle, bins in often * batches:
        traffic.end(answered, seconds, others, turn, turn + idle)
        assert 0.0 <= traffic.learned.wait <= bound
        assert 0.0 <= traffic.learned.expected < math.inf
        for number in bins:
            traffic.counts[number] += answered
