"""Batches of one key: which group is next, and what is kept of groups."""

from __future__ import annotations

import gc
import math
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.world import outcome, own

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.core.world import World


@pytest.fixture
def keyed(make_world: Callable[..., World]) -> Callable[..., World]:
    """Make a world whose items are grouped by their first letter."""

    def make(*, most: int | None = None, **options: Any) -> World:
        world = make_world(**{"max_latency": 1.0, **options})
        world.lane.group(key=lambda item: item[0], max_batches_per_key=most)
        return world

    return make


def take_next(world: World, before: float = 0.0, *, anyway: bool = False) -> list[str] | None:
    """Take the next batch, and give its items; None where all should wait."""
    group = world.lane.next_group(before, anyway)
    return None if group is None else world.lane.take_group(group).items


def test_a_batch_holds_one_key(keyed: Callable[..., World]) -> None:
    world = keyed(max_latency=0.0)
    world.submit("a1", "b1", "a2", "b2")
    assert [take_next(world), take_next(world), take_next(world)] == [
        ["a1", "a2"],
        ["b1", "b2"],
        None,
    ]


def test_a_group_that_is_full_goes_before_older_ones(keyed: Callable[..., World]) -> None:
    world = keyed(max_batch_size=2)
    world.submit("a1", "b1")
    assert take_next(world) is None
    assert world.log == []
    world.submit("b2")
    assert world.log == [("due",)]
    group = world.lane.next_group(0.0, anyway=False)
    assert (group.key, group.queued, group.full, group.oldest) == ("b", 2, True, 100.0)
    assert world.lane.take_group(group).items == ["b1", "b2"]
    assert take_next(world) is None
    assert take_next(world, anyway=True) == ["a1"]


def test_a_group_whose_oldest_item_has_waited_goes(keyed: Callable[..., World]) -> None:
    world = keyed()
    world.submit("a1")
    world.advance(0.5)
    world.submit("b1")
    assert world.armed == 101.0
    assert take_next(world, before=99.5) is None
    assert take_next(world, before=100.0) == ["a1"]
    world.lane.rearm()
    assert world.armed == 101.0  # as it was; a timer that is early is set again
    world.advance(0.5)
    world.lane.rearm()
    assert world.armed == 101.5


def test_a_group_that_was_due_and_lost_its_items_waits_again(keyed: Callable[..., World]) -> None:
    world = keyed(max_batch_size=2, slot_free=False)
    first, _ = world.submit("a1", "a2")
    world.advance(0.5)
    world.submit("a3")
    first.cancel()
    world.lane.slot_free = True
    assert take_next(world) == ["a2", "a3"]
    world.submit("b1", "b2")[0].cancel()
    assert take_next(world) is None
    world.lane.rearm()
    assert world.armed == 101.5


def test_a_group_that_was_old_enough_and_not_taken_is_still_timed(
    keyed: Callable[..., World],
) -> None:
    world = keyed()
    world.submit("a1", "b1")
    assert world.lane.next_group(100.0, anyway=False).key == "a"
    world.handles.clear()
    world.advance(0)
    world.lane.fire()
    world.lane.rearm()
    assert world.armed == 101.0


def test_groups_of_equal_age_go_in_the_order_of_admission(keyed: Callable[..., World]) -> None:
    world = keyed(slot_free=False)
    tickets = world.submit("c1", "a1", "b1", "c2", "a2")
    tickets[0].cancel()
    assert [take_next(world, before=100.0) for _ in range(3)] == [["a1", "a2"], ["b1"], ["c2"]]


def test_a_key_waits_while_its_batches_are_under_way(keyed: Callable[..., World]) -> None:
    world = keyed(max_latency=0.0, most=1)
    world.submit("a1")
    first = world.lane.take_group(world.lane.next_group(0.0, anyway=True))
    assert first.group.in_flight == 1
    world.submit("a2", "a3", "a4", "a5", "b1")
    assert take_next(world) == ["b1"]
    assert take_next(world, anyway=True) is None
    first.resolve((1,), own)
    assert take_next(world) is None
    world.lane.leave_group(first)
    assert take_next(world) == ["a2", "a3", "a4", "a5"]


def test_parts_are_of_the_same_batch(keyed: Callable[..., World]) -> None:
    world = keyed(most=1, max_latency=0.0)
    world.submit("a1", "a2", "a3")
    flight = world.lane.take_group(world.lane.next_group(0.0, anyway=False))
    part = flight.part(1, 3)
    assert (part.group is flight.group, part.items, flight.items) == (True, ["a2", "a3"], ["a1"])
    assert (part.weight, flight.group.in_flight) == (2.0, 1)
    world.lane.leave_group(flight)
    assert flight.group.in_flight == 0


def test_a_group_whose_items_leave_before_it_is_taken(keyed: Callable[..., World]) -> None:
    world = keyed()
    (ticket,) = world.submit("a1")
    group = world.lane.next_group(0.0, anyway=True)
    ticket.cancel()
    assert (group.queued, group.weight, group.oldest) == (0, 0.0, math.inf)
    flight = world.lane.take_group(group)
    assert (flight.items, flight.size, group.in_flight) == ([], 0, 1)
    flight.resolve((), own)
    world.lane.leave_group(flight)
    world.submit("a2")
    assert take_next(world, anyway=True) == ["a2"]


def test_what_was_queued_before_grouping_has_no_key(make_world: Callable[..., World]) -> None:
    world = make_world(capacity=2, max_latency=1.0)
    world.submit("one", "two", "three")
    flight = world.take(1)
    assert flight.group is None
    world.front.submit("four", key="k")
    assert world.lane.grouped
    assert take_next(world, anyway=True) == ["two"]
    world.lane.leave_group(flight)  # of no group: nothing happens
    flight.resolve((1,), own)
    assert take_next(world, anyway=True) == ["three"]


def test_a_lane_is_grouped_once(world: World) -> None:
    world.submit("one")
    world.lane.group(key=len)
    with pytest.raises(RuntimeError, match=r"^a lane must be grouped only once$"):
        world.lane.group()
    world.submit("four", "two")
    assert take_next(world, anyway=True) == ["one"]
    assert take_next(world, anyway=True) == ["four"]


def test_an_item_in_the_middle_of_whose_submission_grouping_begins(
    make_world: Callable[..., World],
) -> None:
    world = make_world(capacity=1, overflow="drop_oldest")

    class Grouping:
        def __del__(self) -> None:
            world.lane.configure(
                max_batch_size=4, max_latency=0.0, capacity=None, overflow="wait", timeout=None
            )
            world.front.submit("grouped", key="k")

    for how, items in (("submit", "plain"), ("submit_many", ["plain"])):
        world.__init__(world.core, capacity=1, overflow="drop_oldest")  # type: ignore[misc]
        world.front.submit(Grouping())
        getattr(world.front, how)(items)
        assert take_next(world) == ["grouped"]
        assert take_next(world) == ["plain"]


def test_the_weight_belongs_to_a_limit(world: World) -> None:
    with pytest.raises(
        ValueError, match=r"^weight must not be given without max_batch_weight, got 3$"
    ):
        world.front.submit("one", weight=3)
    assert world.lane.unsettled == 0


@pytest.mark.parametrize("where", ["key", "weigh", "priority", "dedupe"])
@pytest.mark.parametrize("how", ["submit", "submit_many", "_submit_waiting"])
def test_a_function_that_raises_changes_nothing(
    make_world: Callable[..., World], where: str, how: str
) -> None:
    world = make_world(max_batch_weight=3.0, capacity=1, overflow="drop_oldest")

    def fail(item: str) -> Any:
        if item == "bad":
            raise LookupError(where)
        return 1

    world.lane.group(**{where: fail})
    world.submit("good")
    with pytest.raises(LookupError, match=where):
        getattr(world.front, how)(["fine", "bad"] if how == "submit_many" else "bad")
    assert (world.lane.submitted, world.lane.unsettled, world.lane.rejected) == (1, 1, 0)
    assert take_next(world) == ["good"]


@pytest.mark.parametrize("how", ["submit", "submit_many"])
def test_what_is_refused_leaves_no_group(make_world: Callable[..., World], how: str) -> None:
    world = make_world(capacity=1, overflow="reject")

    class Key:
        pass

    kept: list[weakref.ref[Key]] = []

    def key(_: str) -> Key:
        made = Key()
        kept.append(weakref.ref(made))
        return made

    world.lane.group(key=key, dedupe=lambda item: item)
    world.submit("one")
    with pytest.raises(type(world.lane.dropped_error(None)), match="has no room"):
        getattr(world.front, how)(["a", "b"] if how == "submit_many" else "ab")
    world.lane.take_all().fail(lambda ticket: OSError())
    gc.collect()
    assert [each() for each in kept] == [None] * len(kept)


def test_a_group_is_forgotten_when_nothing_is_left_of_it(keyed: Callable[..., World]) -> None:
    class Name(str):
        __slots__ = ("__weakref__",)

    world = keyed(max_latency=0.0)
    world.lane.configure(
        max_batch_size=2, max_latency=0.0, capacity=None, overflow="wait", timeout=5.0
    )
    refs = []
    for number in range(4):
        name = Name(f"k{number}")
        refs.append(weakref.ref(name))
        world.front.submit(f"x{number}", key=name)
    del name
    flight = world.lane.take_group(world.lane.next_group(0.0, anyway=False))
    flight.resolve((1,), own)
    world.lane.leave_group(flight)
    del flight
    world.advance(5)
    for late in world.lane.take_late()[:2]:
        late.fail(lambda ticket: OSError())
    assert take_next(world) is None
    gc.collect()
    assert [ref() for ref in refs] == [None] * 4


class Awkward:
    """Be a key whose comparison does something else first."""

    act: Callable[[], object] = staticmethod(lambda: None)

    def __hash__(self) -> int:
        type(self).act()
        return 1

    def __eq__(self, other: object) -> bool:
        type(self).act()
        return isinstance(other, Awkward)


def test_a_key_that_cannot_be_compared_when_its_group_goes(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    one = world.front.submit("one", key=Awkward())
    two = world.front.submit("two", key=Awkward())

    def fail() -> None:
        raise LookupError

    monkeypatch.setattr(Awkward, "act", staticmethod(fail))
    flight = world.lane.take_group(world.lane.next_group(0.0, anyway=False))
    flight.resolve((1, 2), own)
    world.lane.leave_group(flight)
    with pytest.raises(LookupError):
        world.front.submit("three", key=Awkward())
    assert [outcome(one), outcome(two)] == [1, 2]
    assert world.lane.unsettled == 0


def test_a_key_whose_comparison_submits_while_its_group_is_forgotten(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    key, calls = Awkward(), []

    def submit() -> None:
        if not calls:
            calls.append(1)
            world.front.submit("two", key=key)

    ticket = world.front.submit("one", key=Awkward())
    world.front.submit("other", key=1)
    monkeypatch.setattr(Awkward, "act", staticmethod(submit))
    # Looking for 1 meets the awkward key, which has the same hash.
    world.front.submit("another", key=1)
    ticket.cancel()
    taken = [take_next(world), take_next(world), take_next(world)]
    assert {item for batch in taken for item in batch or ()} == {"two", "other", "another"}


def test_a_key_whose_hashing_submits_while_its_group_is_deleted(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    key, calls = Awkward(), []

    def submit() -> None:
        calls.append(1)
        if len(calls) == 2:  # the first looks the group up, the second is to delete it
            world.front.submit("two", key=key)

    ticket = world.front.submit("one", key=key)
    monkeypatch.setattr(Awkward, "act", staticmethod(submit))
    ticket.cancel()
    world.front.submit("three", key=key)
    assert take_next(world) == ["two", "three"]


@pytest.mark.parametrize("priority", [None, lambda item: item[1]])
@pytest.mark.parametrize("capacity", [None, 1])
def test_many_come_and_go_while_others_stay(
    make_world: Callable[..., World], capacity: int | None, priority: Any
) -> None:
    world = make_world(capacity=capacity, max_latency=1.0)
    world.lane.group(key=lambda item: item[0], priority=priority)
    stays = world.submit(("a", 0), ("b", 0))
    for number in range(300):
        for ticket in world.submit(("a", number), ("b", number), ("c", number)):
            ticket.cancel()
        world.advance(1.0)
        world.submit(("b", 0))[0].cancel()
    world.lane.configure(
        max_batch_size=4, max_latency=0.0, capacity=None, overflow="wait", timeout=None
    )
    assert [take_next(world), take_next(world), take_next(world)] == [[("a", 0)], [("b", 0)], None]
    assert not any(ticket.done() for ticket in stays)


def test_grouped_items_that_nobody_waits_for_are_collected(
    make_world: Callable[..., World],
) -> None:
    class Item:
        pass

    world = make_world()
    world.lane.group(key=lambda item: item, dedupe=lambda item: 1, priority=lambda item: 2)
    item = Item()
    ref = weakref.ref(item)
    world.submit(item, item)
    world.front.submit_many([item])
    del world, item
    gc.collect()
    assert ref() is None


def test_ranks_are_forgotten_before_the_ring_shrinks(make_world: Callable[..., World]) -> None:
    world = make_world(max_batch_size=1)
    world.lane.group(key=lambda item: item[0], priority=lambda item: item[1])
    tickets = world.submit(*[("b", 1)] * 5000, ("a", 5), ("a", 3), ("a", 4))
    held = world.lane.take_group(world.lane.next_group(0.0, anyway=False))
    assert held.items == [("b", 1)]
    for ticket in tickets:
        ticket.cancel()
    world.lane.take(1)  # the ring shrinks
    world.submit(*[("b", 2)] * 40, ("a", 1))
    assert take_next(world) == [("a", 1)]
    assert take_next(world) == [("b", 2)]
