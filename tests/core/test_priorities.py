"""Weights and priorities: which items of a group go together, and which go first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch import _core
from microbatch.errors import OverweightError
from tests.core.world import World

if TYPE_CHECKING:
    from collections.abc import Callable


def batches(world: World) -> list[list[Any]]:
    """Take all that is queued, batch by batch."""
    taken: list[list[Any]] = []
    while (batch := world.take()) is not None:
        taken.append(batch.items)
    return taken


# ------------------------------------------------------------------------------------- weights
@pytest.fixture
def weighed(make_world: Callable[..., World]) -> Callable[..., World]:
    """Make a world whose items are their own weight."""

    def make(*, refuse: bool = False, **options: Any) -> World:
        given = {"max_batch_weight": 4.0, "max_latency": 1.0, **options}
        return make_world(weigh=lambda item: item, refuse_overweight=refuse, **given)

    return make


def test_what_does_not_fit_closes_the_batch(weighed: Callable[..., World]) -> None:
    world = weighed()
    world.submit(2, 1.5, 1, 0.25, 3)
    assert batches(world) == [[2, 1.5], [1, 0.25], [3]]


def test_an_overweight_item_goes_alone(weighed: Callable[..., World]) -> None:
    world = weighed()
    world.submit(1, 9, 0, 1)
    batches = [world.take() for _ in range(3)]
    assert [batch.items for batch in batches] == [[1], [9], [0, 1]]
    assert [batch.weight for batch in batches] == [1.0, 9.0, 1.0]


def test_an_overweight_item_may_be_refused(weighed: Callable[..., World]) -> None:
    world = weighed(refuse=True)
    with pytest.raises(
        OverweightError, match=r"^weight must be <= max_batch_weight \(4\) for batcher 'embed', "
    ):
        world.submit(4.5)
    with pytest.raises(OverweightError, match=r"got 5$"):
        world.submitter.submit_many([1, 5])
    assert (world.lane.rejected, world.lane.unsettled) == (2, 0)


def test_a_group_that_is_heavy_goes_at_once(weighed: Callable[..., World]) -> None:
    world = weighed()
    world.submit(1, 2)
    assert world.due_items() == []
    world.submit(1)
    assert world.log == [("due",)]
    batch = world.next_batch()
    assert (batch.items, batch.reason, batch.weight) == ([1, 2, 1], "weight", 4.0)


def test_a_group_that_is_heavy_no_more_waits_for_company(weighed: Callable[..., World]) -> None:
    world = weighed(free_slots=0)
    *_, last = world.submit(1, 2, 1)
    world.lane.free_slots = 1
    last.cancel()
    assert world.due_items() == []
    world.lane.rearm()
    assert world.armed == 101.0


def test_parts_weigh_what_is_in_them(weighed: Callable[..., World]) -> None:
    world = weighed()
    world.submit(1, 0.5, 2)
    batch = world.take()
    assert (batch.part(1, 3).weight, batch.weight) == (2.5, 3.5)


@pytest.mark.parametrize("weight", [-1, math.nan, math.inf])
def test_a_weight_is_finite(weighed: Callable[..., World], weight: float) -> None:
    world = weighed()
    with pytest.raises(ValueError, match=rf"^weight must be >= 0 and finite, got {weight}$"):
        world.submit(weight)


@pytest.mark.parametrize("weight", [None, "1", True])
def test_a_weight_is_a_number(weighed: Callable[..., World], weight: Any) -> None:
    world = weighed()
    with pytest.raises(TypeError, match=rf"^weight must be a number, got {weight!r}$"):
        world.submitter.submit(1, weight=weight)
    assert (world.lane.unsettled, batches(world)) == (0, [])


# ---------------------------------------------------------------------------------- priorities
@pytest.fixture
def ranked(make_world: Callable[..., World]) -> Callable[..., World]:
    """Make a world whose items are pairs of a key and a priority."""

    def make(*, ageing: float = 1.0, **options: Any) -> World:
        return make_world(
            key=lambda item: item[0], priority=lambda item: item[1], ageing=ageing, **options
        )

    return make


def test_urgent_items_go_first(ranked: Callable[..., World]) -> None:
    world = ranked(max_batch_size=2)
    world.submit(("a", 2), ("a", 0), ("a", 1), ("a", 0))
    assert batches(world) == [[("a", 0), ("a", 0)], [("a", 1), ("a", 2)]]


def test_the_group_of_the_most_urgent_item_goes_first(ranked: Callable[..., World]) -> None:
    world = ranked()
    world.submit(("a", 2), ("b", 1), ("c", 3), ("a", 1), ("c", 0))
    assert [batch[0][0] for batch in batches(world)] == ["c", "b", "a"]


def test_equal_ranks_go_in_the_order_of_admission(ranked: Callable[..., World]) -> None:
    world = ranked(max_batch_size=9, ageing=0.5)
    world.submit(("a", 2), ("a", 2))
    world.advance(1.0)
    late = ("a", 0)
    world.submit(late, ("a", 0))
    taken = world.take()
    assert taken.items == [("a", 2), ("a", 2), ("a", 0), ("a", 0)]
    assert taken.waits == [1.0, 1.0, 0.0, 0.0]


def test_priorities_may_begin_later(world: World) -> None:
    world.submit("one", "two")
    world.submitter.submit("three", priority=1)
    world.submitter.submit("four", priority=-1)
    world.submitter.submit_many(["five"], priority=-2)
    assert batches(world) == [["five", "four", "one", "two"], ["three"]]


@pytest.mark.parametrize("priority", [math.nan, -math.inf])
def test_a_priority_is_finite(world: World, priority: float) -> None:
    with pytest.raises(ValueError, match=rf"^priority must be finite, got {priority}$"):
        world.submitter.submit("one", priority=priority)


def test_a_priority_is_a_number(world: World) -> None:
    with pytest.raises(TypeError, match=r"^priority must be a number, got 'high'$"):
        world.submitter.submit_many(["one"], priority="high")


def test_who_waited_for_admission_when_priorities_came_goes_by_age(
    make_world: Callable[..., World],
) -> None:
    world = make_world(capacity=1, max_batch_size=1, free_slots=1)
    world.submit("first", "second", "third")
    batch = world.next_batch()
    batch.resolve((1,), lambda error: error)
    world.submitter.submit("urgent", priority=-1.0)  # the second is queued, the third waits
    world.configure(capacity=4, max_batch_size=4)
    batch.end()
    world.lane.free_slots += 1
    assert world.due_items() == ["urgent", "second", "third"]


def test_deadlines_are_kept_whatever_the_order(ranked: Callable[..., World]) -> None:
    world = ranked(timeout=2.0)
    world.submit(("a", 9))
    world.advance(1.0)
    world.submit(("a", 0))
    batch = world.take()
    assert batch.items == [("a", 0), ("a", 9)]
    part = batch.part(0, 2)
    world.lane.rearm()
    assert world.armed == 102.0
    world.advance(1.0)
    _, in_flight, hit = world.lane.take_late()
    assert (in_flight.items, hit, part.items) == ([("a", 9)], [part], [("a", 0)])


@given(
    waits=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=2, max_size=40),
    ageing=st.sampled_from([0.5, 1.0, 2.0]),
    size=st.integers(1, 5),
)
def test_nothing_is_overtaken_for_long(
    waits: list[tuple[int, int]], ageing: float, size: int
) -> None:
    world = World(_core, max_batch_size=size, priority=lambda item: item[1], ageing=ageing)
    for number, (seconds, priority) in enumerate(waits):
        world.now += seconds
        world.submit((number, priority, world.now))
    taken = [item for batch in batches(world) for item in batch]
    for place, (number, priority, submitted) in enumerate(taken):
        for other, urgent, later in taken[:place]:
            if other > number:  # it has overtaken
                assert later - submitted < (priority - urgent) * ageing


def test_many_come_and_go(ranked: Callable[..., World]) -> None:
    world = ranked(max_batch_size=1)
    for step in range(400):
        ticket, _ = world.submit(("a", -step % 7), ("ab"[step % 2], step % 5))
        ticket.cancel()
        if step % 3 == 0:
            world.take()
    assert sum(map(len, batches(world))) == 400 - 134
