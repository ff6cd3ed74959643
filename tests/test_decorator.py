"""``@batched`` on functions, methods of every kind, and what it must not be put on."""

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

from microbatch import Batched, Batcher, Ticket, batched
from microbatch.testing import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def no_garbage() -> Iterator[None]:
    """Let whatever dies die by its reference count."""
    gc.disable()
    yield
    gc.enable()


calls: list[list[int]] = []


@batched()
async def double(numbers: list[int]) -> list[int]:
    """Double each number."""
    calls.append(numbers)
    return [number * 2 for number in numbers]


class Scale:
    """Has a batched method of every kind."""

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


# ------------------------------------------------------------------------------------- functions
async def test_calls_share_one_handler_call() -> None:
    calls.clear()
    assert await asyncio.gather(double(1), double(2), double(3)) == [2, 4, 6]
    assert calls == [[1, 2, 3]]


async def test_a_call_gives_a_ticket_at_once() -> None:
    ticket = double(1)
    assert isinstance(ticket, Ticket)
    assert await ticket == 2


async def test_it_is_a_batcher() -> None:
    assert isinstance(double, Batcher)
    assert double.batcher is double
    assert await double.submit(1) == 2
    assert await double.submit_nowait(1) == 2
    assert await double.submit_many([1, 2]) == [2, 4]
    assert [number async for number in double.map([1, 2])] == [2, 4]
    assert double.statistics().completed >= 6


async def test_a_plain_function_runs_in_a_thread() -> None:
    @batched()
    def negate(numbers: list[int]) -> list[int]:
        return [-number for number in numbers]

    assert await asyncio.gather(negate(1), negate(2)) == [-1, -2]


async def test_several_parameters_take_a_list_each() -> None:
    seen = []

    @batched()
    async def join(a: list[str], b: list[str], c: Any = "!", *, d: Any = "?") -> list[str]:
        seen.append((a, b, c, d))
        return ["".join(row) for row in zip(a, b, c, d, strict=True)]

    assert await asyncio.gather(join("a", "b"), join(d="z", b="y", a="x")) == ["ab!?", "xy!z"]
    assert seen == [(["a", "x"], ["b", "y"], ["!", "!"], ["?", "z"])]
    assert await join.submit(("a", "b", "c", "d")) == "abcd"
    assert await join.submit_many([("a", "b", "c", "d")]) == ["abcd"]
    assert [text async for text in join.map([("a", "b", "c", "d")])] == ["abcd"]


@pytest.mark.parametrize("wrong", ["ab", {"a": 1, "b": 2}, ("a",), ("a", "b", "c"), 5])
async def test_an_item_of_several_parameters_has_a_value_for_each(wrong: Any) -> None:
    @batched()
    async def pair(a: list[str], b: list[str]) -> list[str]:
        return [x + y for x, y in zip(a, b, strict=True)]

    good = pair.submit(["a", "b"])
    message = "^an item must be a tuple of 2 values, one for each parameter, got "
    for submit in (pair.submit, pair.submit_nowait, lambda item: pair.submit_many([item])):
        with pytest.raises(TypeError, match=message):
            submit(wrong)
    with pytest.raises(TypeError, match=message):
        await anext(pair.map([wrong]))
    assert await good == "ab"
    assert pair.statistics().submitted == 1


async def test_positional_parameters_alone_make_a_tuple() -> None:
    @batched()
    async def pairs(a: list[int], b: list[int], /) -> list[tuple[int, int]]:
        return list(zip(a, b, strict=True))

    assert await pairs(1, 2) == (1, 2)
    assert await pairs.submit((1, 2)) == (1, 2)


async def test_wrong_arguments_raise_where_the_call_is() -> None:
    with pytest.raises(TypeError, match=r"^double\(\) missing 1 required positional argument: 'nu"):
        double()
    with pytest.raises(
        TypeError, match=r"^double\(\) takes 1 positional argument but 2 were given"
    ):
        double(1, 2)
    with pytest.raises(TypeError, match=r"^double\(\) got an unexpected keyword argument 'texts'$"):
        double(texts=1)
    assert double.statistics().queued == 0


def test_without_a_loop_it_says_so() -> None:
    with pytest.raises(RuntimeError, match=r"^batcher 'double' was used where no event loop runs"):
        double(1)


def test_it_looks_like_its_function() -> None:
    function = double.__wrapped__
    assert inspect.isfunction(function)
    assert double.__name__ == double.__qualname__ == "double"
    assert double.__module__ == __name__
    assert double.__doc__ == "Double each number."
    assert inspect.signature(double) == inspect.signature(function)
    assert repr(double) == "<Batched 'double'>"
    assert "double(numbers: 'list[int]') -> 'list[int]'" in pydoc.plain(pydoc.render_doc(double))
    assert "Double each number." in pydoc.render_doc(double)


def test_the_class_has_a_docstring_of_its_own() -> None:
    assert Batched.__doc__ is not None
    assert Batched.__doc__.startswith("Be a batch function")
    assert "Be a batch function" in pydoc.render_doc(Batched)


def test_an_unknown_attribute() -> None:
    with pytest.raises(AttributeError, match=r"^'Batched' object has no attribute 'sumbit'$"):
        double.sumbit  # noqa: B018
    with pytest.raises(AttributeError, match="__name__"):
        batched()(functools.partial(double.__wrapped__)).__name__  # noqa: B018


def test_a_name_of_its_own() -> None:
    @batched(name="embedder")
    async def embed(texts: list[str]) -> list[str]:
        return texts

    assert embed.name == "embedder"
    assert embed.__name__ == "embed"


def test_a_function_is_pickled_and_copied_by_name() -> None:
    assert pickle.loads(pickle.dumps(double)) is double
    assert copy.copy(double) is double
    assert copy.deepcopy(double) is double


def test_equality_and_hash() -> None:
    other = batched()(double.__wrapped__)
    assert double == double  # noqa: PLR0124
    assert double != other
    assert double != 1
    assert len({double, double, other}) == 2


def test_each_run_of_a_loop_starts_clean() -> None:
    async def main() -> int:
        return await double(4)

    assert [asyncio.run(main()), asyncio.run(main()), run(main)] == [8, 8, 8]


async def test_callable_objects_and_partials() -> None:
    class Handler:
        async def __call__(self, numbers: list[int]) -> list[int]:
            return [-number for number in numbers]

    def power(exponent: int, numbers: list[int]) -> list[int]:
        return [number**exponent for number in numbers]

    assert await batched()(Handler())(3) == -3
    assert await batched()(functools.partial(power, 2))(3) == 9
    assert await batched()(lambda numbers: numbers)(3) == 3


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
    for use in (Scale.apply, Scale.apply.statistics, Scale.apply.flush):
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


async def test_a_function_stays_one_when_a_class_has_it_too() -> None:
    class Holder:
        run = double

    with pytest.raises(TypeError, match=r"must take a list of items, got double"):
        Holder().run  # noqa: B018
    assert await double(2) == 4


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
    fronts, key = vars(Scale)["apply"].bound, id(scale)
    assert key in fronts
    del scale
    assert dead() is None
    assert key not in fronts


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


async def test_slots() -> None:
    class Slotted:
        __slots__ = ("__weakref__", "factor")

        def __init__(self, factor: int) -> None:
            self.factor = factor

        @batched()
        async def apply(self, numbers: list[int]) -> list[int]:
            return [number * self.factor for number in numbers]

    assert await Slotted(2).apply(4) == 8


def test_slots_without_weakref() -> None:
    class Slotted:
        __slots__ = ()

        @batched()
        async def apply(self, numbers: list[int]) -> list[int]: ...

    with pytest.raises(TypeError) as caught:
        Slotted().apply  # noqa: B018
    assert str(caught.value) == (
        f"'Slotted.apply' needs instances that can be weakly referenced: add '__weakref__' to the "
        f"__slots__ of {Slotted.__qualname__}"
    )


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


# ------------------------------------------------------------------------------- what is no handler
class Empty:
    async def nothing(self) -> list[int]: ...


async def generator(numbers: list[int]) -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: 3, r"a batched function must take a list of items, got <lambda>\(\)"),
        (Empty.nothing, r"a batched function must take a list of items, got nothing\(self\).*"),
        (classmethod(Empty.nothing), r"a batched function must take .* got nothing\(self\).*"),
        (lambda *rows: rows, r"a batched function must name its parameters, .* takes \*rows"),
        (lambda a, **rows: a, r"a batched function must name its parameters, .* takes \*\*rows"),
        (generator, "handler must return its results, but 'generator' is an async generator"),
        (3, "handler must be callable, got 3"),
        (staticmethod(3), "handler must be callable, got 3"),
        (Empty, "handler must be a function of a list of items, got the class .*Empty.*"),
        (double, "'double' is batched already"),
        (min, "a batched function must have a signature that can be read, got <built-in .*>"),
    ],
)
def test_what_cannot_be_batched(given: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}$"):
        batched()(given)


def test_without_parentheses() -> None:
    with pytest.raises(TypeError) as caught:

        @batched
        async def embed(texts: list[str]) -> list[str]: ...

    assert str(caught.value) == "batched needs parentheses: write @batched() above 'embed'"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_batch_size": 0}, ValueError, "max_batch_size must be >= 1, got 0"),
        ({"max_latency": "1"}, TypeError, "max_latency must be a number of seconds, got '1'"),
        (
            {"max_batch": 1},
            TypeError,
            "there is no option 'max_batch'; the options are max_batch_size, .*",
        ),
    ],
)
def test_options_are_checked_before_there_is_a_function(
    options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}$"):
        batched(**options)
