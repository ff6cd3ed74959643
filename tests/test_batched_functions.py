"""``@batched`` on functions, and what it must not be put on."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import pickle
import pydoc
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import Batched, Batcher, Ticket, batched
from microbatch.testing import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

calls: list[list[int]] = []


@batched()
async def double(numbers: list[int]) -> list[int]:
    """Double each number."""
    calls.append(numbers)
    return [number * 2 for number in numbers]


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


@batched()
async def pair(a: list[str], b: list[str]) -> list[str]:
    return [x + y for x, y in zip(a, b, strict=True)]


class Model:
    @batched()
    async def embed(self, texts: list[str]) -> list[str]:
        return texts

    @batched(stream=True)
    async def spell(self, texts: list[str]) -> AsyncIterator[list[str]]:
        yield texts


EMBED, SPELL = Model().embed, Model().spell


@pytest.mark.parametrize(
    ("call", "named", "instead"),
    [
        (lambda: double(1, timeout=3), "double() got … 'timeout'", "double.submit(numbers, tim"),
        (
            lambda: double(timeout=3),
            "double() got … 'timeout'",
            "double.submit(numbers, timeout=3)",
        ),
        (
            lambda: double(1, weight=2),
            "double() got … 'weight'",
            "double.submit(numbers, weight=2)",
        ),
        (lambda: double(1, key="k"), "double() got … 'key'", "double.submit(numbers, key='k')"),
        (lambda: double(1, priority=0), "double() got … 'priority'", "double.submit(numbers, pri"),
        (lambda: pair("a", b="b", timeout=3), "pair() got … 'timeout'", "pair.submit((a, b), time"),
        (
            lambda: EMBED("a", timeout=3),
            "embed() got … 'timeout'",
            "embed.submit(texts, timeout=3)",
        ),
        (
            lambda: Model.embed(Model(), "a", timeout=3),
            "embed() got … 'timeout'",
            "embed.submit(te",
        ),
        (
            lambda: SPELL("a", timeout=3),
            "spell() got … 'timeout'",
            "spell.stream(texts, timeout=3)",
        ),
    ],
)
async def test_a_keyword_of_submit_in_a_call_points_to_submit(
    call: Any, named: str, instead: str
) -> None:
    named = named.replace("…", "an unexpected keyword argument")
    with pytest.raises(TypeError) as caught:
        await call()
    assert str(caught.value).startswith(
        f"{named}: a call takes what the function takes, so write {instead}"
    )


async def test_a_parameter_that_is_named_as_one_of_submits_is_the_functions_own() -> None:
    @batched()
    async def wait(hosts: list[str], timeout: Any = 1) -> list[Any]:
        return timeout

    @batched()
    async def by_place(timeout: list[int], /) -> list[int]:
        return timeout

    assert await wait("a", timeout=3) == 3
    with pytest.raises(TypeError) as caught:
        await by_place(timeout=3)
    assert str(caught.value).startswith("by_place() got some positional-only arguments passed as")
    with pytest.raises(TypeError) as caught:
        await wait("a", timeout=3, texts=4)
    assert str(caught.value) == "wait() got an unexpected keyword argument 'texts'"


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
    page = pydoc.plain(pydoc.render_doc(double)).replace("'", "")  # Python 3.14 quotes no types
    assert "double(numbers: list[int]) -> list[int]" in page
    assert "Double each number." in page


def test_the_class_has_a_docstring_of_its_own() -> None:
    assert Batched.__doc__ is not None
    assert Batched.__doc__.startswith("A batch function")
    assert "A batch function" in pydoc.render_doc(Batched)


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


async def test_a_function_stays_one_when_a_class_has_it_too() -> None:
    class Holder:
        run = double

    with pytest.raises(TypeError, match=r"must take a list of items, got double"):
        Holder().run  # noqa: B018
    assert await double(2) == 4


# ------------------------------------------------------------------------------- what is no handler
class Empty:
    async def nothing(self) -> list[int]: ...


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: 3, r"a batched function must take a list of items, got <lambda>\(\)"),
        (Empty.nothing, r"a batched function must take a list of items, got nothing\(self\).*"),
        (classmethod(Empty.nothing), r"a batched function must take .* got nothing\(self\).*"),
        (lambda *rows: rows, r"a batched function must name its parameters, .* takes \*rows"),
        (lambda a, **rows: a, r"a batched function must name its parameters, .* takes \*\*rows"),
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


@batched
async def bare(numbers: list[int]) -> list[int]:
    """Double each number."""
    return [number * 2 for number in numbers]


class Bare:
    @batched
    async def double(self, numbers: list[int]) -> list[int]:
        return [number * 2 for number in numbers]

    @classmethod
    @batched
    async def of_class(cls, names: list[str]) -> list[str]:
        return [f"{cls.__name__}.{name}" for name in names]


async def test_without_parentheses() -> None:
    assert isinstance(bare, Batched)
    assert bare.__doc__ == "Double each number."
    assert bare.options == batched()(bare.__wrapped__).options
    assert await asyncio.gather(bare(1), bare(2)) == [2, 4]
    assert await asyncio.gather(Bare().double(1), Bare.of_class("x")) == [2, "Bare.x"]


async def test_what_is_there_already_is_decorated_with_options() -> None:
    small = batched(bare.__wrapped__, max_batch_size=1, name="small")
    assert (small.name, small.options.max_batch_size) == ("small", 1)
    assert await small(2) == 4

    async def spell(words: list[str]) -> AsyncIterator[list[str]]:
        yield [word[0] for word in words]

    stream: Any = batched(spell, stream=True)  # type: ignore[call-overload]
    assert [letter async for letter in stream("abc")] == ["a"]


def test_without_parentheses_it_has_to_be_a_function() -> None:
    with pytest.raises(TypeError) as caught:
        batched(64)  # type: ignore[call-overload]
    assert str(caught.value) == (
        "batched must be given a function, and options by name as in @batched(max_batch_size=32), "
        "got 64"
    )
    with pytest.raises(TypeError, match=r"^'bare' is batched already$"):
        batched(bare)
    with pytest.raises(ValueError, match=r"^max_batch_size must be >= 1, got 0$"):
        batched(bare.__wrapped__, max_batch_size=0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_batch_size": 0}, ValueError, "max_batch_size must be >= 1, got 0"),
        (
            {"max_latency": "1"},
            TypeError,
            "max_latency must be a number of seconds or 'auto', got '1'",
        ),
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
