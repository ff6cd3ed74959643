"""The types of handlers that answer columns, for mypy --strict and for pyright."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict, assert_type

import numpy as np
import numpy.typing as npt

from microbatch import Batched, BatchedCall, Batcher, BlockingBatcher, Ticket, batched


class Embedding(TypedDict):
    vector: npt.NDArray[np.float32]
    tokens: list[int]


class Scored(NamedTuple):
    score: list[float]
    label: list[str]


class Frame:
    """What the type checker knows of a DataFrame."""

    @property
    def columns(self) -> list[str]:
        raise NotImplementedError


async def named(texts: list[str]) -> dict[str, Sequence[float]]:
    raise NotImplementedError


def named_in_a_thread(texts: Sequence[str]) -> Mapping[str, list[float]]:
    raise NotImplementedError


async def arrays(texts: list[str]) -> dict[str, npt.NDArray[np.float32]]:
    raise NotImplementedError


async def named_or_errors(texts: list[str]) -> dict[str, list[float | Exception]]:
    raise NotImplementedError


async def typed(texts: list[str]) -> Embedding:
    raise NotImplementedError


async def pair(texts: list[str]) -> tuple[list[float], Sequence[str]]:
    raise NotImplementedError


def pair_in_a_thread(texts: list[str]) -> tuple[list[float | Exception], npt.NDArray[np.int64]]:
    raise NotImplementedError


async def triple(texts: list[str]) -> tuple[list[float], list[str], list[bytes]]:
    raise NotImplementedError


async def scored(texts: list[str]) -> Scored:
    raise NotImplementedError


async def frame(texts: list[str]) -> Frame:
    raise NotImplementedError


async def as_runtimes_have_it(texts: list[str]) -> list[npt.NDArray[np.float32]]:
    raise NotImplementedError


async def perhaps(texts: list[str]) -> dict[str, list[float]] | None:
    raise NotImplementedError


async def rows(texts: list[str]) -> list[int]:
    raise NotImplementedError


async def one(texts: list[str]) -> int:
    raise NotImplementedError


async def pairs(texts: list[str]) -> AsyncIterator[tuple[int, float]]:
    yield 0, 1.0


# ----------------------------------------------------------------------------------------- batchers
assert_type(Batcher(named, columnar=True), Batcher[str, dict[str, float]])
assert_type(Batcher(named_in_a_thread, columnar=True), Batcher[str, dict[str, float]])
assert_type(Batcher(arrays, columnar=True), Batcher[str, dict[str, Any]])
assert_type(Batcher(named_or_errors, columnar=True), Batcher[str, dict[str, float]])
assert_type(Batcher(typed, columnar=True), Batcher[str, Any])
assert_type(Batcher(pair, columnar=True, max_batch_size=8), Batcher[str, tuple[float, str]])
assert_type(Batcher(pair_in_a_thread, columnar=True), Batcher[str, tuple[float, Any]])
assert_type(Batcher(triple, columnar=True), Batcher[str, tuple[float, str, bytes]])
assert_type(Batcher(scored, columnar=True), Batcher[str, tuple[float, str]])
assert_type(Batcher(frame, columnar=True), Batcher[str, Any])
assert_type(Batcher(as_runtimes_have_it, columnar=True), Batcher[str, Any])
assert_type(Batcher(perhaps, columnar=True), Batcher[str, Any])
assert_type(Batcher(rows, columnar=False), Batcher[str, int])
Batcher(one, columnar=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
Batcher(named, columnar=1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


# --------------------------------------------------------------------------------------- in threads
assert_type(BlockingBatcher(named, columnar=True), BlockingBatcher[str, dict[str, float]])
assert_type(BlockingBatcher(pair, columnar=True), BlockingBatcher[str, tuple[float, str]])
assert_type(BlockingBatcher(triple, columnar=True), BlockingBatcher[str, tuple[float, str, bytes]])
assert_type(BlockingBatcher(frame, columnar=True), BlockingBatcher[str, Any])
assert_type(BlockingBatcher(rows, columnar=False), BlockingBatcher[str, int])
attached = BlockingBatcher.attached(pair_in_a_thread, columnar=True)
assert_type(attached, BlockingBatcher[str, tuple[float, Any]])


# ---------------------------------------------------------------------------------------- decorated
@batched(columnar=True, max_batch_size=8)
async def decorated(texts: list[str]) -> dict[str, list[float]]:
    raise NotImplementedError


@batched(columnar=True)
def decorated_pair(texts: list[str]) -> tuple[list[float], list[str]]:
    raise NotImplementedError


@batched(columnar=True)
async def of_two(texts: list[str], sizes: list[int]) -> tuple[list[float], list[str], list[bytes]]:
    raise NotImplementedError


@batched(columnar=True)
async def decorated_frame(texts: list[str]) -> Frame:
    raise NotImplementedError


class Model:
    @batched(columnar=True)
    async def named(self, texts: list[str]) -> dict[str, list[float]]:
        raise NotImplementedError

    @batched(columnar=True)
    def pair(self, texts: list[str]) -> tuple[list[float], list[str]]:
        raise NotImplementedError

    @batched(columnar=True)
    async def of_two(self, texts: list[str], sizes: list[int]) -> dict[str, list[float]]:
        raise NotImplementedError

    @batched(columnar=True)
    async def frame(self, texts: list[str]) -> Frame:
        raise NotImplementedError

    @batched(columnar=True)
    @classmethod
    async def of_class(cls, texts: list[str]) -> tuple[list[float], list[str]]:
        raise NotImplementedError

    @batched(columnar=True)
    @staticmethod
    async def of_none(texts: list[str]) -> dict[str, list[float]]:
        raise NotImplementedError


assert_type(decorated, Batched[[str], str, dict[str, float]])
assert_type(decorated("x"), BatchedCall[dict[str, float]])
assert_type(decorated.submit("x"), Ticket[dict[str, float]])
assert_type(decorated_pair("x"), BatchedCall[tuple[float, str]])
assert_type(of_two("x", 1), BatchedCall[tuple[float, str, bytes]])
assert_type(decorated_frame, Batched[[str], str, Any])
model = Model()
assert_type(model.named("x"), BatchedCall[dict[str, float]])
assert_type(model.pair, Batched[[str], str, tuple[float, str]])
assert_type(model.of_two("x", 1), BatchedCall[dict[str, float]])
assert_type(model.frame("x"), BatchedCall[Any])
assert_type(Model.of_class("x"), BatchedCall[tuple[float, str]])
assert_type(Model.of_none("x"), BatchedCall[dict[str, float]])
decorated(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
batched(columnar=True)(rows)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
batched(columnar=True)(pairs)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
assert_type(batched(columnar=False)(rows), Batched[[str], str, int])


async def use(batcher: Batcher[str, tuple[float, str]]) -> None:
    score, label = await batcher.submit("x")
    assert_type(score, float)
    assert_type(label, str)
    assert_type(await batcher.submit_many(["x"]), list[tuple[float, str]])
    assert_type([row async for row in decorated.map(["x"])], list[dict[str, float]])
