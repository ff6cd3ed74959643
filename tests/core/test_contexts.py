"""A lane captures the contexts of submissions where it is told to, and a batch gives them."""

from __future__ import annotations

import contextvars
import gc
import weakref
from typing import TYPE_CHECKING

from tests.core.world import CALLER

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.core.world import World


def submit_as(world: World, name: str, *items: str) -> None:
    context = contextvars.copy_context()
    context.run(CALLER.set, name)
    for item in items:
        context.run(world.submitter.submit, item)


def test_no_context_is_captured_unless_asked_for(world: World) -> None:
    submit_as(world, "ann", "a", "b")
    assert world.take().contexts == [None, None]


def test_each_item_has_the_context_of_its_submission(make_world: Callable[..., World]) -> None:
    world = make_world(capture=True)
    submit_as(world, "ann", "a")
    submit_as(world, "bob", "b", "c")
    batch = world.take()
    assert [context[CALLER] for context in batch.contexts] == ["ann", "bob", "bob"]


def test_it_is_a_copy_which_later_changes_do_not_reach(make_world: Callable[..., World]) -> None:
    world = make_world(capture=True)
    context = contextvars.copy_context()
    context.run(CALLER.set, "before")
    context.run(world.submitter.submit, "a")
    context.run(CALLER.set, "after")
    assert [each[CALLER] for each in world.take().contexts] == ["before"]


def test_the_items_of_one_submission_share_one_context(make_world: Callable[..., World]) -> None:
    world = make_world(capture=True)
    world.submitter.submit_many(["a", "b"])
    first, second = world.take().contexts
    assert first is second is not None


def test_what_is_settled_or_given_up_has_none(make_world: Callable[..., World]) -> None:
    world = make_world(capture=True)
    tickets = world.submit("a", "b", "c")
    batch = world.take()
    batch.settle(0, "fine", KeyError)
    tickets[1].cancel()
    assert [context is None for context in batch.contexts] == [True, True, False]
    batch.fail(lambda _: ValueError())
    assert batch.contexts == [None] * 3


def test_a_context_is_let_go_with_its_ticket(make_world: Callable[..., World]) -> None:
    class Value:
        pass

    variable: contextvars.ContextVar[Value] = contextvars.ContextVar("variable")
    world = make_world(capture=True)
    context = contextvars.copy_context()
    context.run(variable.set, value := Value())
    ticket = context.run(world.submitter.submit, "a")
    world.handle()
    known = weakref.ref(value)
    del context, ticket, value
    gc.collect()
    assert known() is None
