"""Equal items that are queued together, and handled once for all their callers."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from microbatch.errors import CapacityError
from tests.core.world import Cancelled, outcome, own

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.core.world import World


@pytest.fixture
def sharing(make_world: Callable[..., World]) -> Callable[..., World]:
    """Make a world in which items are equal that have the same first letter."""

    def make(**options: Any) -> World:
        return make_world(dedupe=lambda item: item[0], **options)

    return make


def test_equal_items_are_handled_once(sharing: Callable[..., World]) -> None:
    world = sharing()
    tickets = world.submit("a1", "b1", "a2", "a3")
    assert (world.lane.queued, world.lane.unsettled, world.lane.joined) == (2, 4, 2)
    assert world.lane.deduplicated == 2
    batch = world.take()
    assert (batch.items, batch.size) == (["a1", "b1"], 2)
    batch.resolve(("A", "B"), own)
    assert [outcome(ticket) for ticket in tickets] == ["A", "B", "A", "A"]
    assert (world.lane.completed, world.lane.unsettled, world.lane.joined) == (4, 0, 0)


def test_what_is_in_flight_is_not_joined(sharing: Callable[..., World]) -> None:
    world = sharing()
    world.submit("a1")
    first = world.take()
    world.submit("a2", "a3")
    second = world.take()
    assert (first.items, second.items) == (["a1"], ["a2"])


def test_each_caller_has_an_exception_of_its_own(sharing: Callable[..., World]) -> None:
    world = sharing()
    tickets = world.submit("a1", "a2", "b1", "b2")
    batch, error = world.take(), ValueError("once")
    assert batch.settle(0, error, own)
    batch.fail(lambda ticket: OSError(tickets.index(ticket)))
    assert [str(outcome(ticket)) for ticket in tickets[2:]] == ["2", "3"]
    errors = [ticket.exception() for ticket in tickets]
    assert len({*map(id, errors), id(error)}) == 5
    assert [each.args for each in errors[:2]] == [("once", "own")] * 2


@pytest.mark.parametrize("taken", [False, True])
def test_a_caller_who_leaves_leaves_the_others(sharing: Callable[..., World], taken: bool) -> None:
    world = sharing()
    first, second, third = world.submit("a1", "a2", "a3")
    batch = world.take() if taken else None
    first.cancel()
    third.cancel()
    assert (world.lane.unsettled, world.lane.joined, world.lane.cancelled) == (1, 0, 2)
    assert world.log == [("due",)] * 0
    batch = batch or world.take()
    assert batch.items == (["a1"] if taken else ["a2"])  # what was taken stays so
    batch.resolve((1,), own)
    assert outcome(second) == 1


def test_the_last_caller_who_leaves_takes_a_queued_item_along(
    sharing: Callable[..., World],
) -> None:
    world = sharing()
    for ticket in world.submit("a1", "a2"):
        ticket.cancel()
    assert (world.lane.queued, world.lane.unsettled) == (0, 0)
    assert world.take() is None
    world.submit("a3")
    assert world.take_items() == ["a3"]


def test_the_last_caller_who_leaves_takes_an_item_out_of_flight(
    sharing: Callable[..., World],
) -> None:
    world = sharing()
    tickets = world.submit("a1", "a2", "b1")
    batch = world.take()
    tickets[2].cancel()
    tickets[0].cancel()
    assert (batch.alive, batch.awaited, world.log) == (1, (0,), [])
    tickets[1].cancel()
    assert (batch.alive, batch.awaited, world.log) == (0, (), [("abandoned", batch)])


def test_one_ticket_for_many_equal_items(sharing: Callable[..., World]) -> None:
    world = sharing()
    many = world.submitter.submit_many(["a1", "b1", "a2"])
    single = world.submitter.submit("a3")
    assert (world.lane.queued, world.lane.joined) == (2, 2)
    world.take().resolve((1, 2), own)
    assert (outcome(many), outcome(single)) == ([1, 2, 1], 1)
    many = world.submitter.submit_many(["a1", "b1", "a2"])
    single = world.submitter.submit("a3")
    many.cancel()
    batch = world.take()
    assert (batch.items, world.lane.cancelled) == (["a3"], 3)
    batch.fail(lambda ticket: OSError())
    assert isinstance(outcome(many), Cancelled)
    assert isinstance(outcome(single), OSError)


def test_deadlines_are_each_callers_own(sharing: Callable[..., World]) -> None:
    world = sharing(timeout=5.0)
    first = world.submitter.submit("a1")
    second = world.submitter.submit("a2", timeout=1.0)
    world.advance(1.0)
    assert world.lane.overdue
    queued, in_flight, _ = world.lane.take_late()
    assert (queued.items, in_flight.items) == (["a2"], [])
    queued.fail(lambda ticket: OSError())
    batch = world.take()
    assert isinstance(outcome(second), OSError)
    world.advance(4.0)
    queued, in_flight, hit = world.lane.take_late()
    assert (queued.items, in_flight.items, hit) == ([], ["a1"], [batch])
    assert world.log[-1] == ("abandoned", batch)
    in_flight.fail(lambda ticket: OSError())
    assert isinstance(outcome(first), OSError)


def test_deadlines_follow_the_options(sharing: Callable[..., World]) -> None:
    world = sharing()
    tickets = [*world.submit("a1", "a2"), world.submitter.submit("a3", timeout=9)]
    tickets.append(world.submitter.submit_many(["b1", "a4"]))
    world.advance(1.0)
    world.configure(timeout=3.0)
    assert [ticket.deadline for ticket in tickets] == [103.0, 103.0, 109.0, 103.0]
    assert world.armed == 103.0
    world.advance(2.0)
    queued, _, _ = world.lane.take_late()
    assert queued.items == ["a1", "a2", "b1", "a4"]
    assert world.take_items() == ["a3"]


def test_equal_items_need_no_room_of_their_own(sharing: Callable[..., World]) -> None:
    world = sharing(capacity=2)
    world.submit("a1", "a2", "b1", "c1", "c2")
    assert (world.lane.queued, world.lane.waiting, world.lane.unsettled) == (2, 1, 5)
    assert world.take_items() == ["a1", "b1"]


def test_who_would_not_have_to_wait_is_not_refused(sharing: Callable[..., World]) -> None:
    world = sharing(capacity=2)
    world.submit("a1", "a2", "a3")
    world.submitter.submit_nowait("b1")
    with pytest.raises(CapacityError):
        world.submitter.submit_nowait("c1")
    assert world.next_batch().reason == "capacity"


def test_equal_items_count_where_there_is_no_waiting(sharing: Callable[..., World]) -> None:
    world = sharing(capacity=2, overflow="reject")
    world.submit("a1", "a2")
    assert world.log == [("due",)]
    with pytest.raises(CapacityError):
        world.submit("a3")


def test_the_oldest_items_are_dropped_until_there_is_room(sharing: Callable[..., World]) -> None:
    world = sharing(capacity=4, overflow="drop_oldest")
    old = world.submit("a1", "a2", "b1", "c1")
    new = world.submitter.submit_many(["d1", "e1"])
    assert [ticket.done() for ticket in old] == [True, True, False, False]
    assert (world.lane.dropped, world.lane.unsettled) == (2, 4)
    with pytest.raises(CapacityError):
        world.submitter.submit_many([*"fghij"])
    newest = world.submitter.submit_many([*"fghi"])
    assert (world.lane.dropped, new.done(), newest.done()) == (6, True, False)
    world.submitter.submit_many([*"kl"])  # its own two are as good as any
    assert (world.lane.dropped, newest.done()) == (8, False)
    assert world.lane.queued == 4


def test_an_item_that_is_dropped_for_equal_ones(sharing: Callable[..., World]) -> None:
    world = sharing(capacity=2, overflow="drop_oldest")
    old = world.submit("a1", "b1")
    many = world.submitter.submit_many(["a2", "a3"])
    assert all(ticket.done() for ticket in old)
    assert (world.lane.queued, world.lane.joined) == (1, 1)
    world.configure(capacity=None)
    single = world.submitter.submit("a4")
    batch = world.take()
    assert (batch.items, world.take()) == (["a2"], None)
    batch.resolve((1,), own)
    assert (outcome(many), outcome(single)) == ([1, 1], 1)


def test_a_caller_of_a_shared_item_that_cancels_others_while_it_is_settled(
    sharing: Callable[..., World],
) -> None:
    world = sharing()
    first, second = world.submit("a1", "a2")
    many = world.submitter.submit_many(["a3", "a4"])

    def cancelling(error: BaseException) -> BaseException:
        second.cancel()
        many.cancel()
        return error

    world.take().resolve((ValueError(),), cancelling)
    assert isinstance(outcome(first), ValueError)
    assert [each.cancelled() for each in (second, many)] == [True, True]
    assert (world.lane.failed, world.lane.cancelled, world.lane.unsettled) == (1, 3, 0)


def test_callers_of_a_dropped_item_are_counted_once(sharing: Callable[..., World]) -> None:
    world = sharing(capacity=3, overflow="drop_oldest")

    class Leaving:
        def __getitem__(self, place: int) -> str:
            return "a"

        def __del__(self) -> None:
            second.cancel()

    world.submitter.submit(Leaving())
    second, third = world.submit("a2", "a3")
    world.submit("b1")
    assert third.done()
    lane = world.lane
    assert lane.submitted == lane.unsettled + lane.dropped + lane.cancelled == 4


def test_a_dropped_item_that_is_taken_with_all_others(sharing: Callable[..., World]) -> None:
    world = sharing(capacity=3, overflow="drop_oldest")

    class Closing:
        def __getitem__(self, place: int) -> str:
            return "a"

        def __del__(self) -> None:
            world.lane.take_all().fail(lambda ticket: OSError())

    world.submitter.submit(Closing())
    world.submit("b1", "b2")
    world.submitter.submit_many([*"cde"])
    lane = world.lane
    assert lane.submitted == lane.unsettled + lane.dropped + lane.failed == 6


def test_shared_items_are_forgotten(sharing: Callable[..., World]) -> None:
    class Item(str):
        __slots__ = ("__weakref__",)

    world = sharing(timeout=1.0)
    items = [Item(f"{letter}{number}") for letter in "abc" for number in range(3)]
    refs = [weakref.ref(item) for item in items]
    tickets = world.submit(*items)
    items.clear()
    for ticket in tickets[:3]:
        ticket.cancel()
    world.take().settle(0, 1, own)
    world.advance(1.0)
    for late in world.lane.take_late()[:2]:
        late.fail(lambda ticket: OSError())
    del late, ticket
    gc.collect()
    assert [ref() for ref in refs] == [None] * 9
    assert (world.lane.unsettled, world.lane.joined) == (0, 0)


def test_a_key_of_equality_that_raises_while_it_is_forgotten(
    make_world: Callable[..., World],
) -> None:
    raising = False

    class Same:
        def __hash__(self) -> int:
            if raising:
                raise LookupError
            return 1

    world = make_world()
    same = Same()
    world.configure(dedupe=lambda item: same)
    ticket, _ = world.submit("a", "b")
    raising = True
    batch = world.take()
    with pytest.raises(LookupError):
        world.submit("c")
    batch.resolve((1,), own)
    assert (outcome(ticket), world.lane.unsettled) == (1, 0)
    raising = False
    world.submit("d")
    assert world.take_items() == ["d"]


def test_an_heir_that_is_heavier_goes_at_once(make_world: Callable[..., World]) -> None:
    world = make_world(
        dedupe=lambda item: item[0], weigh=lambda item: item[1], max_batch_weight=4, max_latency=1.0
    )
    first, _ = world.submit(("a", 1), ("a", 5))
    first.cancel()
    world.run_all()
    assert ("due",) in world.log
    batch = world.next_batch()
    assert (batch.items, batch.reason, batch.weight) == ([("a", 5)], "weight", 5.0)


def test_equal_items_of_one_submission_are_shared_though_an_equal_one_is_in_flight(
    sharing: Callable[..., World],
) -> None:
    world = sharing()
    world.submit("a1")
    first = world.take()
    world.submitter.submit_many(["a2", "a3", "b1"])
    assert (world.lane.queued, world.lane.joined) == (2, 1)
    first.resolve((1,), own)
    assert world.take_items() == ["a2", "b1"]
