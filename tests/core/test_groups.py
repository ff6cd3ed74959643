"""Batches of one key: which group is next, and what is kept of groups."""

from __future__ import annotations

import gc
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
        given = {"max_latency": 1.0, **options}
        return make_world(key=lambda item: item[0], max_batches_per_key=most, **given)

    return make


def test_a_batch_holds_one_key(keyed: Callable[..., World]) -> None:
    world = keyed(max_latency=0.0)
    world.submit("a1", "b1", "a2", "b2")
    assert [world.due_items() for _ in range(3)] == [["a1", "a2"], ["b1", "b2"], []]


def test_a_group_that_is_full_goes_before_older_ones(keyed: Callable[..., World]) -> None:
    world = keyed(max_batch_size=2)
    world.submit("a1", "b1")
    assert world.due_items() == []
    assert world.log == []
    world.submit("b2")
    assert world.log == [("due",)]
    batch = world.next_batch()
    assert (batch.key, batch.items, batch.reason) == ("b", ["b1", "b2"], "size")
    assert world.due_items() == []
    batch = world.take()
    assert (batch.key, batch.items, batch.reason) == ("a", ["a1"], "flush")


def test_a_group_whose_oldest_item_has_waited_goes(keyed: Callable[..., World]) -> None:
    world = keyed()
    world.submit("a1")
    world.advance(0.5)
    world.submit("b1")
    assert world.armed == 101.0
    assert world.due_items() == []
    world.advance(0.5)
    batch = world.next_batch()
    assert (batch.key, batch.items, batch.reason) == ("a", ["a1"], "latency")
    assert world.due_items() == []
    world.lane.rearm()
    assert world.armed == 101.5


def test_a_group_that_was_due_and_lost_its_items_waits_again(keyed: Callable[..., World]) -> None:
    world = keyed(max_batch_size=2, free_slots=0)
    first, _ = world.submit("a1", "a2")
    world.advance(0.5)
    world.submit("a3")
    first.cancel()
    world.lane.free_slots = 2
    assert world.due_items() == ["a2", "a3"]
    world.submit("b1", "b2")[0].cancel()
    assert world.due_items() == []
    world.lane.rearm()
    assert world.armed == 101.5


def test_a_group_that_was_old_enough_and_not_taken_is_still_timed(
    keyed: Callable[..., World],
) -> None:
    world = keyed()
    world.submit("b1", "a1", "b2")
    world.advance(1.0)
    assert world.due_items() == ["b1", "b2"]  # now "a" is old enough, and there is no slot
    world.configure(max_latency=2.0)
    world.lane.rearm()
    assert world.armed == 102.0
    assert world.due_items() == []


def test_groups_of_equal_age_go_in_the_order_of_admission(keyed: Callable[..., World]) -> None:
    world = keyed(free_slots=0)
    tickets = world.submit("c1", "a1", "b1", "c2", "a2")
    tickets[0].cancel()
    world.advance(1.0)
    world.lane.free_slots = 3
    assert [world.due_items() for _ in range(3)] == [["a1", "a2"], ["b1"], ["c2"]]


def test_a_key_waits_while_its_batches_are_under_way(keyed: Callable[..., World]) -> None:
    world = keyed(max_latency=0.0, most=1)
    world.submit("a1")
    first = world.next_batch()
    assert first.queue.in_flight == 1
    world.submit("a2", "a3", "a4", "a5", "b1")
    assert world.due_items() == ["b1"]
    assert world.take() is None
    first.resolve((1,), own)
    assert world.take() is None
    first.end()
    assert world.due_items() == ["a2", "a3", "a4", "a5"]


def test_parts_are_of_the_same_batch(keyed: Callable[..., World]) -> None:
    world = keyed(most=1, max_latency=0.0)
    world.submit("a1", "a2", "a3")
    batch = world.next_batch()
    part = batch.part(1, 3)
    assert (part.batch, part.queue, part.key) == (batch, batch.queue, "a")
    assert (part.items, batch.items, part.weight) == (["a2", "a3"], ["a1"], 2.0)
    part.end()
    assert batch.queue.in_flight == 1
    batch.end()
    batch.end()
    assert batch.queue.in_flight == 0


def test_a_group_whose_items_leave_before_it_is_taken(keyed: Callable[..., World]) -> None:
    world = keyed()
    world.submit("a1", "b1")
    world.advance(1.0)
    batch = world.next_batch()
    assert (batch.queue.queued, batch.queue.weight) == (0, 0.0)
    for ticket in world.submit("a2", "a3"):
        ticket.cancel()
    assert (batch.queue.queued, batch.queue.weight, batch.queue.in_flight) == (0, 0.0, 1)
    batch.resolve((1,), own)
    batch.end()
    world.submit("a4")
    assert [world.take_items(), world.take_items()] == [["b1"], ["a4"]]


def test_what_has_no_key_is_a_group_of_its_own(make_world: Callable[..., World]) -> None:
    world = make_world(max_latency=1.0)
    world.submit("one", "two")
    world.advance(0.5)
    world.submitter.submit("three", key="k")
    world.submit("four")
    first, second = world.take(), world.take()
    assert (first.key, first.queue.key, first.items) == (None, None, ["one", "two", "four"])
    assert (second.key, second.queue.key, second.items) == ("k", "k", ["three"])


def test_what_was_queued_before_there_were_keys_has_none(
    make_world: Callable[..., World],
) -> None:
    world = make_world(capacity=2)
    world.submit("one", "two", "three")
    batch = world.take(1)
    world.configure(key=len)
    world.submit("four")
    assert world.due_items() == ["two"]
    batch.resolve((1,), own)
    assert world.due_items() == ["three"]


def test_what_is_queued_has_no_key_and_weighs_one(world: World) -> None:
    world.submit("a", "b", "c")
    world.configure(max_batch_weight=2, key=str.upper, weigh=lambda item: 2.0)
    world.advance(1.0)
    world.submit("d")
    batches = [world.next_batch() for _ in range(3)]
    assert [(batch.key, batch.items) for batch in batches] == [
        (None, ["a", "b"]),
        (None, ["c"]),
        ("D", ["d"]),
    ]


def test_what_is_queued_is_overtaken_by_what_comes_first_now(world: World) -> None:
    world.submit("a", "b")
    world.configure(priority=lambda item: -10.0)
    world.submit("c")
    assert world.due_items() == ["c", "a", "b"]


def test_an_item_in_the_middle_of_whose_submission_priorities_begin(
    make_world: Callable[..., World],
) -> None:
    class Ranking:
        def __del__(self) -> None:
            world.configure(capacity=None, overflow="wait")
            world.submitter.submit("ranked", priority=-1)

    for how, items in (("submit", "plain"), ("submit_many", ["plain"])):
        world = make_world(capacity=1, overflow="drop_oldest")
        world.submitter.submit(Ranking())
        getattr(world.submitter, how)(items)
        assert world.due_items() == ["ranked", "plain"]


def test_the_weight_belongs_to_a_limit(world: World) -> None:
    with pytest.raises(
        ValueError, match=r"^weight must not be given without max_batch_weight, got 3$"
    ):
        world.submitter.submit("one", weight=3)
    assert world.lane.unsettled == 0


@pytest.mark.parametrize("where", ["key", "weigh", "priority", "dedupe"])
@pytest.mark.parametrize("how", ["submit", "submit_many", "_submit_waiting"])
def test_a_function_that_raises_changes_nothing(
    make_world: Callable[..., World], where: str, how: str
) -> None:
    def fail(item: str) -> Any:
        if item == "bad":
            raise LookupError(where)
        return 1

    world = make_world(max_batch_weight=3.0, capacity=1, overflow="drop_oldest", **{where: fail})
    world.submit("good")
    with pytest.raises(LookupError, match=where):
        getattr(world.submitter, how)(["fine", "bad"] if how == "submit_many" else "bad")
    assert (world.lane.submitted, world.lane.unsettled, world.lane.rejected) == (1, 1, 0)
    assert world.due_items() == ["good"]


@pytest.mark.parametrize("how", ["submit", "submit_many"])
def test_what_cannot_be_asked_wholly_leaves_no_group(
    make_world: Callable[..., World], how: str
) -> None:
    class Key:
        pass

    keys: weakref.WeakSet[Key] = weakref.WeakSet()

    def make_key(_: str) -> Key:
        key = Key()
        keys.add(key)
        return key

    def fail(item: str) -> Any:
        raise LookupError

    functions: list[Callable[[str], Any]] = [fail, lambda item: []]
    for dedupe in functions:
        world = make_world(key=make_key, dedupe=dedupe)
        with pytest.raises((LookupError, TypeError)):
            getattr(world.submitter, how)("a")
        gc.collect()
        assert not keys


@pytest.mark.parametrize("how", ["submit", "submit_many"])
def test_what_is_refused_leaves_no_group(make_world: Callable[..., World], how: str) -> None:
    class Key:
        pass

    kept: list[weakref.ref[Key]] = []

    def key(_: str) -> Key:
        made = Key()
        kept.append(weakref.ref(made))
        return made

    world = make_world(capacity=1, overflow="reject", key=key, dedupe=lambda item: item)
    world.submit("one")
    with pytest.raises(type(world.lane.dropped_error(None)), match="has no room"):
        getattr(world.submitter, how)(["a", "b"] if how == "submit_many" else "ab")
    world.lane.take_all().fail(lambda ticket: OSError())
    gc.collect()
    assert [each() for each in kept] == [None] * len(kept)


def test_a_group_is_forgotten_when_nothing_is_left_of_it(keyed: Callable[..., World]) -> None:
    class Name(str):
        __slots__ = ("__weakref__",)

    world = keyed(max_latency=0.0, max_batch_size=2, timeout=5.0)
    refs = []
    for number in range(4):
        name = Name(f"k{number}")
        refs.append(weakref.ref(name))
        world.submitter.submit(f"x{number}", key=name)
    del name
    batch = world.next_batch()
    batch.resolve((1,), own)
    batch.end()
    del batch
    world.advance(5)
    for late in world.lane.take_late()[:2]:
        late.fail(lambda ticket: OSError())
    assert world.take() is None
    gc.collect()
    assert [ref() for ref in refs] == [None] * 4


class Awkward:
    """A key whose comparison does something else first."""

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
    one = world.submitter.submit("one", key=Awkward())
    two = world.submitter.submit("two", key=Awkward())

    def fail() -> None:
        raise LookupError

    monkeypatch.setattr(Awkward, "act", staticmethod(fail))
    batch = world.next_batch()
    batch.resolve((1, 2), own)
    batch.end()
    with pytest.raises(LookupError):
        world.submitter.submit("three", key=Awkward())
    assert [outcome(one), outcome(two)] == [1, 2]
    assert world.lane.unsettled == 0


def test_a_key_whose_comparison_submits_while_its_group_is_forgotten(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    key = Awkward()
    calls: list[int] = []

    def submit() -> None:
        if not calls:
            calls.append(1)
            world.submitter.submit("two", key=key)

    world.submitter.submit("other", key=1)
    ticket = world.submitter.submit("one", key=Awkward())
    monkeypatch.setattr(Awkward, "act", staticmethod(submit))
    # Looking for 1 meets the awkward key, which has the same hash.
    world.submitter.submit("another", key=1)
    assert calls
    ticket.cancel()
    taken = [*world.due_items(), *world.due_items(), *world.due_items()]
    assert sorted(taken) == ["another", "other", "two"]


def test_a_key_whose_hashing_submits_while_its_group_is_deleted(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    key = Awkward()
    calls: list[int] = []

    def submit() -> None:
        calls.append(1)
        if len(calls) == 1:
            world.submitter.submit("two", key=key)

    ticket = world.submitter.submit("one", key=key)
    monkeypatch.setattr(Awkward, "act", staticmethod(submit))
    ticket.cancel()
    world.submitter.submit("three", key=key)
    assert world.due_items() == ["two", "three"]


@pytest.mark.parametrize("priority", [None, lambda item: item[1]])
@pytest.mark.parametrize("capacity", [None, 1])
def test_many_come_and_go_while_others_stay(
    make_world: Callable[..., World], capacity: int | None, priority: Any
) -> None:
    world = make_world(
        capacity=capacity, max_latency=1.0, key=lambda item: item[0], priority=priority
    )
    stays = world.submit(("a", 0), ("b", 0))
    for number in range(300):
        for ticket in world.submit(("a", number), ("b", number), ("c", number)):
            ticket.cancel()
        world.advance(1.0)
        world.submit(("b", 0))[0].cancel()
    world.configure(max_latency=0.0, capacity=None)
    assert [world.due_items() for _ in range(3)] == [[("a", 0)], [("b", 0)], []]
    assert not any(ticket.done() for ticket in stays)


def test_grouped_items_that_nobody_waits_for_are_collected(
    make_world: Callable[..., World],
) -> None:
    class Item:
        pass

    world = make_world(key=lambda item: item, dedupe=lambda item: 1, priority=lambda item: 2)
    item = Item()
    ref = weakref.ref(item)
    world.submit(item, item)
    world.submitter.submit_many([item])
    del world, item
    gc.collect()
    assert ref() is None


def test_the_order_of_priorities_survives_many_cancellations(
    make_world: Callable[..., World],
) -> None:
    world = make_world(max_batch_size=1, key=lambda item: item[0], priority=lambda item: item[1])
    tickets = world.submit(*[("b", 1)] * 5000, ("a", 5), ("a", 3), ("a", 4))
    assert world.due_items() == [("b", 1)]
    for ticket in tickets[1:-2]:
        ticket.cancel()
    world.submit(*[("b", 2)] * 40, ("a", 1))
    assert [world.due_items() for _ in range(4)] == [[("a", 1)], [("b", 2)], [("b", 2)], [("b", 2)]]
    world.configure(max_batch_size=50)
    assert world.due_items() == [("b", 2)] * 37
    assert world.due_items() == [("a", 3), ("a", 4)]


def test_items_without_a_priority_keep_their_order_among_those_with_one(
    make_world: Callable[..., World],
) -> None:
    world = make_world(max_batch_size=100)
    world.submit(*range(10))
    world.submitter.submit("late", priority=1)
    world.submitter.submit_many(range(10, 30))
    world.submit(*range(30, 40))
    assert world.due_items() == [*range(40), "late"]


class Answering:
    """A key whose comparison gives an answer that does something when it is asked."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> Any:
        return Answer(self.act)


class Answer:
    """A comparison's answer: no."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def __bool__(self) -> bool:
        self.act()
        return False


def test_a_comparison_whose_answer_cancels_what_is_compared(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    tickets: list[Any] = []

    def cancel() -> None:
        while tickets:
            tickets.pop().cancel()
        gc.collect()

    for _ in range(3):
        key = Answering(lambda: None)
        ticket = world.submitter.submit("x", key=key)
        key.act = cancel
        del key
        tickets.append(ticket)
    world.submitter.submit("y", key=Answering(cancel))
    assert ticket.cancelled()
    assert world.take_items() == ["y"]
