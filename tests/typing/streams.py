"""The types of handlers that are async generators, for mypy --strict and for pyright."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import assert_type

from microbatch import END, Batched, BatchedCall, BatchedStream, Batcher, End, Stream, batched
from microbatch._decorating.streaming import UnboundBatchedStreamMethod


# --------------------------------------------------------------------------------- partial answers
async def pairs(texts: list[str]) -> AsyncIterator[tuple[int, float]]:
    yield 0, 1.0


async def pairs_or_errors(
    texts: list[str],
) -> AsyncGenerator[tuple[int, float | Exception], None]:
    yield 0, ValueError()


async def no_pairs(texts: list[str]) -> AsyncIterator[float]:
    yield 1.0


@batched()
async def decorated_pairs(texts: list[str], sizes: list[int]) -> AsyncIterator[tuple[int, float]]:
    yield 0, 1.0


class Model:
    @batched()
    async def pairs(self, texts: list[str]) -> AsyncIterator[tuple[int, float]]:
        yield 0, 1.0

    @batched(stream=True)
    async def tokens(self, prompts: list[str]) -> AsyncIterator[list[int]]:
        yield [1]

    @batched(stream=True)
    async def two(self, prompts: list[str], sizes: list[int]) -> AsyncIterator[list[int | End]]:
        yield [END]

    @batched(stream=True)
    async def by_keyword(self, prompts: list[str], *, sizes: list[int]) -> AsyncIterator[list[int]]:
        yield [1]

    @batched(stream=True)
    @classmethod
    async def of_class(cls, prompts: list[str]) -> AsyncIterator[list[int]]:
        yield [1]

    @classmethod
    @batched(stream=True)
    async def below_class(cls, prompts: list[str]) -> AsyncIterator[list[int]]:
        yield [1]

    @batched(stream=True)
    @staticmethod
    async def of_none(prompts: list[str]) -> AsyncIterator[list[int]]:
        yield [1]


assert_type(Batcher(pairs), Batcher[str, float])
assert_type(Batcher(pairs_or_errors, max_batch_size=2), Batcher[str, float])
assert_type(batched()(pairs), Batched[[str], str, float])
assert_type(decorated_pairs("x", 1), BatchedCall[float])
assert_type(Model().pairs("x"), BatchedCall[float])
Batcher(no_pairs)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]


# ---------------------------------------------------------------------------------------- streaming
async def tokens(prompts: list[str]) -> AsyncIterator[list[int]]:
    yield [1]


async def ending(prompts: list[str]) -> AsyncGenerator[list[int | End], tuple[int, ...]]:
    alive = yield [1, END]
    assert_type(alive, tuple[int, ...])


async def failing(prompts: Sequence[str]) -> AsyncGenerator[Sequence[int | Exception | End], None]:
    yield (1, END, ValueError())


async def pausing(prompts: list[str]) -> AsyncIterator[list[int] | None]:
    yield None


async def results(prompts: list[str]) -> list[int]:
    raise NotImplementedError


assert_type(Batcher(tokens, stream=True), Batcher[str, list[int]])
assert_type(Batcher(ending, stream=True, stream_buffer=8), Batcher[str, list[int]])
assert_type(Batcher(failing, stream=True, stream_overflow="fail"), Batcher[str, list[int]])
assert_type(Batcher(pausing, stream=True), Batcher[str, list[int]])


@batched(stream=True, max_batch_size=8)
async def generate(prompts: list[str]) -> AsyncGenerator[list[int | End], tuple[int, ...]]:
    yield [1, END]


@batched(stream=True)
async def generate_two(prompts: list[str], sizes: list[int]) -> AsyncIterator[list[int]]:
    yield [1]


assert_type(generate, BatchedStream[[str], str, int])
assert_type(generate("x"), Stream[int])
assert_type(generate.stream("x", timeout=1.0), Stream[int])
assert_type(generate_two("x", 1), Stream[int])
assert_type(generate_two.stream(("x", 1)), Stream[int])

model = Model()
assert_type(Model.tokens, UnboundBatchedStreamMethod[[str], str, int])
assert_type(Model.tokens(model, "x"), Stream[int])
assert_type(model.tokens, BatchedStream[[str], str, int])
assert_type(model.tokens("x"), Stream[int])
assert_type(model.two("x", 1), Stream[int])
assert_type(model.by_keyword("x", sizes=1), Stream[int])
assert_type(Model.of_class("x"), Stream[int])
assert_type(model.below_class("x"), Stream[int])
assert_type(Model.of_none("x"), Stream[int])

generate(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
generate.stream(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
model.tokens(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
batched(stream=True)(results)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
batched(stream=True)(no_pairs)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
Batcher(tokens, stream_overflow="drop")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


async def use(batcher: Batcher[str, list[int]], floats: Batcher[str, float]) -> None:
    stream = batcher.stream("x", timeout=None)
    assert_type(stream, Stream[int])
    assert_type(await anext(stream), int)
    assert_type([token async for token in stream], list[int])
    assert_type(await batcher.submit("x"), list[int])
    assert_type(await generate.submit("x"), list[int])
    assert_type([chunks async for chunks in generate.map(["x"])], list[list[int]])
    async with generate("x") as entered:
        assert_type(entered, Stream[int])
    await stream.aclose()
    floats.stream("x")  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


class Override(Model):
    @batched(stream=True)
    async def tokens(self, prompts: list[str]) -> AsyncIterator[list[int]]:
        yield [1]


class OtherChunk(Model):
    @batched(stream=True)
    async def tokens(  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        self, prompts: list[str]
    ) -> AsyncIterator[list[str]]:
        yield ["x"]
