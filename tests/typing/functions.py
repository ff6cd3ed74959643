"""The types of batched functions, for mypy --strict and for pyright."""

import asyncio
from collections.abc import Sequence
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

from microbatch import Batched, BatchedCall, batched


# ------------------------------------------------------------------------------ what they answer
@batched(max_batch_size=32, max_latency=0.005)
async def a_list(texts: list[str]) -> list[int]:
    raise NotImplementedError


@batched()
def in_a_thread(texts: list[str]) -> list[int]:
    raise NotImplementedError


@batched()
async def sequences(texts: Sequence[str]) -> Sequence[int]:
    raise NotImplementedError


@batched()
async def with_errors(texts: list[str]) -> list[int | Exception]:
    raise NotImplementedError


@batched()
def with_errors_in_a_thread(texts: Sequence[str]) -> Sequence[Exception | int]:
    raise NotImplementedError


@batched()
async def a_tuple(texts: list[str]) -> tuple[int, ...]:
    raise NotImplementedError


@batched()
async def an_array(texts: list[str]) -> npt.NDArray[np.float32]:
    raise NotImplementedError


@batched()
async def nothing(texts: list[str]) -> None:
    raise NotImplementedError


@batched()
def nothing_in_a_thread(texts: Sequence[str]) -> None:
    raise NotImplementedError


@batched()
async def lists(texts: list[str]) -> list[list[float]]:
    raise NotImplementedError


@batched()
async def or_none(texts: list[str]) -> list[int | None]:
    raise NotImplementedError


@batched()
async def perhaps(texts: list[str]) -> list[int] | None:
    raise NotImplementedError


@batched()
def perhaps_in_a_thread(texts: Sequence[str]) -> Sequence[int] | None:
    raise NotImplementedError


@batched()
def whatever(texts: list[str]) -> Any:
    raise NotImplementedError


assert_type(a_list, Batched[[str], str, int])
assert_type(in_a_thread, Batched[[str], str, int])
assert_type(sequences, Batched[[str], str, int])
assert_type(with_errors, Batched[[str], str, int])
assert_type(with_errors_in_a_thread, Batched[[str], str, int])
assert_type(a_tuple, Batched[[str], str, int])
assert_type(an_array, Batched[[str], str, Any])
assert_type(nothing, Batched[[str], str, None])
assert_type(nothing_in_a_thread, Batched[[str], str, None])
assert_type(lists, Batched[[str], str, list[float]])
assert_type(or_none, Batched[[str], str, int | None])
assert_type(perhaps, Batched[[str], str, int | None])
assert_type(perhaps_in_a_thread, Batched[[str], str, int | None])
assert_type(whatever("x"), BatchedCall[Any])


# --------------------------------------------------------------------------- several parameters
@batched()
async def two(texts: list[str], sizes: Sequence[int]) -> list[float]:
    raise NotImplementedError


@batched()
def three(texts: list[str], sizes: list[int], flags: list[bool]) -> list[float | Exception]:
    raise NotImplementedError


@batched()
async def four(a: list[str], b: list[int], c: list[int], d: list[int]) -> list[float]:
    raise NotImplementedError


@batched()
async def by_keyword(texts: list[str], *, sizes: list[int]) -> list[float]:
    raise NotImplementedError


@batched()
async def two_for_nothing(texts: list[str], sizes: list[int]) -> None:
    raise NotImplementedError


@batched()
async def two_perhaps(texts: list[str], sizes: list[int]) -> list[float] | None:
    raise NotImplementedError


ONE: Any = 1  # a default is the value of one item, which the type of its list cannot say


@batched()
async def second_optional(texts: list[str], sizes: Sequence[int] = ONE) -> list[float | Exception]:
    raise NotImplementedError


@batched()
def third_optional(texts: list[str], sizes: list[int], flags: list[int] = ONE) -> list[float]:
    raise NotImplementedError


assert_type(two, Batched[[str, int], tuple[str, int], float])
assert_type(two("x", 1), BatchedCall[float])
assert_type(three, Batched[[str, int, bool], tuple[str, int, bool], float])
assert_type(four("x", 1, 2, 3), BatchedCall[float])
assert_type(by_keyword("x", sizes=1), BatchedCall[float])
assert_type(two_for_nothing("x", 1), BatchedCall[None])
assert_type(two_perhaps("x", 1), BatchedCall[float | None])
assert_type(second_optional("x"), BatchedCall[float])
assert_type(second_optional("x", 1), BatchedCall[float])
assert_type(third_optional("x", 1), BatchedCall[float])
assert_type(third_optional("x", 1, 2), BatchedCall[float])

two("x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
two("x", "y")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
two.submit("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
four(1, 1, 1, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
second_optional()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
second_optional(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
third_optional("x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
by_keyword(1, sizes=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# ------------------------------------------------------------------------------------ using them
async def use() -> None:
    assert_type(a_list("x"), BatchedCall[int])
    assert_type(await a_list("x"), int)
    assert_type(await nothing("x"), None)
    assert_type(await asyncio.wait_for(a_list("x"), 1), int)
    assert_type(await asyncio.shield(a_list("x")), int)
    assert_type(await asyncio.gather(a_list("x"), lists("y")), tuple[int, list[float]])
    assert_type(await asyncio.gather(*map(a_list, ["x"])), list[int])
    assert_type(a_list.batcher, Batched[[str], str, int])
    assert_type(await a_list.submit("x", timeout=1.0), int)
    assert_type(await a_list.submit_nowait("x"), int)
    assert_type(await a_list.submit_many(["x"]), list[int])
    assert_type(await a_list.submit_many(["x"], return_exceptions=True), list[int | Exception])
    assert_type([number async for number in a_list.map(["x"])], list[int])
    pairs = [pair async for pair in a_list.map(["x"], with_items=True)]
    assert_type(pairs, list[tuple[str, int]])
    assert_type(await two.submit(("x", 1)), float)
    assert_type(await two.submit_many([("x", 1)]), list[float])
    async with a_list as entered:
        assert_type(entered, Batched[[str], str, int])


a_list(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
a_list()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
a_list("x", "y")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
a_list.submit(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
a_list.submit_many([1])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
a_list.map([1])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


# ---------------------------------------------------------------------------- what is no handler
async def handler(texts: list[str]) -> list[int]:
    raise NotImplementedError


async def without_parameters() -> list[int]:
    raise NotImplementedError


async def of_one_item(text: str) -> list[int]:
    raise NotImplementedError


async def of_one_result(texts: list[str]) -> int:
    raise NotImplementedError


batched()(without_parameters)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
batched()(of_one_item)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
batched()(of_one_result)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
batched()(3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
batched(of_one_item)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
batched(3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
batched(handler, max_batch=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
batched(max_size=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
batched(overflow="block")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
