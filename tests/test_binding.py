"""How the arguments of a call become an item, and items become the lists of a batch."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from inspect import Parameter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch._decorating.binding import Signature

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("a", "b", "c", "d", "e", "f")


@dataclass
class Example:
    """A function that gives its arguments back, and a call of it, right or wrong."""

    function: Callable[..., Any]
    args: list[int]
    kwargs: dict[str, int]


@st.composite
def parameters(draw: st.DrawFn) -> list[Parameter]:
    """Draw what may stand between the brackets of a function."""
    kinds = sorted(
        draw(
            st.lists(
                st.sampled_from(
                    [
                        Parameter.POSITIONAL_ONLY,
                        Parameter.POSITIONAL_OR_KEYWORD,
                        Parameter.KEYWORD_ONLY,
                    ]
                ),
                min_size=1,
                max_size=len(NAMES),
            )
        )
    )
    drawn, optional = [], False
    for name, kind in zip(NAMES, kinds, strict=False):
        keyword_only = kind is Parameter.KEYWORD_ONLY
        has_default = draw(st.booleans())
        optional = has_default if keyword_only else optional or has_default
        default = [name] if optional else Parameter.empty  # a new object, and not hashable
        drawn.append(Parameter(name, kind, default=default))
    return drawn


def function_of(given: list[Parameter]) -> Callable[..., Any]:
    """Make a function with these parameters that gives its arguments back."""
    bare = [each if each.default is each.empty else each.replace(default=None) for each in given]
    answer = ", ".join(each.name for each in given)
    namespace: dict[str, Any] = {}
    exec(f"def embed{inspect.Signature(bare)}: return ({answer})", namespace)
    function = namespace["embed"]
    optional = [each for each in given if each.default is not each.empty]
    function.__defaults__ = tuple(p.default for p in optional if p.kind is not p.KEYWORD_ONLY)
    function.__kwdefaults__ = {p.name: p.default for p in optional if p.kind is p.KEYWORD_ONLY}
    return function


@st.composite
def examples(draw: st.DrawFn) -> Example:
    """Draw a function and a call that is right often enough."""
    given = draw(parameters())
    args = draw(st.lists(st.integers(), max_size=len(given) + 1))
    rest = [each.name for each in given[len(args) :]]
    left_out = draw(st.sets(st.sampled_from(NAMES), max_size=2))
    too_many = draw(st.sets(st.sampled_from([*NAMES, "self", "nothing"]), max_size=1))
    names = [name for name in rest if name not in left_out]
    if draw(st.booleans()):
        names = sorted({*names, *too_many})
    return Example(function_of(given), args, {name: draw(st.integers()) for name in names})


def outcome(call: Callable[..., Any], example: Example) -> Any:
    """Give what a call returns, or the words of its TypeError."""
    try:
        return call(*example.args, **example.kwargs)
    except TypeError as error:
        return TypeError, str(error)


@given(examples())
def test_an_item_is_what_python_binds(example: Example) -> None:
    signature = Signature.of(example.function)
    assert outcome(signature.bind, example) == outcome(example.function, example)


@given(examples())
def test_arguments_as_many_as_the_arity_are_the_item_as_they_stand(example: Example) -> None:
    signature = Signature.of(example.function)
    if len(example.args) == signature.arity:
        item = tuple(example.args) if signature.arity > 1 else example.args[0]
        assert signature.bind(*example.args) == item


@given(examples(), st.integers(min_value=1, max_value=3))
def test_each_parameter_gets_the_list_of_its_values(example: Example, size: int) -> None:
    signature = Signature.of(example.function)
    item = tuple(range(len(signature.parameters)))
    items: list[Any] = [item] * size if len(item) > 1 else [0] * size
    lists = signature.transpose(example.function)(items)
    expected = tuple([value] * size for value in item)
    assert lists == (expected if len(item) > 1 else expected[0])


def test_one_list_is_handed_over_as_it_is() -> None:
    items = [1, 2]
    assert Signature.of(lambda xs: xs).transpose(lambda xs: xs)(items) is items
    assert Signature.of(lambda *, xs: xs).transpose(lambda *, xs: xs)(items) is items


def test_defaults_are_the_very_objects() -> None:
    default: list[int] = []

    def embed(a: Any, b: Any = default, *, c: Any = default) -> None: ...

    _, b, c = Signature.of(embed).bind(1)
    assert b is default
    assert c is default


def test_self_is_left_out() -> None:
    class Model:
        def embed(self, texts: list[str], *, sizes: list[int]) -> None: ...

    signature = Signature.of(Model.embed, skip_first=True)
    assert signature.bind("x", sizes=1) == ("x", 1)
    with pytest.raises(TypeError, match=r"^embed\(\) got an unexpected keyword argument 'self'$"):
        signature.bind("x", sizes=1, self=2)


def test_names_that_python_mangles() -> None:
    class Model:
        def embed(self, __texts: list[str], sizes: list[int]) -> None: ...  # noqa: PYI063

    assert Signature.of(Model.embed, skip_first=True).bind("x", sizes=1) == ("x", 1)


def test_a_partial_has_the_parameters_that_are_left() -> None:
    def embed(model: str, texts: list[str], sizes: list[int]) -> None: ...

    assert Signature.of(functools.partial(embed, "m")).bind("x", 1) == ("x", 1)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: 3, r"a batched function must take a list of items, got <lambda>\(\)"),
        (lambda *rows: rows, r"a batched function must name its parameters, .* takes \*rows"),
        (lambda a, **rows: a, r"a batched function must name its parameters, .* takes \*\*rows"),
        (min, "a batched function must have a signature that can be read, got <built-in .*>"),
    ],
)
def test_what_cannot_be_batched(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}$"):
        Signature.of(function)


def test_a_method_of_nothing_but_self() -> None:
    class Model:
        def embed(self): ...

    with pytest.raises(TypeError, match=r"must take a list of items, got embed\(self\)$"):
        Signature.of(Model.embed, skip_first=True)
