"""Batched methods of classes that have no dictionary, or that something else makes."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pydantic
import pydantic.dataclasses
import pytest

from microbatch import Batched, batched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def message_of(instance: Any) -> str:
    with pytest.raises(TypeError) as caught:
        instance.apply  # noqa: B018
    return str(caught.value)


NEEDS = " needs instances that can be weakly referenced: "


# -------------------------------------------------------------------------------------------- slots
class Slotted:
    __slots__ = ("__weakref__", "factor")

    def __init__(self, factor: int) -> None:
        self.factor = factor

    @batched()
    async def apply(self, numbers: list[int]) -> list[int]:
        return [number * self.factor for number in numbers]


class Tight:
    __slots__ = ()

    @batched()
    async def apply(self, numbers: list[int]) -> list[int]: ...


async def test_slots() -> None:
    assert await Slotted(2).apply(4) == 8


def test_slots_without_weakref() -> None:
    assert message_of(Tight()) == (
        f"'Tight.apply'{NEEDS}add '__weakref__' to the __slots__ of Tight"
    )


# -------------------------------------------------------------------------------------- dataclasses
@dataclasses.dataclass(slots=True)
class SlottedData:
    factor: int

    @batched()
    async def apply(self, numbers: list[int]) -> list[int]: ...


@dataclasses.dataclass(slots=True, weakref_slot=True)
class Data:
    factor: int

    @batched()
    async def apply(self, numbers: list[int]) -> list[int]:
        return [number * self.factor for number in numbers]


@dataclasses.dataclass
class ByHand:
    __slots__ = ("factor",)
    factor: int

    @batched()
    async def apply(self, numbers: list[int]) -> list[int]: ...


def test_a_dataclass_with_slots_says_how_it_has_one_for_weakref() -> None:
    assert message_of(SlottedData(2)) == (
        f"'SlottedData.apply'{NEEDS}"
        "add weakref_slot=True to the @dataclass(slots=True) of SlottedData"
    )


@pytest.mark.skipif(sys.version_info < (3, 12), reason="does not say how it came by its slots")
def test_a_dataclass_with_slots_by_hand_has_one_more() -> None:
    assert message_of(ByHand(2)) == (
        f"'ByHand.apply'{NEEDS}add '__weakref__' to the __slots__ of ByHand"
    )


async def test_dataclasses_with_a_slot_for_weakref_work() -> None:
    one, equal = Data(2), Data(2)
    assert await asyncio.gather(one.apply(4), equal.apply(5)) == [8, 10]
    assert one.apply != equal.apply


# ------------------------------------------------------------------------------------------- tuples
class Point(NamedTuple):
    x: int

    @batched()
    async def apply(self, numbers: list[int]) -> list[int]: ...


class Derived(Point):
    """A class with a dictionary, which cannot be weakly referenced either."""


class Size(int):
    @batched()
    async def apply(self, numbers: list[int]) -> list[int]: ...


@dataclasses.dataclass(frozen=True)
class FrozenPoint:
    x: int

    @batched()
    async def apply(self, numbers: list[int]) -> list[int]:
        return [number * self.x for number in numbers]


@pytest.mark.parametrize("kind", [Point, Derived])
def test_a_named_tuple_is_better_a_dataclass(kind: type[Point]) -> None:
    assert message_of(kind(2)) == (
        f"'Point.apply'{NEEDS}no named tuple can be, "
        f"so make {kind.__name__} a dataclass with frozen=True"
    )


async def test_a_frozen_dataclass_works() -> None:
    assert await FrozenPoint(2).apply(4) == 8


def test_other_classes_of_variable_size_have_it_in_an_attribute() -> None:
    assert message_of(Size(2)) == (
        f"'Size.apply'{NEEDS}no int can be, so make Size a class that has the int in an attribute"
    )


# ----------------------------------------------------------------------------------------- pydantic
class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(ignored_types=(Batched,))
    factor: int

    @batched()
    async def apply(self, numbers: list[int]) -> list[int]:
        return [number * self.factor for number in numbers]

    @batched()
    async def _apply(self, numbers: list[int]) -> list[int]:
        return [number + self.factor for number in numbers]

    @batched()
    @staticmethod
    async def static(numbers: list[int]) -> list[int]:
        return numbers

    @batched(stream=True)
    async def steps(self, numbers: list[int]) -> AsyncIterator[list[int]]:
        yield [self.factor for _ in numbers]


class DerivedModel(Model):
    other: int = 1

    @batched()
    async def negate(self, numbers: list[int]) -> list[int]:
        return [-number for number in numbers]


async def test_a_pydantic_model_that_ignores_it_has_batched_methods() -> None:
    one, other = Model(factor=2), Model(factor=3)
    assert await asyncio.gather(one.apply(4), other.apply(4), one.apply(5)) == [8, 12, 10]
    assert await asyncio.gather(one._apply(4), Model.static(1)) == [6, 1]
    assert [step async for step in one.steps(1)] == [2]
    assert one.apply.statistics().calls == 1
    assert (list(Model.model_fields), one.model_dump()) == (["factor"], {"factor": 2})
    derived = DerivedModel(factor=2)
    assert await asyncio.gather(derived.apply(4), derived.negate(4)) == [8, -4]
    assert await one.model_copy(update={"factor": 5}).apply(1) == 5


def test_a_pydantic_model_that_does_not_says_how_it_would() -> None:
    with pytest.raises(pydantic.PydanticUserError) as caught:

        class Bare(pydantic.BaseModel):
            @batched()
            async def apply(self, numbers: list[int]) -> list[int]: ...

    message = str(caught.value)
    assert re.search(r"`apply = <Batched '.*Bare\.apply'>`", message)
    assert "updating `model_config['ignored_types']`" in message


async def test_in_a_pydantic_model_class_methods_that_are_outermost_work_anyway() -> None:
    class Bare(pydantic.BaseModel):
        @classmethod
        @batched()
        async def name(cls, items: list[int]) -> list[str]:
            return [f"{cls.__name__} {item}" for item in items]

    assert await Bare.name(1) == "Bare 1"


async def test_a_pydantic_dataclass_has_batched_methods() -> None:
    @pydantic.dataclasses.dataclass
    class Scale:
        factor: int

        @batched()
        async def apply(self, numbers: list[int]) -> list[int]:
            return [number * self.factor for number in numbers]

    assert await Scale(2).apply(4) == 8
