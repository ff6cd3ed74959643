"""Submitting, admission, taking: what is in the queue, and in which order it leaves."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from microbatch.errors import BatcherClosedError, CapacityError
from tests.core.world import World, outcome

if TYPE_CHECKING:
    from types import ModuleType

MakeWorld = Callable[..., World]


class Item:
    """Be an item that can be weakly referenced."""


# ------------------------------------------------------------------------------------------ order
def test_items_are_taken_in_the_order_of_submission(world: World) -> None:
    world.submit(*"abcde")
    assert world.take_items(2) == ["a", "b"]
    assert world.take_items(2) == ["c", "d"]
    assert world.take_items(2) == ["e"]


def test_items_of_many_are_taken_in_order_with_the_others(world: World) -> None:
    world.submit("a")
    world.submitter.submit_many([*"bcd"])
    world.submit("e")
    assert world.take_items(3) == ["a", "b", "c"]
    assert world.take_items(3) == ["d", "e"]


def test_cancelled_items_are_passed_over(world: World) -> None:
    tickets = world.submit(*"abcdef")
    for place in (0, 2, 3):
        tickets[place].cancel()
    assert world.lane.queued == 3
    assert world.take_items(2) == ["b", "e"]
    assert world.take_items(2) == ["f"]


def test_taking_from_an_empty_queue_gives_no_batch(world: World) -> None:
    assert world.take() is None
    (ticket,) = world.submit("a")
    ticket.cancel()
    assert world.take() is None


def test_the_order_survives_a_queue_that_grows_while_it_is_taken_from(world: World) -> None:
    taken: list[int] = []
    for step in range(60):
        world.submit(*range(step * 10, step * 10 + 10))
        taken += world.take_items(7)
    taken += world.take_items(1000)
    assert taken == list(range(600))


def test_the_order_survives_many_cancellations(world: World) -> None:
    tickets = world.submit(*range(1000))
    for ticket in tickets[::3]:
        ticket.cancel()
    rest = world.submit(*range(1000, 3000))
    for ticket in rest[1::2]:
        ticket.cancel()
    expected = [i for i in range(1000) if i % 3] + list(range(1000, 3000, 2))
    assert world.take_items(10_000) == expected


def test_a_ticket_is_found_wherever_it_stands_in_line(world: World) -> None:
    tickets = world.submit(*range(17))
    tickets[0].cancel()
    world.submit(*range(17, 40))
    assert tickets[16].cancel()
    assert world.take_items(1000) == [*range(1, 16), *range(17, 40)]


def test_a_cancelled_item_is_let_go_at_once(world: World) -> None:
    item = Item()
    reference = weakref.ref(item)
    (_, ticket) = world.submit("first", item)
    del item
    ticket.cancel()
    assert reference() is None


def test_a_settled_item_is_let_go_at_once(world: World) -> None:
    item = Item()
    reference = weakref.ref(item)
    (ticket,) = world.submit(item)
    del item
    batch = world.take()
    batch.resolve((1,), lambda error: error)
    assert reference() is None
    assert ticket.result() == 1


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("head_stays", [False, True])
def test_cancelled_items_do_not_pile_up(world: World, head_stays: bool, many: bool) -> None:
    if head_stays:
        world.submit("head")
    tracemalloc.start()
    try:
        if many:
            for _ in range(3_000):
                world.submitter.submit_many(range(10)).cancel()
        else:
            for number in range(30_000):
                world.submitter.submit(number).cancel()
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 100_000
    assert world.lane.cancelled == 30_000
    assert world.lane.queued == int(head_stays)


def test_a_queue_that_was_long_shrinks(make_world: MakeWorld) -> None:
    world = make_world(free_slots=0)
    gc.collect()
    tracemalloc.start()
    try:
        world.submit(*range(30_000))
        world.take(60_000).fail(lambda ticket: ValueError())
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 100_000


# ------------------------------------------------------------------------- admission: "wait"
def test_items_beyond_the_capacity_wait(make_world: MakeWorld) -> None:
    world = make_world(capacity=3)
    world.submit(*"abcde")
    assert (world.lane.queued, world.lane.waiting, world.lane.unsettled) == (3, 2, 5)
    assert world.take_items() == ["a", "b", "c"]
    assert (world.lane.queued, world.lane.waiting) == (0, 2)
    assert world.take_items() == []


def test_waiting_items_are_admitted_in_order_as_others_settle(make_world: MakeWorld) -> None:
    world = make_world(capacity=2)
    world.submit(*"abcd")
    batch = world.take(1)
    assert (world.lane.queued, world.lane.waiting) == (1, 2)
    batch.resolve(("A",), lambda error: error)
    assert (world.lane.queued, world.lane.waiting) == (2, 1)
    assert world.take_items() == ["b", "c"]


def test_a_cancelled_item_makes_room(make_world: MakeWorld) -> None:
    world = make_world(capacity=2)
    a, _b, c, _d = world.submit(*"abcd")
    a.cancel()
    assert (world.lane.queued, world.lane.waiting) == (2, 1)
    c.cancel()
    assert (world.lane.queued, world.lane.waiting) == (2, 0)
    assert world.take_items() == ["b", "d"]


def test_an_admission_by_a_cancellation_is_due_soon(make_world: MakeWorld) -> None:
    world = make_world(capacity=2)
    a, *_ = world.submit(*"abc")
    world.take()
    world.run_all()
    world.log.clear()
    a.cancel()
    world.run_all()
    assert ("due",) in world.log


def test_items_that_only_wait_for_admission_are_not_due(make_world: MakeWorld) -> None:
    world = make_world(capacity=2, max_batch_size=2)
    world.submit(*"ab")
    world.take()
    world.run_all()
    world.log.clear()
    world.submit(*"cdef")
    world.run_all()
    assert world.log == []


def test_submit_nowait_refuses_what_would_wait(make_world: MakeWorld) -> None:
    world = make_world(capacity=2)
    world.submitter.submit_nowait("a")
    world.submitter.submit_nowait("b")
    with pytest.raises(CapacityError) as caught:
        world.submitter.submit_nowait("c")
    assert str(caught.value) == (
        "batcher 'embed' has no room for 1 more: capacity is 2, 2 items are unsettled"
    )
    assert world.counters() == {"submitted": 2, "rejected": 1}
    world.submit("d")
    assert world.lane.waiting == 1


@pytest.mark.parametrize("overflow", ["reject", "drop_oldest"])
def test_no_items_at_all_need_no_room(make_world: MakeWorld, overflow: str) -> None:
    world = make_world(capacity=1, overflow=overflow)
    for item in "ab":
        world.submitter._submit_waiting(item)
    assert outcome(world.submitter.submit_many([])) == []
    assert world.counters() == {"submitted": 2}


@pytest.mark.parametrize("overflow", ["wait", "reject", "drop_oldest"])
def test_waiting_is_possible_whatever_overflow_says(make_world: MakeWorld, overflow: str) -> None:
    world = make_world(capacity=1, overflow=overflow)
    for item in "abc":
        world.submitter._submit_waiting(item)
    assert (world.lane.queued, world.lane.waiting) == (1, 2)
    assert world.counters() == {"submitted": 3}


# ------------------------------------------------------------------------- admission: "reject"
def test_reject_refuses_at_capacity(make_world: MakeWorld) -> None:
    world = make_world(capacity=2, overflow="reject")
    world.submit(*"ab")
    with pytest.raises(CapacityError) as caught:
        world.submitter.submit("c")
    assert str(caught.value) == (
        "batcher 'embed' has no room for 1 more: capacity is 2, 2 items are unsettled"
    )
    world.take()
    with pytest.raises(CapacityError):
        world.submitter.submit_nowait("d")
    assert world.counters() == {"submitted": 2, "rejected": 2}


def test_reject_takes_many_wholly_or_not_at_all(make_world: MakeWorld) -> None:
    world = make_world(capacity=3, overflow="reject")
    world.submit("a")
    with pytest.raises(CapacityError) as caught:
        world.submitter.submit_many([*"bcd"])
    assert str(caught.value) == (
        "batcher 'embed' has no room for 3 more: capacity is 3, 1 items are unsettled"
    )
    world.submitter.submit_many([*"bc"])
    assert world.take_items() == ["a", "b", "c"]
    assert world.counters() == {"submitted": 3, "rejected": 3}


# -------------------------------------------------------------------- admission: "drop_oldest"
def test_drop_oldest_fails_the_oldest_queued_item(make_world: MakeWorld) -> None:
    world = make_world(capacity=2, overflow="drop_oldest")
    a, b = world.submit(*"ab")
    world.watch(a, "a")
    (c,) = world.submit("c")
    assert isinstance(outcome(a), CapacityError)
    assert str(outcome(a)) == "batcher 'embed' dropped its oldest queued item: capacity is 2"
    assert world.called() == []
    world.run_all()
    assert world.called() == ["a"]
    assert not b.done()
    assert not c.done()
    assert world.take_items() == ["b", "c"]
    assert world.counters() == {"submitted": 3, "dropped": 1}


def test_drop_oldest_spares_what_is_in_flight(make_world: MakeWorld) -> None:
    world = make_world(capacity=2, overflow="drop_oldest")
    world.submit(*"ab")
    world.take(1)
    world.submit("c")
    assert world.take_items() == ["c"]
    with pytest.raises(CapacityError, match="no room for 1 more"):
        world.submitter.submit("d")
    assert world.counters() == {"submitted": 3, "dropped": 1, "rejected": 1}


def test_drop_oldest_makes_room_for_many(make_world: MakeWorld) -> None:
    world = make_world(capacity=3, overflow="drop_oldest")
    world.submit(*"abc")
    world.submitter.submit_many([*"de"])
    assert world.take_items() == ["c", "d", "e"]


def test_what_is_dropped_may_cancel_what_is_dropped_with_it(make_world: MakeWorld) -> None:
    class Cancelling:
        def __del__(self) -> None:
            assert b.cancel()

    world = make_world(capacity=2, overflow="drop_oldest")
    (a,) = world.submit(Cancelling())
    (b,) = world.submit("b")
    world.submitter.submit_many([*"cd"])
    assert isinstance(a.exception(), CapacityError)
    assert b.cancelled()
    assert world.counters() == {"submitted": 4, "dropped": 1, "cancelled": 1}


def test_drop_oldest_refuses_more_than_it_could_ever_hold(make_world: MakeWorld) -> None:
    world = make_world(capacity=2, overflow="drop_oldest")
    (a,) = world.submit("a")
    with pytest.raises(CapacityError, match="no room for 3 more: capacity is 2, 1 items"):
        world.submitter.submit_many([*"bcd"])
    assert not a.done()


def test_drop_oldest_fails_one_item_of_many(make_world: MakeWorld) -> None:
    world = make_world(capacity=2, overflow="drop_oldest")
    many = world.submitter.submit_many([*"ab"], return_exceptions=True)
    world.submit("c")
    world.handle()
    dropped, second = many.result()
    assert isinstance(dropped, CapacityError)
    assert second == "B"


# ---------------------------------------------------------------------------------------- closing
def test_a_closed_lane_refuses(make_world: MakeWorld, world: World) -> None:
    for overflow in ("wait", "reject", "drop_oldest"):
        world = make_world(capacity=1, overflow=overflow)
        (accepted,) = world.submit("a")
        world.lane.close()
        assert world.lane.closed
        for submit in (
            world.submitter.submit,
            world.submitter.submit_nowait,
            world.submitter._submit_waiting,
        ):
            with pytest.raises(BatcherClosedError) as caught:
                submit("b")
            assert str(caught.value) == "batcher 'embed' is closed"
        with pytest.raises(BatcherClosedError):
            world.submitter.submit_many([*"cd"])
        with pytest.raises(BatcherClosedError):
            world.submitter.submit_many([])
        world.handle()
        assert accepted.result() == "A"
        assert world.counters() == {"submitted": 1, "completed": 1, "rejected": 5}


def test_take_all_takes_what_is_queued_and_in_flight(make_world: MakeWorld) -> None:
    world = make_world(capacity=3)
    tickets = world.submit(*"abcde")
    many = world.submitter.submit_many([*"fg"])
    batch = world.take(2)
    every = world.lane.take_all()
    assert sorted(every.items) == list("abcdefg")
    assert (batch.items, batch.alive) == ([], 0)
    assert every.size == 7
    every.fail(lambda ticket: BatcherClosedError("given up"))
    assert all(isinstance(outcome(ticket), BatcherClosedError) for ticket in [*tickets, many])
    assert (world.lane.unsettled, world.lane.waiting, world.lane.failed) == (0, 0, 7)
    assert not [entry for entry in world.log if entry[0] == "abandoned"]
    batch.resolve((1, 2), lambda error: error)
    assert world.lane.completed == 0


# ----------------------------------------------------------------------------------------- gauges
def test_the_oldest_item_in_no_batch_says_when_one_should_go(make_world: MakeWorld) -> None:
    world = make_world(max_latency=1.0)
    a, _ = world.submit(*"ab")
    world.advance(0.5)
    world.submit("c")
    a.cancel()
    world.advance(0.25)
    assert world.due_items() == []
    world.advance(0.25)
    assert world.due_items() == ["b", "c"]
    world.submit("d")
    world.advance(0.75)
    assert world.due_items() == []
    world.advance(0.25)
    assert world.due_items() == ["d"]


def test_waits_say_how_long_each_item_was_queued(world: World) -> None:
    world.submit("a")
    world.advance(2)
    _, c = world.submit(*"bc")
    world.advance(1)
    batch = world.take()
    world.advance(5)
    assert (batch.waits, batch.departed) == ([3.0, 1.0, 1.0], 103.0)
    c.cancel()
    assert batch.waits == [3.0, 1.0, 1.0]


# ----------------------------------------------------------------------------------------- owners
def test_a_flight_keeps_what_its_owner_puts_there(world: World) -> None:
    world.submit("a")
    batch = world.take()
    assert (batch.task, batch.places, batch.attempt, batch.reason) == (None, None, 1, "flush")
    batch.task, batch.places, batch.attempt, batch.reason = "task", "places", 2, "bisect"
    assert (batch.task, batch.places, batch.attempt, batch.reason) == (
        "task",
        "places",
        2,
        "bisect",
    )


def test_classes_take_type_parameters(core: ModuleType) -> None:
    for kind in (core.Ticket, core.InFlightBatch, core.Submitter, core.CallableSubmitter):
        assert kind[int, str].__args__ == (int, str)
        assert kind[int].__origin__ is kind


def test_a_router_must_know_its_lane(core: ModuleType) -> None:
    with pytest.raises(NotImplementedError):
        core.Submitter(core.Router(lambda: None)).submit("a")


def test_an_iterable_that_fails_submits_nothing(world: World) -> None:
    def items() -> Any:
        yield "a"
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        world.submitter.submit_many(items())
    assert world.counters() == {}


# ---------------------------------------------------------------------------------------- garbage
@pytest.mark.parametrize("where", ["queued", "in batch", "late", "settled"])
def test_a_dropped_lane_is_collected_with_its_items(make_world: MakeWorld, where: str) -> None:
    world = make_world(timeout=1.0)
    items = [Item(), Item(), Item()]
    references = [weakref.ref(item) for item in items]
    tickets = world.submit(*items, timeout=2.0)
    many = world.submitter.submit_many(items)
    tickets[0].add_done_callback(items[0].__init__)  # type: ignore[misc]
    batches: list[Any] = []
    if where == "in batch":
        batches.append(world.take())
    elif where == "late":
        world.advance(3)
        batches.append(world.lane.take_late())
    elif where == "settled":
        world.take(6).resolve((*items, *items), lambda error: error)
    batches.append(batches)
    del world, items, tickets, many, batches
    gc.collect()
    assert [reference() for reference in references] == [None] * 3


def test_a_ticket_in_a_cycle_with_its_lane_is_collected(make_world: MakeWorld) -> None:
    world = make_world()
    item = Item()
    reference = weakref.ref(item)
    item.ticket = world.submitter.submit(item)  # type: ignore[attr-defined]
    world.take()
    del world, item
    gc.collect()
    assert reference() is None
