"""What a handler may be, and what it may do."""

from __future__ import annotations

import asyncio
import functools
from typing import Any
from unittest import mock

import pytest

from microbatch import Batcher
from tests.handlers.asking import outcomes


async def double(items: list[int]) -> list[int]:
    return [item * 2 for item in items]


def double_in_thread(items: list[int]) -> list[int]:
    return [item * 2 for item in items]


async def times(factor: int, items: list[int]) -> list[int]:
    return [item * factor for item in items]


def times_in_thread(factor: int, items: list[int]) -> list[int]:
    return [item * factor for item in items]


class AsyncDoubler:
    async def __call__(self, items: list[int]) -> list[int]:
        return await double(items)

    async def method(self, items: list[int]) -> list[int]:
        return await double(items)


class Doubler:
    def __call__(self, items: list[int]) -> list[int]:
        return double_in_thread(items)

    def method(self, items: list[int]) -> list[int]:
        return double_in_thread(items)


def returns_a_coroutine(items: list[int]) -> Any:
    return double(items)


@functools.wraps(double)
def wrapped(items: list[int]) -> Any:
    return double(items)


HANDLERS = {
    "async def": (double, "double"),
    "async method": (AsyncDoubler().method, "AsyncDoubler.method"),
    "async callable": (AsyncDoubler(), "AsyncDoubler"),
    "async partial": (functools.partial(times, 2), "times"),
    "async partial of partial": (functools.partial(functools.partial(times), 2), "times"),
    "async partial of callable": (functools.partial(AsyncDoubler()), "AsyncDoubler"),
    "def": (double_in_thread, "double_in_thread"),
    "method": (Doubler().method, "Doubler.method"),
    "callable": (Doubler(), "Doubler"),
    "partial": (functools.partial(times_in_thread, 2), "times_in_thread"),
    "def that returns a coroutine": (returns_a_coroutine, "returns_a_coroutine"),
    "wrapper": (wrapped, "double"),
    "lambda": (lambda items: [item * 2 for item in items], "<lambda>"),
    "mock": (mock.Mock(side_effect=double_in_thread), "Mock"),
    "async mock": (mock.AsyncMock(side_effect=double), "AsyncMock"),
}


@pytest.mark.parametrize(("handler", "name"), HANDLERS.values(), ids=HANDLERS.keys())
async def test_any_callable_of_a_list_can_be_a_handler(handler: Any, name: str) -> None:
    batcher: Batcher[int, int] = Batcher(handler)
    assert await outcomes(batcher, range(3)) == [0, 2, 4]
    assert batcher.name == name


@pytest.mark.every_loop
async def test_a_handler_in_a_thread_works_on_every_loop() -> None:
    assert await outcomes(Batcher(double_in_thread), range(3)) == [0, 2, 4]


async def test_a_local_function_is_named_without_its_surroundings() -> None:
    async def local(items: list[int]) -> list[int]:
        return items

    assert Batcher(local).name == "local"


@pytest.mark.parametrize("handler", [None, 5, "handler", [double]])
def test_what_cannot_be_called_is_no_handler(handler: Any) -> None:
    with pytest.raises(TypeError) as caught:
        Batcher(handler)
    assert str(caught.value) == f"handler must be callable, got {handler!r}"


def test_a_class_is_no_handler() -> None:
    with pytest.raises(TypeError) as caught:
        Batcher(list)
    assert str(caught.value) == (
        "handler must be a function of a list of items, got the class <class 'list'>"
    )


def plain_generator(items: list[int]) -> Any:
    yield from items


async def test_a_plain_generator_gives_no_results() -> None:
    (error, _) = await outcomes(Batcher(plain_generator))
    assert str(error) == (
        "handler 'plain_generator' must return a sequence of results or None, got generator, "
        "which has no places: return a list of what it gives"
    )


async def test_a_handler_that_cannot_be_called_fails_each_caller_and_frees_its_slot() -> None:
    async def handler() -> None: ...

    batcher: Batcher[Any, Any] = Batcher(handler)  # type: ignore[arg-type]
    for _ in range(2):
        errors = await outcomes(batcher)
        assert [type(each) for each in errors] == [TypeError] * 2
        assert "positional argument" in str(errors[0])
    assert batcher.statistics().slots_busy == 0


async def test_a_handler_may_change_its_list() -> None:
    async def handler(items: list[int]) -> list[int]:
        results = []
        while items:
            results.append(items.pop(0))
        return results

    assert await outcomes(Batcher(handler), range(3)) == [0, 1, 2]


async def test_an_eager_handler_that_gives_up_its_own_callers_is_cancelled() -> None:
    tickets: list[Any] = []

    async def handler(items: list[int]) -> list[int]:
        tickets[0].cancel()
        await asyncio.sleep(3600)
        return items

    batcher: Batcher[int, int] = Batcher(handler)
    tickets.append(batcher.submit(1))
    await batcher.drain()
    assert asyncio.get_running_loop().time() < 1.0
    assert batcher.statistics().cancelled == 1
