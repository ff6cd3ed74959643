"""Decorated functions and methods that stream: a call gives the stream of its item."""

from __future__ import annotations

import asyncio
import gc
import pickle
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import END, Batched, BatchedStream, Stream, batched
from tests.streaming.counting import read, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CALLS: list[Any] = []


@batched(stream=True, max_batch_size=8)
async def spell(words: list[str]) -> AsyncIterator[list[Any]]:
    """Spell words, one letter a step."""
    CALLS.append(words)
    alive, step = tuple(range(len(words))), 0
    while alive:
        alive = yield [words[i][step] if step < len(words[i]) else END for i in alive]
        step += 1


class Speller:
    def __init__(self, suffix: str = "") -> None:
        self.suffix = suffix

    @batched(stream=True)
    async def spell(self, words: list[str]) -> AsyncIterator[list[Any]]:
        for letters in zip(*(word + self.suffix for word in words), strict=True):
            yield list(letters)

    @batched(stream=True)
    async def repeat(self, words: list[str], times: list[int]) -> AsyncIterator[list[Any]]:
        for _ in range(times[0]):
            yield list(words)

    @batched(stream=True)
    @classmethod
    async def above_class(cls, words: list[str]) -> AsyncIterator[list[Any]]:
        yield [cls.__name__ + word for word in words]

    @classmethod
    @batched(stream=True)
    async def below_class(cls, words: list[str]) -> AsyncIterator[list[Any]]:
        yield [cls.__name__ + word for word in words]

    @batched(stream=True)
    @staticmethod
    async def above_static(words: list[str]) -> AsyncIterator[list[Any]]:
        yield words

    @staticmethod
    @batched(stream=True)
    async def below_static(words: list[str]) -> AsyncIterator[list[Any]]:
        yield words


@pytest.mark.every_loop
async def test_a_call_gives_the_stream_of_its_item() -> None:
    CALLS.clear()
    stream = spell("abc")
    assert isinstance(stream, Stream)
    assert await asyncio.gather(read(stream), read(spell(words="de"))) == [
        ["a", "b", "c"],
        ["d", "e"],
    ]
    assert CALLS == [["abc", "de"]]
    await spell.drain()


async def test_streaming_and_submitting_are_the_same_as_of_a_batcher() -> None:
    assert await read(spell.stream("ab", timeout=5.0)) == ["a", "b"]
    assert await spell.submit("ab") == ["a", "b"]
    assert [letters async for letters in spell.map(["ab", "c"])] == [["a", "b"], ["c"]]
    assert isinstance(spell, BatchedStream)
    assert isinstance(spell, Batched)
    assert spell.__doc__ == "Spell words, one letter a step."
    assert pickle.loads(pickle.dumps(spell)) is spell


async def test_wrong_arguments_are_told_as_the_function_would() -> None:
    with pytest.raises(TypeError, match=r"^spell\(\) missing 1 required positional argument"):
        spell()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^spell\(\) got an unexpected keyword argument 'x'"):
        spell("a", x=1)  # type: ignore[call-arg]


async def test_several_parameters_make_one_item() -> None:
    async def handler(words: list[str], times: list[int]) -> AsyncIterator[list[Any]]:
        for step in range(max(times)):
            yield [word if step < count else END for word, count in zip(words, times, strict=True)]

    repeat = batched(stream=True)(handler)
    assert await read(repeat("a", 2)) == ["a", "a"]
    assert await read(repeat("a", times=2)) == ["a", "a"]
    assert await read(repeat.stream(("a", 2))) == ["a", "a"]
    with pytest.raises(TypeError) as caught:
        repeat.stream("abc")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "an item must be a tuple of 2 values, one for each parameter, got 'abc'"
    )


async def test_a_method_streams_for_its_instance() -> None:
    one, other = Speller("!"), Speller("?")
    streams = [one.spell("a"), other.spell("b"), Speller.spell(one, "c"), one.spell.stream("d")]
    assert await asyncio.gather(*map(read, streams)) == [
        ["a", "!"], ["b", "?"], ["c", "!"], ["d", "!"],
    ]  # fmt: skip
    assert await read(Speller(".").spell("e")) == ["e", "."]
    assert await read(one.repeat("a", times=2)) == ["a", "a"]
    assert await read(one.repeat.stream(("a", 2))) == ["a", "a"]


async def test_an_instance_lives_as_long_as_its_streams_items() -> None:
    speller = Speller("!")
    gone = weakref.ref(speller)
    stream = speller.spell("a")
    del speller
    assert await read(stream) == ["a", "!"]
    del stream
    await turns()
    gc.collect()
    assert gone() is None


async def test_class_and_static_methods_stream() -> None:
    for function in (Speller.above_class, Speller().above_class):
        assert await read(function("x")) == ["Spellerx"]
    for function in (Speller.below_class, Speller().below_class):
        assert await read(function("x")) == ["Spellerx"]
    for _ in range(2):
        assert await read(Speller.above_static("x")) == ["x"]
        assert await read(Speller().above_static("x")) == ["x"]
        assert await read(Speller.below_static("x")) == ["x"]
        assert await read(Speller().below_static("x")) == ["x"]


async def test_a_method_that_is_not_bound_says_so() -> None:
    for use in (Speller.spell.stream, Speller.spell):
        with pytest.raises(
            TypeError, match=r"^'Speller\.spell' is a method: use it through an inst"
        ):
            use() if use is Speller.spell else use("x")  # type: ignore[call-arg]


def test_only_an_async_generator_can_be_decorated_to_stream() -> None:
    async def handler(items: list[int]) -> list[int]:
        return items

    with pytest.raises(ValueError, match=r"^stream=True needs an async generator for a handler"):
        batched(stream=True)(handler)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^stream=True gives each chunk at once"):
        batched(stream=True, ordering="ordered")


async def test_an_async_generator_without_the_option_answers_item_by_item() -> None:
    @batched()
    async def double(numbers: list[int]) -> AsyncIterator[tuple[int, int]]:
        for place, number in enumerate(numbers):
            yield place, 2 * number

    assert type(double) is Batched
    assert await asyncio.gather(double(1), double(2)) == [2, 4]
    with pytest.raises(RuntimeError, match="it was made without stream=True"):
        double.stream(1)  # type: ignore[misc]
