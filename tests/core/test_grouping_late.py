"""A lane may be told about groups when items are queued already."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.core.world import World


def take(world: World) -> list[Any]:
    group = world.lane.next_group(math.inf, False)
    assert group is not None
    flight = world.lane.take_group(group)
    world.lane.leave_group(flight)
    items: list[Any] = flight.items
    flight.resolve((None,) * flight.size, lambda error: error)
    return items


def test_what_is_queued_has_no_key_and_weighs_one(world: World) -> None:
    world.submit("a", "b", "c")
    world.lane.configure(
        max_batch_size=9,
        max_latency=0.0,
        capacity=None,
        overflow="wait",
        timeout=None,
        max_batch_weight=2,
    )
    world.lane.group(key=str.upper, weigh=lambda item: 2.0)
    world.submit("d")
    assert [take(world) for _ in range(3)] == [["a", "b"], ["c"], ["d"]]


def test_what_is_queued_is_overtaken_by_what_comes_first_now(world: World) -> None:
    world.submit("a", "b")
    world.lane.group(priority=lambda item: -10.0)
    world.submit("c")
    assert take(world) == ["c", "a", "b"]


def test_a_lane_is_grouped_only_once(world: World) -> None:
    world.lane.group()
    with pytest.raises(RuntimeError, match=r"^a lane must be grouped only once$"):
        world.lane.group()
