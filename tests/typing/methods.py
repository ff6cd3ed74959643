"""The types of batched methods of every kind, for mypy --strict and for pyright."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol, assert_type

from microbatch import Batched, BatchedCall, batched
from microbatch.decorator import UnboundBatchedMethod

ONE: Any = 1


class Model:
    @batched(max_batch_size=8)
    async def embed(self, texts: list[str]) -> list[int]:
        raise NotImplementedError

    @batched()
    def in_a_thread(self, texts: Sequence[str]) -> Sequence[int | Exception]:
        raise NotImplementedError

    @batched()
    async def nothing(self, texts: list[str]) -> None:
        raise NotImplementedError

    @batched()
    async def two(self, texts: list[str], sizes: list[int]) -> list[float]:
        raise NotImplementedError

    @batched()
    async def three(self, a: list[str], b: list[int], c: list[bool]) -> list[float]:
        raise NotImplementedError

    @batched()
    async def second_optional(self, texts: list[str], sizes: list[int] = ONE) -> list[float]:
        raise NotImplementedError

    @batched()
    async def perhaps(self, texts: list[str]) -> list[int] | None:
        raise NotImplementedError

    @batched()
    async def by_keyword(self, texts: list[str], *, sizes: list[int]) -> list[float]:
        raise NotImplementedError

    @batched()
    @classmethod
    async def above_class(cls, texts: list[str]) -> list[int]:
        raise NotImplementedError

    @classmethod
    @batched()
    async def below_class(cls, texts: list[str]) -> list[int]:
        raise NotImplementedError

    @batched()
    @classmethod
    async def two_of_class(cls, texts: list[str], sizes: list[int]) -> list[int]:
        raise NotImplementedError

    @batched()
    @classmethod
    async def second_optional_of_class(
        cls, texts: list[str], sizes: list[int] = ONE
    ) -> list[float]:
        raise NotImplementedError

    @batched()
    @classmethod
    async def nothing_of_class(cls, texts: list[str]) -> None:
        raise NotImplementedError

    @batched()
    @staticmethod
    async def above_static(texts: list[str]) -> list[int]:
        raise NotImplementedError

    @staticmethod
    @batched()
    async def below_static(texts: list[str]) -> list[int]:
        raise NotImplementedError


model = Model()
assert_type(model.embed, Batched[[str], str, int])
assert_type(model.in_a_thread, Batched[[str], str, int])
assert_type(model.nothing, Batched[[str], str, None])
assert_type(model.two, Batched[[str, int], tuple[str, int], float])
assert_type(model.three, Batched[[str, int, bool], tuple[str, int, bool], float])
assert_type(model.second_optional("x"), BatchedCall[float])
assert_type(model.second_optional("x", 1), BatchedCall[float])
assert_type(model.perhaps, Batched[[str], str, int | None])
assert_type(model.by_keyword("x", sizes=1), BatchedCall[float])
assert_type(Model.embed, UnboundBatchedMethod[[str], str, int])
assert_type(Model.embed(model, "x"), BatchedCall[int])

assert_type(Model.above_class, Batched[[str], str, int])
assert_type(model.above_class, Batched[[str], str, int])
assert_type(Model.below_class("x"), BatchedCall[int])
assert_type(model.below_class("x"), BatchedCall[int])
assert_type(Model.two_of_class, Batched[[str, int], tuple[str, int], int])
assert_type(Model.second_optional_of_class("x"), BatchedCall[float])
assert_type(model.second_optional_of_class("x", 1), BatchedCall[float])
assert_type(Model.nothing_of_class, Batched[[str], str, None])
assert_type(Model.above_static, Batched[[str], str, int])
assert_type(model.above_static, Batched[[str], str, int])
assert_type(Model.below_static, Batched[[str], str, int])
assert_type(model.below_static("x"), BatchedCall[int])

model.embed(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
model.embed.submit(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
model.two("x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
model.second_optional(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
model.by_keyword(1, sizes=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Model.embed.submit("x")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
Model.embed("x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Model.above_class(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Model.below_class(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Model.above_static(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def use() -> None:
    assert_type(await Model().embed("x"), int)
    assert_type(await model.embed.submit_many(["x"]), list[int])
    assert_type(await asyncio.gather(model.embed("x"), model.two("x", 1)), tuple[int, float])
    assert_type([number async for number in model.embed.map(["x"])], list[int])


# -------------------------------------------------------------------------------------- overrides
class Same(Model):
    @batched()
    async def embed(self, texts: list[str]) -> list[int]:
        return await asyncio.gather(*map(super().embed, texts))

    @batched()
    async def in_a_thread(self, texts: list[str]) -> list[bool]:
        raise NotImplementedError

    @batched()
    def nothing(self, texts: Sequence[str]) -> None:
        raise NotImplementedError

    @batched()
    async def two(self, texts: list[str], sizes: list[int]) -> list[float]:
        raise NotImplementedError

    @batched()
    async def by_keyword(self, texts: list[str], *, sizes: list[int]) -> list[float]:
        raise NotImplementedError

    @batched()
    @classmethod
    async def above_class(cls, texts: list[str]) -> list[int]:
        raise NotImplementedError

    @classmethod
    @batched()
    async def below_class(cls, texts: list[str]) -> list[int]:
        raise NotImplementedError

    @batched()
    @staticmethod
    async def above_static(texts: list[str]) -> list[int]:
        raise NotImplementedError

    @staticmethod
    @batched()
    async def below_static(texts: list[str]) -> list[int]:
        raise NotImplementedError


class OtherItem(Model):
    @batched()
    async def embed(  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        self, texts: list[bytes]
    ) -> list[int]:
        raise NotImplementedError


class OtherResult(Model):
    @batched()
    async def embed(  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        self, texts: list[str]
    ) -> list[str]:
        raise NotImplementedError


# --------------------------------------------------------------------------------------- abstract
class Abstract(ABC):
    @batched()
    @abstractmethod
    async def above(self, texts: list[str]) -> list[int]:
        raise NotImplementedError

    @abstractmethod
    @batched()
    async def below(self, texts: list[str]) -> list[int]:
        raise NotImplementedError

    @batched()
    @classmethod
    @abstractmethod
    async def of_class(cls, texts: list[str]) -> list[int]:
        raise NotImplementedError


class Concrete(Abstract):
    @batched()
    async def above(self, texts: list[str]) -> list[int]:
        raise NotImplementedError

    @batched()
    def below(self, texts: list[str]) -> list[int]:
        raise NotImplementedError

    @batched()
    @classmethod
    async def of_class(cls, texts: list[str]) -> list[int]:
        raise NotImplementedError


Abstract()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]
concrete: Abstract = Concrete()
assert_type(concrete.above("x"), BatchedCall[int])
assert_type(concrete.below, Batched[[str], str, int])
assert_type(concrete.of_class("x"), BatchedCall[int])


# -------------------------------------------------------------------------------------- protocols
class Embedder(Protocol):
    def embed(self, text: str, /) -> Awaitable[int]: ...


class Pairing(Protocol):
    def two(self, text: str, size: int, /) -> Awaitable[float]: ...


class Bytes(Protocol):
    def embed(self, text: bytes, /) -> Awaitable[int]: ...


class OfClass(Protocol):
    @classmethod
    def above_class(cls, text: str, /) -> Awaitable[int]: ...


class OfNone(Protocol):
    @staticmethod
    def above_static(text: str, /) -> Awaitable[int]: ...


embedder: Embedder = Model()
pairing: Pairing = Model()
same: Embedder = Same()
of_class: OfClass = Model()
of_none: OfNone = Model()


def through_a_protocol(embedder: Embedder) -> None:
    assert_type(embedder.embed("x"), Awaitable[int])


through_a_protocol(Model())
through_a_protocol(object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
of_bytes: Bytes = Model()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
