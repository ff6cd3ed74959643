"""Deadlines, the timer that serves them all, and being idle."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy
import pytest

from tests.core.world import World, own

MakeWorld = Callable[..., World]


def fail_late(world: World) -> list[Any]:
    """Take what is late, fail it, and give its items."""
    queued, in_flight, _ = world.lane.take_late()
    items = [*queued.items, *in_flight.items]
    for batch in (queued, in_flight):
        batch.fail(lambda ticket: TimeoutError())
    return items


# -------------------------------------------------------------------------------------- deadlines
def test_items_are_late_in_turn(make_world: MakeWorld) -> None:
    world = make_world(timeout=2.0)
    (a,) = world.submit("a")
    world.advance(1)
    (b,) = world.submit("b")
    assert not world.lane.overdue
    assert fail_late(world) == []
    world.advance(1)
    assert world.lane.overdue
    assert fail_late(world) == ["a"]
    assert not world.lane.overdue
    assert isinstance(a.exception(), TimeoutError)
    assert not b.done()
    world.advance(1)
    assert fail_late(world) == ["b"]
    assert world.counters() == {"submitted": 2, "late": 2}


def test_a_timeout_may_be_a_tick_early(make_world: MakeWorld) -> None:
    world = make_world(timeout=1.0)
    world.submit("a")
    world.advance(1.0 - 1e-10)
    assert world.lane.overdue
    assert fail_late(world) == ["a"]


def test_without_a_timeout_nothing_is_late(world: World) -> None:
    world.submit("a")
    world.submit("b", timeout=None)
    world.submit("c", timeout=math.inf)
    world.advance(1e9)
    assert not world.lane.overdue
    assert fail_late(world) == []


def test_timeouts_of_their_own_are_late_out_of_line(make_world: MakeWorld) -> None:
    world = make_world(timeout=10.0)
    world.submit("usual")
    world.submit("long", timeout=5.0)
    world.submit("short", timeout=1.0)
    world.submit("endless", timeout=None)
    world.submit("middling", timeout=3)
    lateness = []
    for _ in range(12):
        world.advance(1)
        lateness.append(fail_late(world))
    expected = {1: ["short"], 3: ["middling"], 5: ["long"], 10: ["usual"]}
    assert lateness == [expected.get(second, []) for second in range(1, 13)]
    assert world.take_items() == ["endless"]


def test_late_ones_come_usual_first_and_then_by_deadline(make_world: MakeWorld) -> None:
    world = make_world(timeout=4.0)
    for item, timeout in (("b", 2.0), ("a", 1.0), ("c", 2.0)):
        world.submit(item, timeout=timeout)
    world.submit(*"uv")
    world.advance(5)
    assert fail_late(world) == ["u", "v", "a", "b", "c"]


def test_late_in_flight_is_told_apart_from_late_in_the_queue(make_world: MakeWorld) -> None:
    world = make_world(timeout=1.0)
    world.submit(*"ab")
    world.submit("c", timeout=0.5)
    batch = world.take()
    world.submit("d")
    world.submit("e", timeout=0.5)
    world.advance(1)
    queued, in_flight, hit = world.lane.take_late()
    assert queued.items == ["d", "e"]
    assert in_flight.items == ["a", "b", "c"]
    assert (hit, batch.alive) == ([batch], 0)
    assert ("abandoned", batch) in world.log
    assert (world.lane.unsettled, world.lane.late) == (5, 5)


def test_a_flight_that_is_hit_goes_on_without_the_late_ones(make_world: MakeWorld) -> None:
    world = make_world(timeout=1.0)
    (a,) = world.submit("a")
    world.advance(0.5)
    (b,) = world.submit("b")
    batch = world.take()
    world.advance(0.5)
    _, in_flight, hit = world.lane.take_late()
    assert (in_flight.items, hit, batch.items, batch.alive) == (["a"], [batch], ["b"], 1)
    assert not [entry for entry in world.log if entry[0] == "abandoned"]
    batch.resolve((1, 2), own)
    assert not a.done()
    assert b.result() == 2
    in_flight.resolve(("fallback",), own)
    assert a.result() == "fallback"
    assert world.counters() == {"submitted": 2, "completed": 1, "late": 1}


def test_what_was_late_is_not_late_again(make_world: MakeWorld) -> None:
    world = make_world(timeout=1.0)
    world.submit("a")
    world.submit("b", timeout=1.0)
    world.advance(1)
    world.lane.take_late()
    world.advance(10)
    assert not world.lane.overdue
    assert fail_late(world) == []
    assert world.lane.late == 2


def test_settled_tickets_are_never_late(make_world: MakeWorld) -> None:
    world = make_world(timeout=1.0)
    a, b, _c, _d = [*world.submit(*"ab"), *world.submit(*"cd", timeout=1.0)]
    a.cancel()
    _c.cancel()
    world.handle()
    assert b.result() == "B"
    world.advance(5)
    assert not world.lane.overdue
    assert fail_late(world) == []


def test_items_that_wait_for_admission_can_be_late(make_world: MakeWorld) -> None:
    world = make_world(timeout=1.0, capacity=1)
    world.submit(*"ab")
    world.take()
    world.advance(1)
    queued, in_flight, _ = world.lane.take_late()
    assert (queued.items, in_flight.items) == (["b"], ["a"])


@pytest.mark.parametrize("timeout", [0, -1.0, math.nan])
def test_a_timeout_must_be_positive(world: World, timeout: float) -> None:
    for submit in (
        world.submitter.submit,
        world.submitter.submit_nowait,
        world.submitter.submit_many,
    ):
        with pytest.raises(ValueError, match=r"timeout must be > 0, got ") as caught:
            submit(["a"], timeout=timeout)
        assert str(caught.value).endswith(repr(timeout))
    assert world.counters() == {}


@pytest.mark.parametrize("timeout", ["1", True, 1j, [1]])
def test_a_timeout_must_be_a_number(world: World, timeout: Any) -> None:
    for submit in (
        world.submitter.submit,
        world.submitter.submit_nowait,
        world.submitter.submit_many,
    ):
        with pytest.raises(TypeError) as caught:
            submit(["a"], timeout=timeout)
        expected = f"timeout must be a number of seconds or None, got {timeout!r}"
        assert str(caught.value) == expected
    assert world.counters() == {}


@pytest.mark.parametrize("timeout", [Fraction(3, 2), Decimal("1.5"), numpy.float32(1.5), 1.5])
def test_a_timeout_may_be_a_number_of_any_kind(world: World, timeout: Any) -> None:
    for submit in (
        world.submitter.submit,
        world.submitter.submit_nowait,
        world.submitter.submit_many,
    ):
        assert submit(["a"], timeout=timeout).deadline == 101.5


def test_a_timeout_beyond_every_float_is_named(world: World) -> None:
    with pytest.raises(ValueError, match=r"^timeout must be a finite number of seconds or None, "):
        world.submit("a", timeout=10**400)
    assert world.counters() == {}


@pytest.mark.parametrize("end", ["cancelled", "resolved", "empty"])
@pytest.mark.parametrize("timeout", [5.0, math.inf])
def test_done_tickets_do_not_pile_up_behind_a_long_deadline(
    world: World, end: str, timeout: float
) -> None:
    class Result:
        pass

    world.submit("endless", timeout=1.0)
    world.take()
    results: weakref.WeakSet[Any] = weakref.WeakSet()
    for number in range(2000):
        ticket = world.submitter.submit_many([number], timeout=timeout)
        result = Result()
        results.add(result)
        if end == "resolved":
            world.take().resolve((result,), own)
        else:
            ticket.cancel(result)
        if end == "empty":
            world.submitter.submit_many([], timeout=timeout)
        del ticket, result
        world.lane.wake()
    gc.collect()
    assert len(results) < 200


# ------------------------------------------------------------------------------------------ timer
def test_an_item_is_due_in_the_same_turn_without_latency(world: World) -> None:
    world.submit(*"abc")
    assert world.log == []
    assert (len(world.soon), len(world.handles)) == (1, 0)
    world.run_soon()
    assert world.log == [("due",)]


def test_a_full_batch_is_due_at_once(world: World) -> None:
    world.submit(*"abc")
    world.submit("d")
    assert world.log == [("due",)]


def test_many_that_fill_a_batch_are_due_once(world: World) -> None:
    world.submitter.submit_many(range(100))
    assert world.log == [("due",)]


def test_a_full_lane_is_due_at_once(make_world: MakeWorld) -> None:
    world = make_world(capacity=2, max_latency=1.0)
    world.submit("a")
    assert world.log == []
    world.submit("b")
    assert world.log == [("due",)]


def test_nothing_is_due_while_no_slot_is_free(make_world: MakeWorld) -> None:
    world = make_world(free_slots=0, max_latency=1.0)
    world.submit(*"abcdefgh")
    world.lane.rearm()
    assert (world.log, world.soon, world.handles) == ([], [], [])
    assert world.next_batch() is None


def test_each_batch_takes_a_slot(make_world: MakeWorld) -> None:
    world = make_world(free_slots=1, max_batch_size=1)
    world.submit(*"ab")
    batch = world.next_batch()
    assert (batch.items, world.lane.free_slots) == (["a"], 0)
    assert world.next_batch() is None
    world.lane.free_slots += 1
    assert world.due_items() == ["b"]
    world.lane.free_slots += 1
    assert world.next_batch() is None
    assert world.lane.free_slots == 1


def test_latency_counts_from_the_oldest_item(make_world: MakeWorld) -> None:
    world = make_world(max_latency=1.0)
    world.submit("a")
    assert world.armed == 101.0
    world.advance(0.5)
    world.submit("b")
    assert world.armed == 101.0
    assert len(world.handles) == 1
    world.advance(0.5)
    assert world.log == [("due",)]


def test_the_timer_is_armed_anew_only_when_it_fires(make_world: MakeWorld) -> None:
    """A flush of a full batch leaves it alone; when it fires it looks at the head."""
    world = make_world(max_latency=1.0)
    world.on_due = lambda: (world.next_batch(), world.lane.rearm())
    for _ in range(101):
        world.submit(*"abcde")
        world.advance(0.005)
    assert len(world.handles) == 1
    assert world.armed == 101.0
    world.advance(0.5)
    assert len(world.handles) == 2
    assert world.armed == pytest.approx(1.0 + world.now - max(world.take().waits))


def test_an_earlier_time_replaces_the_timer(world: World) -> None:
    world.lane.free_slots = 0
    world.submit("a", timeout=5.0)
    world.submit("b", timeout=9.0)
    assert [handle.when for handle in world.handles] == [105.0]
    world.submit("c", timeout=1.0)
    assert [(handle.when, handle.cancelled) for handle in world.handles] == [
        (105.0, True),
        (101.0, False),
    ]
    world.advance(1)
    assert world.log == [("due",)]
    assert world.armed == math.inf
    fail_late(world)
    world.lane.rearm()
    assert world.armed == 105.0


def test_rearm_looks_at_what_comes_first(make_world: MakeWorld) -> None:
    world = make_world(max_latency=3.0, timeout=2.0)
    world.submit("a")
    assert world.armed == 102.0
    world.take()
    world.advance(1)
    world.submit("b", timeout=None)
    world.advance(1)
    fail_late(world)
    world.lane.rearm()
    assert world.armed == 104.0


def test_company_is_waited_for_while_a_slot_is_free(make_world: MakeWorld) -> None:
    world = make_world(max_latency=3.0, free_slots=1)
    world.submit("a")
    world.lane.flush()
    batch = world.next_batch()
    world.advance(1)
    world.submit("b")
    world.advance(1)
    batch.end()
    world.lane.free_slots += 1
    world.advance(2.5)  # 3.5 since it came, 2.5 since it may go
    assert world.due_items() == []
    world.lane.rearm()
    assert world.armed == 105.0
    world.advance(0.5)
    assert world.due_items() == ["b"]


def test_company_is_waited_for_while_any_slot_is_free(make_world: MakeWorld) -> None:
    world = make_world(max_latency=3.0, free_slots=2)
    world.submit("a")
    world.lane.flush()
    batch = world.next_batch()
    world.advance(1)
    world.submit("b")
    world.advance(1)
    batch.end()
    world.lane.free_slots += 1
    world.advance(2)
    assert world.due_items() == ["b"]


def test_rearm_does_not_ask_for_items_that_wait_for_admission(make_world: MakeWorld) -> None:
    """Nothing polls: only a settled item can admit them."""
    world = make_world(capacity=1, max_latency=1.0)
    world.submit("a")
    world.take()
    world.submit("b")
    world.advance(5)
    world.lane.rearm()
    assert world.armed == math.inf


def test_a_timer_serves_flights_too(make_world: MakeWorld) -> None:
    world = make_world(timeout=2.0, free_slots=0)
    world.submit("a")
    world.take()
    world.advance(1)
    world.submit("b")
    world.lane.rearm()
    assert world.armed == 102.0
    world.advance(1)
    fail_late(world)
    world.lane.rearm()
    assert world.armed == 103.0


# ------------------------------------------------------------------------------------------- idle
def test_an_idle_lane_holds_no_timer(make_world: MakeWorld) -> None:
    world = make_world(max_latency=1.0, timeout=5.0)
    world.submit("a")
    world.handle()
    assert world.armed == 101.0
    world.lane.rearm()
    assert world.armed == math.inf
    assert world.log == [("idle",)]


def test_cancelling_the_last_item_makes_the_lane_idle_soon(make_world: MakeWorld) -> None:
    world = make_world(max_latency=1.0)
    (ticket,) = world.submit("a")
    ticket.cancel()
    assert world.log == []
    world.run_all()
    assert world.log == [("idle",)]
    assert world.armed == math.inf


def test_a_lane_is_not_idle_while_something_is_unsettled(make_world: MakeWorld) -> None:
    world = make_world(max_latency=1.0)
    a, _ = world.submit(*"ab")
    world.take()
    a.cancel()
    world.run_all()
    world.lane.rearm()
    assert world.log == []


def test_the_hold_lasts_while_something_is_unsettled(make_world: MakeWorld) -> None:
    class Owner:
        pass

    made: list[weakref.ref[Owner]] = []

    def pin() -> Owner:
        owner = Owner()
        made.append(weakref.ref(owner))
        return owner

    world = make_world(pin=pin)
    world.submitter.submit_many([])
    assert made == []
    world.submit(*"ab")
    world.submit("c")
    assert len(made) == 1
    world.handle(2)
    world.lane.rearm()
    assert made[0]() is not None
    world.handle()
    assert made[0]() is not None
    world.lane.rearm()
    assert made[0]() is None
    world.submit("d")
    assert len(made) == 2
    assert made[1]() is not None
