"""Callbacks of tickets: their order, their contexts, and what they raise."""

from __future__ import annotations

import contextvars
from typing import Any

import pytest

from tests.core.world import CALLER, Cancelled, World, own


def test_callbacks_are_called_in_order_and_by_the_loop(world: World) -> None:
    a, b = world.submit(*"ab")
    for ticket, name in ((b, "b1"), (a, "a1"), (a, "a2"), (b, "b2"), (a, "a3")):
        world.watch(ticket, name)
    world.take().resolve((1, 2), own)
    assert world.called() == []
    world.lane.wake_soon()
    world.lane.wake_soon()
    world.run_all()
    assert world.called() == ["a1", "a2", "a3", "b1", "b2"]
    world.lane.wake()
    assert len(world.called()) == 5


def test_a_callback_is_given_the_ticket(world: World) -> None:
    got: list[Any] = []
    tickets = [*world.submit("a"), world.submitter.submit_many([*"bc"])]
    for ticket in tickets:
        ticket.add_done_callback(got.append)
    world.handle()
    world.lane.wake()
    assert got == tickets


def test_a_callback_added_to_a_done_ticket_is_called_soon(world: World) -> None:
    (ticket,) = world.submit("a")
    world.handle()
    world.run_all()
    world.watch(ticket, "late")
    world.watch(ticket, "later")
    assert world.called() == []
    world.run_all()
    assert world.called() == ["late", "later"]


def test_a_callback_added_by_a_callback_is_called_in_the_next_turn(world: World) -> None:
    (ticket,) = world.submit("a")
    world.watch(ticket, "first", lambda: world.watch(ticket, "second"))
    world.handle()
    world.lane.wake()
    assert world.called() == ["first"]
    world.run_all()
    assert world.called() == ["first", "second"]


def test_what_a_callback_settles_is_woken_in_the_next_turn(world: World) -> None:
    a, b = world.submit(*"ab")
    world.watch(a, "a", b.cancel)
    world.watch(b, "b")
    world.take(1).resolve((1,), own)
    world.lane.wake()
    assert world.called() == ["a"]
    world.run_all()
    assert world.called() == ["a", "b"]


def test_callbacks_can_be_taken_back(world: World) -> None:
    def count(ticket: Any) -> None:
        world.log.append(("counted",))

    (ticket,) = world.submit("a")
    first = world.watch(ticket, "first")
    ticket.add_done_callback(count)
    second = world.watch(ticket, "second")
    ticket.add_done_callback(count)
    assert ticket.remove_done_callback(count) == 2
    assert ticket.remove_done_callback(count) == 0
    assert ticket.remove_done_callback(first) == 1
    world.handle()
    world.lane.wake()
    assert world.called() == ["second"]
    assert ("counted",) not in world.log
    assert ticket.remove_done_callback(second) == 0


def test_bound_methods_can_be_taken_back(world: World) -> None:
    (ticket,) = world.submit("a")
    got: list[Any] = []
    ticket.add_done_callback(got.append)
    assert ticket.remove_done_callback(got.append) == 1
    assert ticket.remove_done_callback(got.append) == 0


def test_a_callback_can_be_taken_back_between_settling_and_waking(world: World) -> None:
    (ticket,) = world.submit("a")
    first = world.watch(ticket, "first")
    world.handle()
    assert ticket.remove_done_callback(first) == 1
    world.watch(ticket, "second")
    world.run_all()
    world.run_all()
    assert world.called() == ["second"]


@pytest.mark.parametrize("wrong", [{}, {"context": None, "more": 1}, {"fn": print}])
def test_wrong_arguments_for_a_callback_are_refused(world: World, wrong: dict[str, Any]) -> None:
    (ticket,) = world.submit("a")
    positional = [print] if wrong else []
    with pytest.raises(TypeError):
        ticket.add_done_callback(*positional, **wrong)
    with pytest.raises(TypeError):
        ticket.add_done_callback(print, contextvars.copy_context())


def test_callbacks_run_in_their_contexts(world: World) -> None:
    def enter(name: str, **context: Any) -> None:
        CALLER.set(name)
        ticket.add_done_callback(
            lambda ticket: world.log.append(("called", CALLER.get())), **context
        )
        CALLER.set("changed later")

    (ticket,) = world.submit("a")
    for name in ("first", "second"):
        contextvars.copy_context().run(enter, name)
    given = contextvars.copy_context()
    given.run(CALLER.set, "given")
    ticket.add_done_callback(
        lambda ticket: world.log.append(("called", CALLER.get())), context=given
    )
    ticket.add_done_callback(
        lambda ticket: world.log.append(("called", CALLER.get())), context=None
    )
    world.handle()
    world.lane.wake()
    assert world.called() == ["first", "second", "given", "nobody"]
    assert CALLER.get() == "nobody"


def test_what_a_callback_sets_stays_in_its_context(world: World) -> None:
    context = contextvars.copy_context()
    (ticket,) = world.submit("a")
    ticket.add_done_callback(lambda ticket: CALLER.set("set"), context=context)
    world.handle()
    world.lane.wake()
    assert context[CALLER] == "set"
    assert CALLER.get() == "nobody"


def test_an_exception_in_a_callback_is_reported(world: World) -> None:
    def fail(ticket: Any) -> None:
        raise error

    error: BaseException = ValueError("bad")
    a, b = world.submit(*"ab")
    a.add_done_callback(fail)
    world.watch(a, "a")
    world.watch(b, "b")
    world.handle()
    world.log.clear()
    world.lane.wake()
    assert world.log[0] == ("reported", error, fail, a)
    assert world.called() == ["a", "b"]
    error = Cancelled()
    (c,) = world.submit("c")
    c.add_done_callback(fail)
    c.cancel()
    world.log.clear()
    world.lane.wake()
    assert world.log == [("reported", error, fail, c)]


def test_a_context_that_is_entered_already_is_reported(world: World) -> None:
    context = contextvars.copy_context()
    a, b = world.submit(*"ab")
    a.add_done_callback(print, context=context)
    world.watch(b, "b")
    world.handle()
    world.log.clear()
    context.run(world.lane.wake)
    kind, error, callback, ticket = world.log[0]
    assert (kind, type(error), callback, ticket) == ("reported", RuntimeError, print, a)
    assert world.called() == ["b"]


@pytest.mark.parametrize("request_to_exit", [KeyboardInterrupt, SystemExit])
def test_an_exit_request_in_a_callback_leaves_the_others_for_later(
    world: World, request_to_exit: type[BaseException]
) -> None:
    def exit_now() -> None:
        raise request_to_exit

    a, b = world.submit(*"ab")
    world.watch(a, "a1", exit_now)
    world.watch(a, "a2")
    world.watch(a, "a3")
    world.watch(b, "b")
    world.handle()
    with pytest.raises(request_to_exit):
        world.lane.wake()
    assert world.called() == ["a1"]
    world.run_all()
    assert sorted(world.called()) == ["a1", "a2", "a3", "b"]


def test_a_callback_may_wake_the_others_itself(world: World) -> None:
    a, b, c = world.submit(*"abc")
    world.watch(a, "a", world.lane.wake)
    world.watch(b, "b")
    world.watch(c, "c")
    world.handle()
    world.lane.wake()
    assert world.called() == ["a", "b", "c"]


def test_an_error_while_reporting_goes_on_to_the_caller(world: World) -> None:
    def interrupt() -> None:
        raise ValueError

    class Angry(list[Any]):
        def append(self, entry: Any) -> None:
            if entry[0] == "reported":
                raise OSError("no log")
            super().append(entry)

    a, b = world.submit(*"ab")
    world.log = Angry(world.log)
    world.watch(a, "a", interrupt)
    world.watch(b, "b")
    world.handle()
    with pytest.raises(OSError, match="no log"):
        world.lane.wake()
    world.run_all()
    assert world.called() == ["a", "b"]
