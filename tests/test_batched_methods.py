"""``@batched`` on methods of every kind, and the lives of their instances."""

from __future__ import annotations

import abc
import asyncio
import copy
import functools
import gc
import inspect
import pickle
import pydoc
import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import batched

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def no_garbage() -> Iterator[None]:
    """Let whatever dies die by its reference count."""
    gc.disable()
    yield
    gc.enable()


class Scale:
    """A class with a batched method of every kind."""

    def __init__(self, factor: int) -> None:
        self.factor = factor
        self.calls: list[list[int]] = []

    @batched(max_batch_size=8)
    async def apply(self, numbers: list[int]) -> list[int]:
        """Scale each number."""
        self.calls.append(numbers)
        return [number * self.factor for number in numbers]

    @batched()
    def in_thread(self, numbers: list[int]) -> list[int]:
        return [number * self.factor for number in numbers]

    @batched()
    async def add(self, numbers: list[int], others: list[int], *, minus: Any = 0) -> list[int]:
        rows = zip(numbers, others, minus, strict=True)
        return [self.factor * (number + other - less) for number, other, less in rows]

    @batched()
    @classmethod
    async def of_class(cls, names: list[str]) -> list[str]:
        return [f"{cls.__name__}.{name}" for name in names]

    @classmethod
    @batched()
    async def in_classmethod(cls, names: list[str]) -> list[str]:
        return [f"{cls.__name__}.{name} of {len(names)}" for name in names]

    @batched()
    @staticmethod
    async def static(numbers: list[int]) -> list[int]:
        return numbers

    @staticmethod
    @batched()
    async def in_staticmethod(numbers: list[int]) -> list[int]:
        return numbers


class Shifted(Scale):
    @batched()
    async def apply(self, numbers: list[int]) -> list[int]:
        return [one + 1 for one in await asyncio.gather(*map(super().apply, numbers))]


# --------------------------------------------------------------------------------------- methods
async def test_each_instance_has_a_batcher_of_its_own() -> None:
    two, three = Scale(2), Scale(3)
    tickets = [two.apply(1), three.apply(1), two.apply(2)]
    assert await asyncio.gather(*tickets) == [2, 3, 4]
    assert (two.calls, three.calls) == ([[1, 2]], [[1]])
    assert two.apply.statistics().completed == 2
    assert two.apply.options.max_batch_size == 8
    assert await two.apply.submit_many([1, 2]) == [2, 4]


async def test_methods_of_several_parameters_and_in_threads() -> None:
    scale = Scale(10)
    assert await asyncio.gather(scale.add(1, 2), scale.add(1, others=1, minus=2)) == [30, 0]
    assert await scale.add.submit((1, 2, 3)) == 0
    assert await scale.in_thread(2) == 20


def test_bound_methods_compare_as_methods_do() -> None:
    two, other = Scale(2), Scale(2)
    assert two.apply == two.apply
    assert hash(two.apply) == hash(two.apply)
    assert two.apply != other.apply
    assert two.apply != two.in_thread


async def test_a_bound_method_stays_bound() -> None:
    class Holder:
        apply = Scale(2).apply

    assert await Holder().apply(4) == 8


async def test_the_instance_in_front() -> None:
    scale = Scale(2)
    assert Scale.apply is Scale.apply
    assert await Scale.apply(scale, 4) == 8
    assert Scale.apply.__get__(scale) == scale.apply
    assert Scale.apply.__get__(None, Scale) is Scale.apply
    assert scale.calls == [[4]]


@pytest.mark.parametrize("use", ["submit", "submit_nowait", "submit_many"])
def test_a_method_on_its_class_has_no_batcher(use: str) -> None:
    with pytest.raises(TypeError, match=r"^'Scale.apply' is a method: use it through an instance"):
        getattr(Scale.apply, use)([1])


async def test_nor_can_it_be_closed_or_counted() -> None:
    message = r"^'Scale.apply' is a method: use it through an instance"
    for use in (
        Scale.apply,
        Scale.apply.statistics,
        Scale.apply.flush,
        lambda: Scale.apply.closed,
    ):
        with pytest.raises(TypeError, match=message):
            use()
    for wait in (Scale.apply.drain, Scale.apply.aclose):
        with pytest.raises(TypeError, match=message):
            await wait()
    assert Scale.apply.name == "Scale.apply"
    assert Scale.apply.options.max_batch_size == 8


def test_what_is_set_on_a_method_is_seen_on_bound_ones() -> None:
    class Model:
        @batched()
        async def embed(self, texts: list[str]) -> list[str]: ...

        embed.tokens = 512

    assert Model.embed.tokens == Model().embed.tokens == 512


def test_methods_look_like_methods() -> None:
    method, bound = Scale.apply, Scale(2).apply
    assert method.__doc__ == bound.__doc__ == "Scale each number."
    assert method.__name__ == bound.__name__ == "apply"
    assert method.__qualname__ == bound.__qualname__ == "Scale.apply"
    assert method.__module__ == __name__
    assert list(inspect.signature(method).parameters) == ["self", "numbers"]
    assert list(inspect.signature(bound).parameters) == ["numbers"]
    assert list(inspect.signature(Scale.of_class).parameters) == ["names"]
    assert "Scale each number." in pydoc.render_doc(Scale)


async def test_overrides_with_super() -> None:
    scale = Shifted(10)
    assert await asyncio.gather(scale.apply(1), scale.apply(2)) == [11, 21]
    assert scale.calls == [[1, 2]]


async def test_a_function_that_becomes_a_method() -> None:
    @batched()
    async def apply(this: Any, numbers: Any) -> list[int]:
        return [number * this.factor for number in numbers]

    class Late(Scale):
        pass

    Late.apply = apply
    late = Late(3)
    assert await late.apply(2) == 6
    assert await Late.apply(late, 2) == 6


async def test_bound_methods_and_callable_objects_are_not_bound_again() -> None:
    class Holder:
        scaled = batched()(Scale(2).apply.__wrapped__)
        halved = batched()(
            functools.partial(lambda divisor, numbers: [n / divisor for n in numbers], 2)
        )

    assert await Holder().scaled(4) == 8
    assert await Holder().halved(4) == 2


async def test_any_name_will_do_for_self() -> None:
    class Model:
        @batched()
        async def embed(this, texts: list[str]) -> list[Any]:
            return [(this, text) for text in texts]

    model = Model()
    assert await model.embed("x") == (model, "x")
    assert await Model.embed(model, "x") == (model, "x")


# ------------------------------------------------------------------------- the lives of instances
async def settled() -> None:
    """Let the batch that has just been settled come to its end."""
    await asyncio.sleep(0)


@pytest.mark.usefixtures("no_garbage")
async def test_an_idle_instance_dies_at_once() -> None:
    scale = Scale(2)
    dead = weakref.ref(scale)
    assert await scale.apply(1) == 2
    await settled()
    bound, key = vars(Scale)["apply"].bound, id(scale)
    assert key in bound
    del scale
    assert dead() is None
    assert key not in bound


@pytest.mark.usefixtures("no_garbage")
async def test_a_temporary_lives_until_its_items_are_settled() -> None:
    scale = Scale(2)
    dead = weakref.ref(scale)
    tickets = [scale.apply(3), scale.add(4, 0)]
    del scale
    assert dead() is not None
    assert await asyncio.gather(*tickets) == [6, 8]
    await settled()
    assert dead() is None
    assert await Scale(5).apply(1) == 5
    assert await Scale(5).in_thread(1) == 5
    assert await Scale(5).apply.submit_many([1, 2]) == [5, 10]
    assert [number async for number in Scale(5).apply.map([1, 2])] == [5, 10]


@pytest.mark.usefixtures("no_garbage")
async def test_a_bound_method_keeps_its_instance() -> None:
    apply = Scale(2).apply
    dead = weakref.ref(apply.instance)
    assert await apply(2) == 4
    await settled()
    assert dead() is not None
    del apply
    assert dead() is None


@pytest.mark.usefixtures("no_garbage")
async def test_an_instance_of_a_reused_address_has_a_batcher_of_its_own() -> None:
    addresses = set()
    for factor in range(20):
        scale = Scale(factor)
        addresses.add(id(scale))
        assert await scale.apply(1) == factor
        await settled()
        del scale
    assert len(addresses) < 20


async def test_odd_instances() -> None:
    class Odd(Scale):
        __hash__ = None

        def __eq__(self, other: object) -> bool:
            raise AssertionError("nobody should compare instances")

        def __bool__(self) -> bool:
            raise AssertionError("nor ask whether they are true")

    assert await asyncio.gather(Odd(1).apply(1), Odd(2).apply(1)) == [1, 2]


async def test_copies_and_pickles_of_instances() -> None:
    scale = Scale(2)
    assert await scale.apply(1) == 2
    twins = [copy.copy(scale), copy.deepcopy(scale), pickle.loads(pickle.dumps(scale))]
    assert [vars(twin) for twin in twins] == [vars(scale)] * 3
    for twin in twins:
        assert twin.apply != scale.apply
        assert await twin.apply(1) == 2


async def test_copies_and_pickles_of_bound_methods() -> None:
    scale = Scale(2)
    assert copy.copy(scale.apply) == scale.apply
    assert await pickle.loads(pickle.dumps(scale.apply))(3) == 6
    assert pickle.loads(pickle.dumps(Scale.apply)) is Scale.apply
    assert pickle.loads(pickle.dumps(Scale.of_class)) == Scale.of_class
    assert pickle.loads(pickle.dumps(Scale.in_staticmethod)) is Scale.in_staticmethod


def test_an_instance_used_from_two_loops() -> None:
    scale = Scale(2)

    async def main() -> int:
        return await scale.apply(1)

    assert [asyncio.run(main()), asyncio.run(main())] == [2, 2]
    assert scale.apply.statistics().completed == 2


# -------------------------------------------------------------- class, static and abstract methods
async def test_above_classmethod() -> None:
    assert await Scale.of_class("x") == "Scale.x"
    assert await Scale(1).of_class("x") == "Scale.x"
    assert await Shifted.of_class("x") == "Shifted.x"
    assert await Shifted(1).of_class.submit_many(["x", "y"]) == ["Shifted.x", "Shifted.y"]
    assert Scale.of_class == Scale(1).of_class
    assert Scale.of_class != Shifted.of_class
    assert vars(Scale)["of_class"].__get__(Scale(1)) == Scale.of_class


async def test_below_classmethod() -> None:
    tickets = [Scale.in_classmethod("x"), Scale(1).in_classmethod("y"), Shifted.in_classmethod("z")]
    assert await asyncio.gather(*tickets) == ["Scale.x of 2", "Scale.y of 2", "Shifted.z of 1"]


async def test_what_python_3_13_took_from_classmethod() -> None:
    if sys.version_info < (3, 13):  # there it still binds what it wraps
        assert await Scale.in_classmethod.submit_many(["x"]) == ["Scale.x of 1"]
    else:
        with pytest.raises(TypeError) as caught:
            Scale.in_classmethod.submit_many(["x"])
        assert str(caught.value) == (
            "'Scale.in_classmethod' is a method: use it through an instance; "
            "a class method needs @batched() above @classmethod"
        )


@pytest.mark.parametrize("args", [(), (1,), (Scale, 1), (Scale(1), 1)])
def test_a_method_of_the_bare_descriptor(args: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match=r"'Scale\.apply' is a method"):
        vars(Scale)["apply"](*args)


async def test_classmethod_as_python_3_13_calls_it() -> None:
    inner = vars(Scale)["in_classmethod"].__func__
    assert await inner(Scale, "x") == "Scale.x of 1"
    assert await inner(Shifted, "x") == "Shifted.x of 1"


@pytest.mark.parametrize("name", ["static", "in_staticmethod"])
async def test_static_methods(name: str) -> None:
    for holder in (Scale, Scale(1), Shifted):
        static = getattr(holder, name)
        assert await static.submit_many([1, 2]) == [1, 2]
        assert await static(3) == 3
        assert await static(numbers=4) == 4
        assert static == getattr(Scale, name)


class Embedder(abc.ABC):
    @batched()
    @abc.abstractmethod
    async def above(self, texts: list[str]) -> list[int]: ...

    @abc.abstractmethod
    @batched()
    async def below(self, texts: list[str]) -> list[int]: ...

    @batched()
    @classmethod
    @abc.abstractmethod
    async def of_class(cls, texts: list[str]) -> list[int]: ...


class Half(Embedder):
    @batched()
    async def above(self, texts: list[str]) -> list[int]:
        return [len(text) for text in texts]


class Whole(Half):
    @batched()
    async def below(self, texts: list[str]) -> list[int]:
        return [-len(text) for text in texts]

    @batched()
    @classmethod
    async def of_class(cls, texts: list[str]) -> list[int]:
        return [0 for _ in texts]


async def test_abstract_methods() -> None:
    assert Embedder.__abstractmethods__ == {"above", "below", "of_class"}
    assert Half.__abstractmethods__ == {"below", "of_class"}
    with pytest.raises(TypeError, match=r"^Can't instantiate abstract class Half"):
        Half()
    whole = Whole()
    tickets = [whole.above("xyz"), whole.below("xyz"), whole.of_class("xyz")]
    assert await asyncio.gather(*tickets) == [3, -3, 0]
