"""The types of batchers for threads, for mypy --strict and for pyright."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import assert_type

from anyio.from_thread import BlockingPortal

from microbatch import Batcher, BatcherStatistics, BlockingBatcher, batched


async def a_list(texts: list[str]) -> list[int]:
    raise NotImplementedError


def in_a_thread(texts: list[str]) -> list[int]:
    raise NotImplementedError


async def nothing(texts: list[str]) -> None:
    raise NotImplementedError


async def perhaps(texts: list[str]) -> list[int] | None:
    raise NotImplementedError


@batched()
async def decorated(texts: list[str]) -> list[int]:
    raise NotImplementedError


# -------------------------------------------------------------------------------------- inference
assert_type(BlockingBatcher(a_list), BlockingBatcher[str, int])
assert_type(BlockingBatcher(in_a_thread, max_batch_size=2), BlockingBatcher[str, int])
assert_type(BlockingBatcher(nothing), BlockingBatcher[str, None])
assert_type(BlockingBatcher(perhaps), BlockingBatcher[str, int | None])
assert_type(BlockingBatcher(Batcher(a_list)), BlockingBatcher[str, int])
assert_type(BlockingBatcher(decorated), BlockingBatcher[str, int])
assert_type(BlockingBatcher(in_a_thread, executor=ThreadPoolExecutor()), BlockingBatcher[str, int])

BlockingBatcher(3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
BlockingBatcher(decorated, max_batch_size=2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
BlockingBatcher(a_list, max_size=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
BlockingBatcher(in_a_thread, executor=3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


def attach(portal: BlockingPortal) -> None:
    assert_type(BlockingBatcher.attached(a_list, max_batch_size=2), BlockingBatcher[str, int])
    assert_type(BlockingBatcher.attached(nothing, portal), BlockingBatcher[str, None])
    assert_type(BlockingBatcher.attached(perhaps), BlockingBatcher[str, int | None])
    assert_type(BlockingBatcher.attached(decorated, portal), BlockingBatcher[str, int])


# ----------------------------------------------------------------------------------------- results
def use(batcher: BlockingBatcher[str, int], exceptions: bool) -> None:
    assert_type(batcher.submit("x"), Future[int])
    assert_type(batcher.submit("x", timeout=1).result(), int)
    assert_type(batcher.submit("x", timeout=None), Future[int])
    assert_type(batcher.submit_many(["x"]), Future[list[int]])
    assert_type(batcher.submit_many(["x"], return_exceptions=True), Future[list[int | Exception]])
    assert_type(
        batcher.submit_many(["x"], return_exceptions=exceptions), Future[list[int | Exception]]
    )
    assert_type(batcher.map(["x"]), Iterator[int])
    assert_type(batcher.map(["x"], return_exceptions=True), Iterator[int | Exception])
    assert_type(batcher.map(["x"], with_items=True), Iterator[tuple[str, int]])
    assert_type(
        batcher.map(["x"], return_exceptions=exceptions, with_items=True),
        Iterator[tuple[str, int | Exception]],
    )
    with batcher as entered:
        assert_type(entered, BlockingBatcher[str, int])
    assert_type(batcher.close(timeout=1.0), int)
    assert_type(batcher.statistics(), BatcherStatistics)
    assert_type(batcher.batcher, Batcher[str, int])

    batcher.submit(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    batcher.submit_many([1])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    batcher.map([1])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


async def use_on_a_loop(batcher: BlockingBatcher[str, int]) -> None:
    async with batcher as entered:
        assert_type(entered, BlockingBatcher[str, int])
    assert_type(await batcher.aclose(timeout=1.0), int)
