"""Those who come back after a batch: how soon they do, and the wait for them."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from tests.core.world import World

MakeWorld = Callable[..., World]
BINS = 64


class Key:
    """A key that is equal to others of its name, and that can be watched."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


@pytest.fixture
def learning(make_world: MakeWorld) -> World:
    return make_world(free_slots=1, learns=True, max_batch_size=8)


def answer(world: World, *items: Any, **own: Any) -> Any:
    """Take a batch of these items and answer it; the slot is free, and nobody has looked yet."""
    world.submit(*items, **own)
    world.lane.flush()
    batch = world.next_batch()
    batch.resolve(tuple(batch.items), own)
    batch.end()
    world.advance(2**-10)  # what comes at the very instant of the flush goes along
    world.lane.free_slots += 1
    return batch


def wait(world: World, seconds: float = 1.0, handling: float = 0.0, enough: int = 5) -> None:
    until = world.now + seconds
    world.lane.wait(until, until + handling, enough)
    assert world.next_batch() is None
    world.lane.rearm()
    world.log.clear()


def handle_while(world: World, *items: Any, **own: Any) -> None:
    """Handle one item while others are submitted."""
    world.submit("first")
    batch = world.next_batch()
    world.submit(*items, **own)
    batch.end()
    batch.resolve((None,), None)
    world.lane.free_slots += 1


def due(world: World) -> str | None:
    """Take the batch that should go now, and say why."""
    batch = world.next_batch()
    return None if batch is None else batch.reason


def arrivals(world: World, width: float = 0.0) -> dict[int, int]:
    """Take the arrivals, by their bins."""
    counts = world.lane.take_arrivals(width)
    assert len(counts) == BINS + 1
    return {number: count for number, count in enumerate(counts) if count}


# --------------------------------------------------------------------------------------- arrivals
def test_who_comes_back_before_anybody_looks_is_counted_apart(learning: World) -> None:
    arrivals(learning, width=0.5)
    answer(learning, "a")
    learning.advance(3.0)
    learning.submit(*"abc")
    learning.next_batch()
    assert arrivals(learning) == {0: 3}


def test_who_comes_back_later_is_counted_by_how_soon(learning: World) -> None:
    arrivals(learning, width=0.5)
    answer(learning, "a")
    assert learning.next_batch() is None
    learning.submit("b")
    learning.advance(0.6)
    learning.submitter.submit_many(["c", "d"])
    learning.advance(0.5)
    learning.submit("e")
    assert arrivals(learning) == {1: 1, 2: 2, 3: 1}


def test_who_comes_after_the_last_bin_is_not_counted(learning: World) -> None:
    arrivals(learning, width=0.5)
    answer(learning, "a")
    assert learning.next_batch() is None
    learning.advance(31.9)
    learning.submit("b")
    learning.advance(0.5)
    learning.submit("c")
    assert arrivals(learning) == {BINS: 1}


def test_without_a_width_only_the_first_are_counted(learning: World) -> None:
    answer(learning, "a")
    learning.submit("b")
    assert learning.next_batch() is not None
    learning.submit("c")
    assert arrivals(learning) == {0: 1}


def test_arrivals_begin_anew_when_they_are_taken(learning: World) -> None:
    answer(learning, "a")
    learning.submit("b")
    assert arrivals(learning) == {0: 1}
    assert arrivals(learning) == {}


def test_nobody_is_counted_before_the_first_batch(learning: World) -> None:
    learning.submit(*"abc")
    assert arrivals(learning) == {}


@pytest.mark.parametrize("options", [{"learns": False}, {"learns": True, "draining": True}])
def test_nobody_is_counted_where_nothing_is_learned(
    make_world: MakeWorld, options: dict[str, Any]
) -> None:
    world = make_world(free_slots=1, **options)
    arrivals(world, width=0.5)
    answer(world, "a")
    world.submit("b")
    assert arrivals(world) == {}


def test_only_the_key_of_the_latest_batch_is_counted(make_world: MakeWorld) -> None:
    world = make_world(free_slots=1, learns=True, key=str.lower)
    answer(world, *"aA")
    world.submit(*"bAa")
    assert arrivals(world) == {0: 2}


def test_who_waits_for_admission_is_counted_when_admitted(make_world: MakeWorld) -> None:
    world = make_world(free_slots=1, learns=True, capacity=2)
    world.submit(*"abc")
    batch = world.next_batch()
    assert batch.items == ["a", "b"]
    batch.end()
    batch.resolve(("A", "B"), None)
    assert arrivals(world) == {0: 1}


def test_who_joins_an_equal_item_is_not_counted(make_world: MakeWorld) -> None:
    world = make_world(free_slots=1, learns=True, dedupe=str)
    answer(world, "a")
    world.submit(*"bbb")
    assert arrivals(world) == {0: 1}


# ----------------------------------------------------------------------------- how the wait begins
def test_a_wait_holds_a_batch_until_its_end(learning: World) -> None:
    answer(learning, "a")
    wait(learning)
    learning.submit("a")
    assert learning.armed == learning.now + 1.0
    learning.advance(0.75)
    assert due(learning) is None
    learning.advance(0.25)
    assert learning.log == [("due",)]
    assert due(learning) == "latency"


def test_a_wait_holds_what_is_queued_already(learning: World) -> None:
    handle_while(learning, *"ab")
    wait(learning)
    assert learning.armed == learning.now + 1.0
    learning.advance(1.0)
    assert due(learning) == "latency"


def test_who_comes_after_the_wait_goes_at_once(learning: World) -> None:
    answer(learning, "a")
    wait(learning)
    learning.advance(1.0)
    learning.submit("a")
    assert due(learning) == "natural"


def test_no_wait_begins_before_a_batch_has_ended(learning: World) -> None:
    wait(learning)
    learning.submit("a")
    assert due(learning) == "natural"


# ------------------------------------------------------------------------------- how it ends before
def test_a_wait_ends_when_enough_are_queued(learning: World) -> None:
    answer(learning, "a")
    wait(learning, enough=3)
    learning.submit(*"ab")
    assert due(learning) is None
    assert learning.log == []
    learning.submit("c")
    learning.run_soon()
    assert learning.log == [("due",)]
    assert due(learning) == "expected"


def test_whoever_comes_in_the_turn_in_which_enough_are_queued_joins_them(learning: World) -> None:
    answer(learning, "a")
    wait(learning, enough=2)
    learning.submit(*"abcd")
    assert learning.log == []
    batch = learning.next_batch()
    assert (batch.items, batch.reason) == (["a", "b", "c", "d"], "expected")


def test_a_wait_for_fewer_than_are_queued_is_none(learning: World) -> None:
    answer(learning, "a")
    learning.lane.free_slots -= 1
    learning.submit(*"ab")
    now = learning.now
    learning.lane.wait(now + 1.0, now + 1.5, 1)
    learning.lane.free_slots += 1
    assert due(learning) == "expected"


def test_many_may_be_enough(learning: World) -> None:
    answer(learning, "a")
    wait(learning, enough=3)
    learning.submitter.submit_many("abc")
    learning.run_soon()
    assert learning.log == [("due",)]
    assert due(learning) == "expected"


def test_enough_may_be_queued_already(learning: World) -> None:
    handle_while(learning, *"ab")
    learning.lane.wait(learning.now + 1.0, learning.now + 1.0, 2)
    assert due(learning) == "expected"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_batch_size": 2}, "size"),
        ({"max_batch_weight": 2.0}, "weight"),
        ({"capacity": 2}, "capacity"),
    ],
)
def test_a_wait_ends_with_a_full_batch(
    make_world: MakeWorld, options: dict[str, Any], reason: str
) -> None:
    world = make_world(free_slots=1, learns=True, **options)
    answer(world, "a")
    wait(world)
    world.submit("a")
    assert due(world) is None
    world.submit("b")
    assert world.log == [("due",)]
    assert due(world) == reason


@pytest.mark.parametrize("how", ["flush", "close"])
def test_a_wait_ends_by_flush_and_close(learning: World, how: str) -> None:
    answer(learning, "a")
    wait(learning)
    learning.submit("a")
    getattr(learning.lane, how)()
    assert due(learning) == how


def test_who_comes_after_a_flush_waits_on(learning: World) -> None:
    answer(learning, "a")
    wait(learning)
    learning.lane.flush()
    learning.advance(0.5)
    learning.submit("a")
    assert due(learning) is None


def test_a_wait_ends_when_somebody_drains(learning: World) -> None:
    answer(learning, "a")
    wait(learning)
    learning.submit("a")
    learning.configure(draining=True)
    assert due(learning) == "flush"


def test_a_wait_ends_when_options_change(learning: World) -> None:
    answer(learning, "a")
    wait(learning)
    learning.submit("a")
    learning.configure(timeout=10.0)
    assert due(learning) == "natural"


def test_a_wait_ends_with_the_batch_that_it_was_for(learning: World) -> None:
    answer(learning, "a")
    wait(learning, enough=2)
    learning.submit(*"ab")
    batch = learning.next_batch()
    assert batch.reason == "expected"
    learning.lane.free_slots += 1
    learning.submit("c")
    assert due(learning) == "natural"


def test_the_end_of_the_next_batch_ends_a_wait(make_world: MakeWorld) -> None:
    world = make_world(free_slots=2, learns=True)
    world.submit("a")
    first = world.next_batch()
    world.submit("b")
    second = world.next_batch()
    first.end()
    wait(world)
    world.lane.free_slots += 1
    world.submit("c")
    assert due(world) is None
    second.end()
    assert due(world) == "natural"


# ---------------------------------------------------------------------------------------- deadlines
def test_nobody_who_is_queued_waits_until_it_is_late(learning: World) -> None:
    handle_while(learning, "a", timeout=2.5)
    learning.lane.wait(learning.now + 1.0, learning.now + 3.0, 9)
    assert due(learning) == "natural"


def test_who_has_time_enough_waits(learning: World) -> None:
    handle_while(learning, "a", timeout=2.5)
    learning.lane.wait(learning.now + 1.0, learning.now + 2.5, 9)
    assert due(learning) is None


@pytest.mark.parametrize("many", [False, True])
def test_nobody_who_comes_waits_until_it_is_late(learning: World, many: bool) -> None:
    answer(learning, "a")
    wait(learning, handling=2.0)
    learning.submit("a")
    assert due(learning) is None
    if many:
        learning.submitter.submit_many("bc", timeout=2.5)
    else:
        learning.submit("b", timeout=2.5)
    learning.run_soon()
    assert learning.log == [("due",)]
    assert due(learning) == "natural"


def test_who_joins_an_equal_item_does_not_wait_until_it_is_late(make_world: MakeWorld) -> None:
    world = make_world(free_slots=1, learns=True, dedupe=str)
    answer(world, "a")
    wait(world, handling=2.0)
    world.submit("a")
    world.submit("a", timeout=2.5)
    world.run_soon()
    assert world.log == [("due",)]
    assert due(world) == "natural"


# -------------------------------------------------------------------------------------------- keys
@pytest.fixture
def keyed(make_world: MakeWorld) -> World:
    return make_world(free_slots=1, learns=True, key=str.lower)


def test_only_the_key_of_the_latest_batch_waits(keyed: World) -> None:
    answer(keyed, "a")
    wait(keyed)
    keyed.submit("a")
    assert due(keyed) is None
    keyed.submit("b")
    batch = keyed.next_batch()
    assert (batch.items, batch.reason) == (["b"], "natural")


def test_a_wait_goes_on_while_another_keys_batch_is_handled(keyed: World) -> None:
    answer(keyed, "a")
    wait(keyed)
    keyed.submit("c")
    assert due(keyed) == "natural"
    keyed.lane.free_slots += 1
    keyed.submit("a")
    assert due(keyed) is None


def test_a_wait_outlasts_a_rest(keyed: World) -> None:
    """All who were in the batch are answered, and nobody has come back yet."""
    arrivals(keyed, width=0.5)
    answer(keyed, *"aA")
    wait(keyed, enough=2)
    assert keyed.lane.unsettled == 0
    keyed.advance(0.6)
    keyed.submit("A")
    assert due(keyed) is None
    assert keyed.armed == keyed.now + 0.4
    keyed.submit("a")
    assert due(keyed) == "expected"
    assert arrivals(keyed) == {2: 2}


def test_another_key_does_not_wait_after_a_rest(keyed: World) -> None:
    answer(keyed, "a")
    wait(keyed)
    keyed.submit("b")
    assert due(keyed) == "natural"


def test_a_wait_may_begin_at_rest(keyed: World) -> None:
    answer(keyed, "a")
    keyed.lane.rearm()
    wait(keyed)
    keyed.submit("a")
    assert due(keyed) is None


def test_options_that_change_at_rest_end_the_wait(keyed: World) -> None:
    answer(keyed, "a")
    wait(keyed)
    keyed.configure(max_batch_size=3)
    keyed.submit("a")
    assert due(keyed) == "natural"


def test_who_learns_no_more_forgets_whom_it_waited_for(keyed: World) -> None:
    answer(keyed, "a")
    wait(keyed)
    keyed.configure(learns=False)
    keyed.submit("a")
    assert due(keyed) == "natural"
    assert arrivals(keyed) == {}


@pytest.mark.parametrize("end", ["another batch", "learn no more"])
def test_only_the_key_of_the_latest_batch_is_kept_alive(make_world: MakeWorld, end: str) -> None:
    world = make_world(free_slots=1, learns=True)
    key = Key("a")
    known = weakref.ref(key)
    answer(world, "a", key=key)
    wait(world)
    del key
    if end == "another batch":
        answer(world, "b")
    else:
        world.submit("b", timeout=None)
        world.configure(learns=False)
    world.handles.clear()
    gc.collect()
    assert known() is None


def test_an_equal_key_waits_on_after_a_rest(make_world: MakeWorld) -> None:
    world = make_world(free_slots=1, learns=True)
    answer(world, "a", key=Key("a"))
    wait(world)
    world.submit("a", key=Key("a"))
    assert due(world) is None


# ------------------------------------------------------------------------------------ other options
def test_the_first_by_rank_wait_too(make_world: MakeWorld) -> None:
    world = make_world(free_slots=1, learns=True, priority=float)
    answer(world, 1)
    wait(world, enough=3)
    world.submit(3, 1)
    assert due(world) is None
    world.submit(2)
    batch = world.next_batch()
    assert (batch.items, batch.reason) == ([1, 2, 3], "expected")


def test_a_wait_counts_those_who_share_an_item_once(make_world: MakeWorld) -> None:
    world = make_world(free_slots=1, learns=True, dedupe=str)
    answer(world, "a")
    wait(world, enough=2)
    world.submit(*"aaa")
    assert due(world) is None
    world.submit("b")
    assert due(world) == "expected"


def test_a_wait_ends_when_enough_are_admitted(make_world: MakeWorld) -> None:
    world = make_world(free_slots=2, learns=True, capacity=3, max_batch_size=2)
    world.submit(*"abcd")
    first = world.next_batch()
    world.lane.free_slots = 0
    first.end()
    world.lane.free_slots = 1
    world.lane.wait(world.now + 1.0, world.now + 1.0, 2)
    assert world.next_batch().reason == "capacity"
    first.resolve(("A", "B"), None)
    assert world.lane.queued == 1


def test_cancelled_items_are_not_enough(learning: World) -> None:
    answer(learning, "a")
    wait(learning, enough=2)
    (ticket,) = learning.submit("a")
    ticket.cancel()
    learning.submit("b")
    assert due(learning) is None


def test_an_endless_wait_needs_no_timer(learning: World) -> None:
    answer(learning, "a")
    wait(learning, seconds=math.inf)
    learning.submit("a")
    assert learning.armed == math.inf
