"""The types of ``@batched`` without parentheses, for mypy --strict and for pyright."""

from collections.abc import AsyncIterator, Sequence
from typing import assert_type

from microbatch import Batched, BatchedCall, batched
from microbatch.decorator import UnboundBatchedMethod

EMPTY: list[int] = []


@batched
async def lengths(texts: list[str]) -> list[int]:
    raise NotImplementedError


@batched
def in_a_thread(texts: Sequence[str]) -> Sequence[int]:
    raise NotImplementedError


@batched
async def nothing(texts: list[str]) -> None:
    raise NotImplementedError


@batched
async def perhaps(texts: list[str]) -> list[int] | None:
    raise NotImplementedError


@batched
async def two(texts: list[str], sizes: list[int]) -> list[float]:
    raise NotImplementedError


@batched
async def three(texts: list[str], sizes: list[int], flags: list[bool]) -> list[float]:
    raise NotImplementedError


@batched
async def second_optional(texts: list[str], sizes: list[int] = EMPTY) -> list[float]:
    raise NotImplementedError


@batched
async def by_keyword(texts: list[str], *, sizes: list[int]) -> list[float]:
    raise NotImplementedError


@batched
async def pairs(texts: list[str]) -> AsyncIterator[tuple[int, float]]:
    yield 0, 1.0


assert_type(lengths, Batched[[str], str, int])
assert_type(lengths("x"), BatchedCall[int])
assert_type(in_a_thread, Batched[[str], str, int])
assert_type(nothing, Batched[[str], str, None])
assert_type(perhaps, Batched[[str], str, int | None])
assert_type(two, Batched[[str, int], tuple[str, int], float])
assert_type(three("x", 1, True), BatchedCall[float])
assert_type(second_optional("x"), BatchedCall[float])
assert_type(by_keyword("x", sizes=1), BatchedCall[float])
assert_type(pairs("x"), BatchedCall[float])
lengths(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def plain(texts: list[str]) -> list[int]:
    raise NotImplementedError


async def stream(texts: list[str]) -> AsyncIterator[list[int]]:
    yield [1]


assert_type(batched(plain), Batched[[str], str, int])
assert_type(batched(plain, max_batch_size=3, timeout=1.0), Batched[[str], str, int])
batched(stream, stream=True)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


class Model:
    @batched
    async def embed(self, texts: list[str]) -> list[int]:
        raise NotImplementedError

    @batched
    async def two(self, texts: list[str], sizes: list[int]) -> list[float]:
        raise NotImplementedError

    @batched
    async def perhaps(self, texts: list[str]) -> list[int] | None:
        raise NotImplementedError

    @batched
    @classmethod
    async def above_class(cls, texts: list[str]) -> list[int]:
        raise NotImplementedError

    @classmethod
    @batched
    async def below_class(cls, texts: list[str]) -> list[int]:
        raise NotImplementedError

    @batched
    @staticmethod
    async def above_static(texts: list[str]) -> list[int]:
        raise NotImplementedError

    @staticmethod
    @batched
    async def below_static(texts: list[str]) -> list[int]:
        raise NotImplementedError


model = Model()
assert_type(model.embed, Batched[[str], str, int])
assert_type(model.embed("x"), BatchedCall[int])
assert_type(Model.embed, UnboundBatchedMethod[[str], str, int])
assert_type(model.two("x", 1), BatchedCall[float])
assert_type(model.perhaps, Batched[[str], str, int | None])
assert_type(Model.above_class("x"), BatchedCall[int])
assert_type(Model.below_class("x"), BatchedCall[int])
assert_type(Model.above_static("x"), BatchedCall[int])
assert_type(model.below_static("x"), BatchedCall[int])
