"""A batch tells when each of its items is late."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.core.world import World


def test_an_item_without_a_timeout_is_never_late(world: World) -> None:
    world.submit("a")
    world.submit("b", timeout=2.0)
    assert world.take().deadlines == [math.inf, 102.0]


def test_each_deadline_counts_from_the_submission(make_world: Callable[..., World]) -> None:
    world = make_world(timeout=5.0)
    world.submit("a")
    world.advance(1.0)
    world.submit("b")
    world.submit("c", timeout=None)
    world.submitter.submit_many(["d", "e"], timeout=1.0)
    assert world.take(5).deadlines == [105.0, 106.0, math.inf, 102.0, 102.0]


def test_what_is_settled_or_given_up_has_none(make_world: Callable[..., World]) -> None:
    world = make_world(timeout=5.0)
    tickets = world.submit("a", "b", "c")
    batch = world.take()
    batch.settle(0, "fine", KeyError)
    tickets[1].cancel()
    assert batch.deadlines == [None, None, 105.0]
    batch.fail(lambda _: ValueError())
    assert batch.deadlines == [None] * 3


def test_a_part_has_those_of_its_items(make_world: Callable[..., World]) -> None:
    world = make_world(timeout=5.0)
    world.submit("a", "b")
    world.submit("c", timeout=1.0)
    batch = world.take()
    assert batch.part(1, 3).deadlines == [105.0, 101.0]
    assert batch.deadlines == [105.0, None, None]


def test_a_new_timeout_moves_them(make_world: Callable[..., World]) -> None:
    world = make_world(timeout=5.0)
    world.submit("a")
    world.submit("b", timeout=1.0)
    batch = world.take()
    world.configure(timeout=2.0)
    assert batch.deadlines == [102.0, 101.0]


def test_callers_who_share_an_item_have_the_last_of_theirs(
    make_world: Callable[..., World],
) -> None:
    world = make_world(timeout=5.0, dedupe=str.lower)
    world.submit("a")
    (last,) = world.submit("A", timeout=9.0)
    world.submit("a", timeout=1.0)
    world.submit("b", timeout=None)
    batch = world.take()
    assert batch.deadlines == [109.0, math.inf]
    last.cancel()
    assert batch.deadlines == [105.0, math.inf]
    batch.settle(0, "fine", KeyError)
    assert batch.deadlines == [None, math.inf]
