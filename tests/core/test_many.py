"""Many items at once: one ticket has all their results."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.core.world import World, own

MakeWorld = Callable[..., World]


def test_many_has_all_results_in_order(world: World) -> None:
    many = world.submitter.submit_many([*"abcd"])
    first, second = world.take(3), world.take()
    second.resolve((4,), own)
    assert not many.done()
    first.resolve((1, 2, 3), own)
    assert many.result() == [1, 2, 3, 4]
    assert world.counters() == {"submitted": 4, "completed": 4}


def test_many_raises_the_first_failure_by_place(world: World) -> None:
    many = world.submitter.submit_many([*"abcd"])
    first, second = world.take(2), world.take()
    second.resolve((ValueError("third"), ValueError("fourth")), own)
    assert not many.done()
    first.resolve((1, ValueError("second")), own)
    assert many.exception().args == ("second", "own")
    assert world.counters() == {"submitted": 4, "completed": 1, "failed": 3}


def test_many_can_give_the_exceptions(world: World) -> None:
    many = world.submitter.submit_many(iter("abc"), return_exceptions=True)
    world.take().resolve((1, ValueError("bad"), None), own)
    first, second, third = many.result()
    assert (first, second.args, third) == (1, ("bad", "own"), None)


@pytest.mark.parametrize("return_exceptions", [False, True])
def test_many_of_nothing_is_done_at_once(world: World, return_exceptions: bool) -> None:
    many = world.submitter.submit_many([], return_exceptions=return_exceptions)
    assert many.result() == []
    assert world.log == []
    world.watch(many, "many")
    world.run_all()
    assert world.called() == ["many"]
    assert world.counters() == {}


def test_cancelling_many_gives_up_all_that_is_left(world: World) -> None:
    world.submit("x")
    many = world.submitter.submit_many([*"abcdef"])
    world.submit("y")
    first, second = world.take(3), world.take(2)
    first.resolve((0, 1, 2), own)
    world.log.clear()
    assert many.cancel()
    assert world.log == [("abandoned", second)]
    assert many.cancelled()
    assert world.take_items() == ["y"]
    assert world.counters() == {"submitted": 8, "completed": 3, "cancelled": 4}
    second.resolve((3, 4), own)
    assert many.cancelled()


def test_many_can_be_partly_late(world: World) -> None:
    many = world.submitter.submit_many([*"abcd"], timeout=1.0, return_exceptions=True)
    world.take(1).resolve(("A",), own)
    batch = world.take(1)
    world.advance(1)
    queued, in_flight, hit = world.lane.take_late()
    assert (queued.items, in_flight.items, hit) == (["c", "d"], ["b"], [batch])
    queued.resolve(("late c", "late d"), own)
    in_flight.fail(lambda ticket: TimeoutError("late b"))
    assert str(many.result()) == str(["A", TimeoutError("late b"), "late c", "late d"])
    assert world.counters() == {"submitted": 4, "completed": 1, "late": 3}


def test_many_without_a_timeout_of_its_own_can_be_late_too(make_world: MakeWorld) -> None:
    world = make_world(timeout=1.0)
    many = world.submitter.submit_many([*"abc"])
    batch = world.take(2)
    world.advance(1)
    queued, in_flight, hit = world.lane.take_late()
    assert (queued.items, in_flight.items, hit) == (["c"], ["a", "b"], [batch])
    queued.fail(lambda ticket: TimeoutError("c"))
    in_flight.fail(lambda ticket: TimeoutError("a or b"))
    assert str(many.exception()) == "a or b"
