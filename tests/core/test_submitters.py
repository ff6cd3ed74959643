"""What is submitted to, what is called, and the descriptor of the precise timer."""

from __future__ import annotations

import gc
import select
import sys
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.world import World, make_router

if TYPE_CHECKING:
    from types import ModuleType

MakeCallable = Callable[..., Any]


@pytest.fixture
def make_callable(core: ModuleType, world: World) -> MakeCallable:
    class Function(core.CallableSubmitter):  # type: ignore[name-defined,misc]
        def bind_to(self, instance: object, owner: type | None) -> Any:
            if instance is None:
                return self
            submitter = self.bound[id(instance)] = Function(self.router)
            submitter.set_call(1, None)
            return submitter

        def call_unbound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return ("unbound", args, kwargs)

        def refused(self, kwargs: dict[str, Any], error: TypeError) -> TypeError:
            return TypeError(f"{error}, given {kwargs}")

    def make(arity: int, bind: Callable[..., Any] | None = None) -> Any:
        function = Function(make_router(core, world.lane))
        function.set_call(arity, bind)
        return function

    return make


def test_a_front_knows_its_router(core: ModuleType, world: World) -> None:
    router = make_router(core, world.lane)
    submitter = core.Submitter(router)
    assert submitter.router is router
    assert weakref.ref(submitter)() is submitter


def test_a_call_with_as_many_arguments_as_parameters_submits_them(
    world: World, make_callable: MakeCallable
) -> None:
    one, two = make_callable(1), make_callable(2)
    tickets = [one("a"), one(None), two("b", 1)]
    assert world.take_items() == ["a", None, ("b", 1)]
    assert all(isinstance(ticket, world.core.Ticket) for ticket in tickets)


def test_any_other_call_is_bound_first(world: World, make_callable: MakeCallable) -> None:
    def bind(text: str, times: int = 2) -> tuple[str, int]:
        return (text, times)

    function = make_callable(2, bind)
    function("a")
    function("b", times=3)
    function(times=4, text="c")
    assert world.take_items() == [("a", 2), ("b", 3), ("c", 4)]
    with pytest.raises(TypeError, match=r"unexpected keyword .*, given {'other': 1}"):
        function("a", other=1)
    assert world.lane.submitted == 3


def test_an_arity_of_none_always_binds(world: World, make_callable: MakeCallable) -> None:
    function = make_callable(-1, lambda *, text: text)
    function(text="a")
    assert world.take_items() == ["a"]


def test_what_is_not_callable_as_it_stands_is_asked(make_callable: MakeCallable) -> None:
    function = make_callable(0)
    assert function(1, 2, three=3) == ("unbound", (1, 2), {"three": 3})
    assert function() == ("unbound", (), {})


def test_each_instance_has_a_front_that_keeps_it_alive(make_callable: MakeCallable) -> None:
    class Owner:
        method = make_callable(0)

    assert isinstance(Owner.method, type(make_callable(0)))
    first, second = Owner(), Owner()
    assert first.method.instance is None  # made just now, and pinned by the subclass if it likes
    pinned = first.method
    assert pinned.instance is first
    assert pinned.router is Owner.method.router
    assert Owner.method.bound.keys() == {id(first)}
    second.method  # noqa: B018
    assert Owner.method.bound.keys() == {id(first), id(second)}
    reference = weakref.ref(first)
    del first
    gc.collect()
    assert reference() is pinned.instance
    del pinned
    gc.collect()
    assert reference() is None


def test_a_pinned_front_shares_all_but_its_instance(
    world: World, make_callable: MakeCallable
) -> None:
    function = make_callable(1)
    function.definition = "what was decorated"
    pinned = function.pinned(instance := object())
    assert (pinned.instance, function.instance) == (instance, None)
    assert type(pinned) is type(function)
    assert pinned.definition == "what was decorated"
    assert pinned.bound is function.bound
    pinned("a")
    assert world.take_items() == ["a"]


# ----------------------------------------------------------------------------------------- timerfd
@pytest.fixture
def descriptor(core: ModuleType) -> Any:
    return core.TimerDescriptor()


def is_readable(descriptor: Any, patience: float = 0.0) -> bool:
    return bool(select.select([descriptor.fd], [], [], patience)[0])


def test_every_linux_has_the_descriptor(core: ModuleType, descriptor: Any) -> None:
    since = (3, 11) if core.__name__.endswith("_core") else (3, 13)
    expected = sys.platform == "linux" and sys.version_info >= since
    assert (descriptor.fd >= 0) == expected


def test_the_descriptor_is_readable_once_its_time_has_come(descriptor: Any) -> None:
    if descriptor.fd < 0:
        pytest.skip("no timerfd here")
    assert not is_readable(descriptor)
    descriptor.arm(time.monotonic() + 3600)
    assert not is_readable(descriptor)
    descriptor.arm(time.monotonic() - 1)
    assert is_readable(descriptor, patience=10)
    descriptor.disarm()
    assert not is_readable(descriptor)
    descriptor.arm(time.monotonic() + 0.001)
    assert is_readable(descriptor, patience=10)


def test_the_descriptor_can_be_closed_twice_and_used_after(descriptor: Any) -> None:
    descriptor.close()
    assert descriptor.fd == -1
    descriptor.arm(time.monotonic())
    descriptor.disarm()
    descriptor.close()
    assert descriptor.fd == -1


def test_a_descriptor_that_is_dropped_is_closed(descriptor: Any, core: ModuleType) -> None:
    number = descriptor.fd
    if number < 0:
        pytest.skip("no timerfd here")
    second = core.TimerDescriptor()
    taken = second.fd
    del second
    assert core.TimerDescriptor().fd == taken
