"""Tickets: settling once, results and errors, cancellation and deadlines."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.world import Cancelled, InvalidState, World, outcome, own

if TYPE_CHECKING:
    from types import ModuleType

MakeWorld = Callable[..., World]


# --------------------------------------------------------------------------------------- protocol
def test_a_ticket_is_not_made_by_hand(core: ModuleType) -> None:
    with pytest.raises(TypeError, match="made by submitting an item, never by hand"):
        core.Ticket()


def test_a_ticket_is_a_future_and_no_coroutine(world: World) -> None:
    (ticket,) = world.submit("a")
    assert type(ticket)._asyncio_future_blocking is not None
    assert ticket._asyncio_future_blocking is False
    assert isinstance(ticket, Awaitable)
    assert not isinstance(ticket, Coroutine)
    assert not inspect.iscoroutine(ticket)
    for name in ("send", "throw", "close"):
        assert not hasattr(ticket, name)
    assert ticket.get_loop() == "the loop"


def test_awaiting_yields_the_ticket_until_it_is_done(world: World) -> None:
    async def wait() -> Any:
        return await ticket

    (ticket,) = world.submit("a")
    waiting = wait()
    for _ in range(2):
        assert waiting.send(None) is ticket
        assert ticket._asyncio_future_blocking is True
        ticket._asyncio_future_blocking = False
    world.handle()
    with pytest.raises(StopIteration) as stopped:
        waiting.send(None)
    assert stopped.value.value == "A"


@pytest.mark.parametrize("value", [None, (), (1, 2), ValueError, StopIteration, [1], 0])
def test_awaiting_gives_any_result_as_it_is(world: World, value: object) -> None:
    async def wait() -> Any:
        return await ticket

    (ticket,) = world.submit("a")
    world.take().resolve((value,), own)
    for _ in range(2):
        with pytest.raises(StopIteration) as stopped:
            wait().send(None)
        assert stopped.value.value is value
    assert ticket.result() is value


def test_awaiting_raises_the_failure_or_the_cancellation(world: World) -> None:
    async def wait() -> Any:
        return await ticket

    failed, cancelled = world.submit(*"ab")
    world.take(1).fail(lambda ticket: ValueError("bad"))
    cancelled.cancel("enough")
    ticket = failed
    with pytest.raises(ValueError, match="bad"):
        wait().send(None)
    ticket = cancelled
    with pytest.raises(Cancelled, match="enough"):
        wait().send(None)


def test_a_failure_is_raised_each_time_with_the_traceback_that_it_came_with(world: World) -> None:
    async def wait() -> Any:
        return await ticket

    def fail() -> None:
        raise error

    error = ValueError("bad")
    with pytest.raises(ValueError, match="bad"):
        fail()
    came_with = error.__traceback__
    tickets = world.submit(*"ab")
    world.take().fail(lambda ticket: error if ticket is tickets[0] else ValueError("new"))
    for ticket in tickets:
        depths = []
        for raising in [ticket.result, lambda: wait().send(None)] * 2:
            with pytest.raises(ValueError, match=r"bad|new") as caught:
                raising()
            depths.append([frame.name for frame in caught.traceback][2:])
            assert ("fail" in depths[-1]) is (ticket is tickets[0])
        assert depths[:2] == depths[2:]
    assert tickets[0].exception() is error
    assert error.__traceback__ is not came_with  # that of the last raise, which ends in it


def test_an_exception_of_the_awaiting_side_passes_through(world: World) -> None:
    async def wait() -> Any:
        try:
            return await ticket
        except Cancelled:
            return "left"

    (ticket,) = world.submit("a")
    waiting = wait()
    waiting.send(None)
    with pytest.raises(StopIteration) as stopped:
        waiting.throw(Cancelled())
    assert stopped.value.value == "left"
    assert not ticket.done()


def test_repr_tells_the_state(world: World) -> None:
    tickets = world.submit(*"abcd")
    world.take(1).resolve((1,), own)
    world.take(1).fail(lambda ticket: ValueError())
    world.take(1)
    tickets[3].cancel()
    queued = world.submitter.submit("e")
    assert [repr(ticket) for ticket in [*tickets, queued]] == [
        "<Ticket of 'embed': returned>",
        "<Ticket of 'embed': raised>",
        "<Ticket of 'embed': in flight>",
        "<Ticket of 'embed': cancelled>",
        "<Ticket of 'embed': queued>",
    ]


# --------------------------------------------------------------------------------------- settling
def test_each_item_is_settled_with_its_own_result(world: World) -> None:
    tickets = world.submit(*"abc")
    batch = world.take()
    batch.resolve((1, 2, 3), own)
    assert [ticket.result() for ticket in tickets] == [1, 2, 3]
    assert [ticket.exception() for ticket in tickets] == [None] * 3
    assert all(ticket.done() and not ticket.cancelled() for ticket in tickets)
    assert (batch.size, batch.alive, batch.items) == (3, 0, [])
    assert world.counters() == {"submitted": 3, "completed": 3}
    assert world.lane.unsettled == 0


def test_an_exception_among_the_results_is_that_items_failure(world: World) -> None:
    a, b, c = world.submit(*"abc")
    world.take().resolve((1, ValueError("bad"), 3), own)
    assert (a.result(), c.result()) == (1, 3)
    assert b.exception().args == ("bad", "own")
    assert world.counters() == {"submitted": 3, "completed": 2, "failed": 1}


def test_failing_a_flight_gives_each_ticket_its_own_exception(world: World) -> None:
    tickets = world.submit(*"ab")
    world.take().fail(lambda ticket: ValueError(tickets.index(ticket)))
    assert [ticket.exception().args for ticket in tickets] == [(0,), (1,)]
    assert world.counters() == {"submitted": 2, "failed": 2}


def test_raising_again_and_again_does_not_grow_the_traceback(world: World) -> None:
    (ticket,) = world.submit("a")
    world.take().fail(lambda ticket: ValueError("bad"))
    lengths = []
    for _ in range(5):
        with pytest.raises(ValueError, match="bad") as caught:
            ticket.result()
        lengths.append(len(caught.traceback))
    assert len(set(lengths)) == 1


def test_there_is_no_result_before_the_end(world: World) -> None:
    (ticket,) = world.submit("a")
    for ask in (ticket.result, ticket.exception):
        with pytest.raises(InvalidState, match="the result is not there yet"):
            ask()
    assert not ticket.done()
    assert not ticket.cancelled()


def test_a_ticket_is_settled_only_once(world: World) -> None:
    a, b = world.submit(*"ab")
    batch = world.take()
    b.cancel()
    batch.resolve((1, 2), own)
    batch.resolve((3, 4), own)
    batch.fail(lambda ticket: ValueError())
    assert not a.cancel()
    assert a.result() == 1
    assert b.cancelled()
    assert world.counters() == {"submitted": 2, "completed": 1, "cancelled": 1}


@pytest.mark.parametrize("results", [(), (1,), (1, 2, 3)])
def test_a_wrong_number_of_results_settles_nothing(world: World, results: tuple[int, ...]) -> None:
    tickets = world.submit(*"ab")
    batch = world.take()
    with pytest.raises(ValueError, match=f"results must be 2 for this batch, got {len(results)}"):
        batch.resolve(results, own)
    assert not any(ticket.done() for ticket in tickets)
    assert batch.alive == 2


def test_making_an_exception_may_cancel_a_ticket(world: World) -> None:
    def cancelling(error: Any) -> ValueError:
        a.cancel()
        c.cancel()
        return ValueError()

    a, b, c = world.submit(*"abc")
    world.take().resolve((OSError(), 2, OSError()), cancelling)
    assert (a.cancelled(), b.result(), c.cancelled()) == (True, 2, True)
    a, _, c = world.submit(*"abc")
    world.take().fail(cancelling)
    assert (a.cancelled(), c.cancelled()) == (True, True)
    assert world.counters() == {"submitted": 6, "completed": 1, "failed": 1, "cancelled": 4}


# ------------------------------------------------------------------------------------- cancelling
def test_cancelling_a_queued_item(world: World) -> None:
    a, b = world.submit(*"ab")
    assert a.cancel()
    assert a.done()
    assert a.cancelled()
    assert isinstance(outcome(a), Cancelled)
    with pytest.raises(Cancelled):
        a.exception()
    assert not a.cancel()
    assert world.take_items() == ["b"]
    assert not b.done()
    assert world.counters() == {"submitted": 2, "cancelled": 1}


def test_cancelling_an_item_in_flight_spares_its_siblings(world: World) -> None:
    a, b = world.submit(*"ab")
    batch = world.take()
    a.cancel()
    assert (batch.size, batch.alive, batch.items) == (2, 1, ["b"])
    batch.resolve((1, 2), own)
    assert a.cancelled()
    assert b.result() == 2
    assert world.counters() == {"submitted": 2, "completed": 1, "cancelled": 1}


def test_the_owner_hears_when_nobody_waits_for_a_flight(world: World) -> None:
    tickets = world.submit(*"abc")
    batch = world.take(2)
    world.log.clear()
    tickets[2].cancel()
    tickets[1].cancel()
    assert world.log == []
    tickets[0].cancel()
    assert world.log == [("abandoned", batch)]
    assert batch.alive == 0
    batch.resolve((1, 2), own)
    assert world.counters() == {"submitted": 3, "cancelled": 3}


def test_the_message_of_a_cancellation_is_kept(world: World) -> None:
    a, b = world.submit(*"ab")
    a.cancel("enough")
    b.cancel(msg="more")
    assert outcome(a).args == ("enough",)
    assert outcome(b).args == ("more",)
    assert a._make_cancelled_error().args == ("enough",)


def test_a_late_item_can_be_cancelled_until_it_is_settled(world: World) -> None:
    a, b = world.submit(*"ab", timeout=1.0)
    world.advance(1)
    queued, _, _ = world.lane.take_late()
    assert world.counters() == {"submitted": 2, "late": 2}
    a.cancel()
    assert world.counters() == {"submitted": 2, "cancelled": 1, "late": 1}
    b.cancel()
    assert world.counters() == {"submitted": 2, "cancelled": 2}
    assert world.log[-1] == ("abandoned", queued)


# --------------------------------------------------------------------------------------- deadline
def test_a_ticket_knows_its_times(make_world: MakeWorld) -> None:
    world = make_world(timeout=2.0)
    (usual,) = world.submit("a")
    world.advance(1)
    (own_one,) = world.submit("b", timeout=5)
    (endless,) = world.submit("c", timeout=None)
    assert (usual.submitted, usual.deadline) == (100.0, 102.0)
    assert (own_one.submitted, own_one.deadline) == (101.0, 106.0)
    assert (endless.submitted, endless.deadline) == (101.0, math.inf)


def test_results_are_not_kept_alive_by_the_lane(world: World) -> None:
    result = object()
    before = sys.getrefcount(result)
    world.submit(*"abc")
    world.take().resolve((result, result, result), own)
    world.run_all()
    world.submit(*"abc", timeout=10.0)
    world.take().resolve((result, result, result), own)
    world.run_all()
    world.lane.rearm()
    world.submit("d", timeout=None)
    assert world.lane.overdue is False
    assert sys.getrefcount(result) == before
