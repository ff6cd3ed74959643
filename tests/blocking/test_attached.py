"""Threads use a batcher on a loop that runs already."""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from microbatch import Batcher, BatcherClosedError, BlockingBatcher, batched
from microbatch.testing import RecordingHandler

try:
    import uvloop
except ImportError:
    uvloop = None

if TYPE_CHECKING:
    from tests.blocking.conftest import Held


def doubled(items: list[int]) -> list[int]:
    return [2 * item for item in items]


def made(handler: Any = doubled) -> Batcher[int, int]:
    return Batcher(RecordingHandler(handler), name="made")


@pytest.mark.every_loop
async def test_threads_and_coroutines_share_batches() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(doubled)
    batcher = Batcher(handler, max_batch_size=4, max_latency=0.5)
    async with BlockingBatcher.attached(batcher) as blocking:
        mine = [batcher.submit(item) for item in range(2)]
        theirs = await asyncio.to_thread(lambda: [blocking.submit(item) for item in (2, 3)])
        assert await asyncio.gather(*mine) == [0, 2]
        assert [await asyncio.wrap_future(each) for each in theirs] == [4, 6]
        assert handler.sizes == [4]


@pytest.mark.every_loop
async def test_a_thread_waits_for_results_maps_and_drains() -> None:
    def work() -> list[Any]:
        return [
            blocking.submit(1).result(10),
            blocking.submit_many([2, 3]).result(10),
            list(blocking.map(range(10))),
            blocking.drain(),
            blocking.flush(),
        ]

    async with BlockingBatcher.attached(made()) as blocking:
        assert await asyncio.to_thread(work) == [2, [4, 6], list(range(0, 20, 2)), None, None]


async def test_a_handler_that_is_attached_is_closed_with_it() -> None:
    async with BlockingBatcher.attached(doubled, max_batch_size=3, name="own") as blocking:
        assert await asyncio.wrap_future(blocking.submit(1)) == 2
        assert blocking.name == "own"
    with pytest.raises(BatcherClosedError):
        blocking.batcher.submit(1)


async def test_a_batcher_that_was_given_goes_on() -> None:
    batcher = made()
    async with BlockingBatcher.attached(batcher) as blocking:
        future = blocking.submit(1)
    assert future.result() == 2
    assert await batcher.submit(2) == 4


async def test_a_decorated_function_can_be_attached() -> None:
    @batched()
    async def double(items: list[int]) -> list[int]:
        return doubled(items)

    async with BlockingBatcher.attached(double) as blocking:
        assert await asyncio.wrap_future(blocking.submit(4)) == 8


async def test_a_handler_may_drain_another_batcher_of_its_name_on_its_loop() -> None:
    def handler(items: list[int]) -> list[int]:
        results = other.submit_many(items).result(10)
        other.drain()
        return results

    other = BlockingBatcher.attached(doubled, name="same")
    async with other, BlockingBatcher.attached(handler, name="same") as blocking:
        assert await asyncio.wrap_future(blocking.submit(1)) == 2


@pytest.mark.parametrize("options", [{}, {"on_error": "bisect"}])
async def test_a_handler_must_not_drain_its_own_batcher(options: Any) -> None:
    def handler(items: list[int]) -> None:
        own.drain()

    own = BlockingBatcher.attached(handler, name="own", **options)
    async with own:
        error = await asyncio.gather(asyncio.wrap_future(own.submit(1)), return_exceptions=True)
    assert str(error[0]) == (
        "batcher 'own' must not be drained or closed by its own handler, for which it would wait"
    )


async def test_after_the_timeout_its_own_items_are_given_up_and_no_others(held: Held) -> None:
    batcher = Batcher(held)
    blocking = BlockingBatcher.attached(batcher)
    other = batcher.submit(1)
    future = blocking.submit(2)
    await asyncio.to_thread(held.entered.wait, 10)
    assert await blocking.aclose(timeout=0) == 1
    assert isinstance(future.exception(), BatcherClosedError)
    held.leave.set()
    assert await other == 2


@pytest.mark.parametrize("where", ["loop", "portal"])
async def test_it_can_be_attached_from_another_thread(where: str) -> None:
    def work(place: Any) -> int:
        with BlockingBatcher.attached(made(), place) as blocking:
            return blocking.submit(5).result(10)

    if where == "loop":
        assert await asyncio.to_thread(work, asyncio.get_running_loop()) == 10
    else:
        async with BlockingPortal() as portal:
            assert await asyncio.to_thread(work, portal) == 10


def test_a_portals_loop_can_be_used(tidy: None) -> None:
    with (
        start_blocking_portal() as portal,
        BlockingBatcher.attached(made(), portal) as blocking,
    ):
        assert list(blocking.map(range(3))) == [0, 2, 4]


def test_where_no_loop_runs_it_asks_for_one() -> None:
    with pytest.raises(RuntimeError) as caught:
        BlockingBatcher.attached(made())
    assert str(caught.value) == (
        "attached() must be given an event loop or a portal where no event loop runs"
    )


def test_another_place_is_a_type_error() -> None:
    with pytest.raises(TypeError) as caught:
        BlockingBatcher.attached(made(), 5)  # type: ignore[call-overload]
    assert str(caught.value) == "where must be an event loop, a BlockingPortal or None, got 5"


async def test_blocking_on_the_loop_itself_is_an_error(held: Held) -> None:
    async with BlockingBatcher.attached(Batcher(held)) as blocking:
        future = blocking.submit(1)
        for call in (future.result, future.exception, blocking.drain, blocking.close):
            with pytest.raises(RuntimeError, match="runs on this very event loop"):
                call()
        assert not future.done()
        held.leave.set()


async def test_one_that_is_dropped_leaves_nothing_on_the_loop() -> None:
    blocking = BlockingBatcher.attached(made())
    future = blocking.submit(1)
    del blocking
    gc.collect()
    assert await asyncio.wrap_future(future) == 2
    for _ in range(10):
        await asyncio.sleep(0)


# ------------------------------------------------------------------------------ the end of the loop
def attach_and_submit(blockings: list[Any], futures: list[Any], handler: Any) -> Any:
    async def main() -> None:
        blockings.append(BlockingBatcher.attached(handler))
        futures.extend(blockings[0].submit(item) for item in range(3))
        for _ in range(5):
            await asyncio.sleep(0)

    return main()


async def attached(batcher: Batcher[int, int]) -> BlockingBatcher[int, int]:
    return BlockingBatcher.attached(batcher)


class Narrow(asyncio.SelectorEventLoop):
    """A loop that watches no descriptors for others, as Windows' proactor."""

    def add_reader(self, *args: Any) -> None:
        raise NotImplementedError


LOOPS: dict[str, Any] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": getattr(uvloop, "new_event_loop", None),
    "without descriptors": Narrow,
}


async def for_ever(items: list[int]) -> list[int]:
    await asyncio.get_running_loop().create_future()
    return items


@pytest.mark.parametrize("kind", ["asyncio", "uvloop", "without descriptors"])
def test_when_the_loop_is_closed_futures_fail(kind: str) -> None:
    if kind == "uvloop":
        pytest.importorskip("uvloop")
    loop = LOOPS[kind]()
    blocking = loop.run_until_complete(attached(made()))
    future, given_up = blocking.submit(1), blocking.submit(2)
    assert given_up.cancel()
    assert not future.done()
    loop.close()
    assert str(future.exception(10)) == "batcher 'made' is closed, or its event loop has ended"
    assert wait([given_up], 10).not_done == set()
    for after in (blocking.submit(1), blocking.submit(2)):
        assert isinstance(after.exception(10), BatcherClosedError)
    assert blocking.close() == 0


@pytest.mark.parametrize("kind", ["asyncio", "uvloop", "without descriptors"])
def test_a_loop_may_be_closed_after_it(kind: str) -> None:
    if kind == "uvloop":
        pytest.importorskip("uvloop")
    loop = LOOPS[kind]()
    blocking = loop.run_until_complete(attached(made()))
    assert loop.run_until_complete(blocking.aclose()) == 0
    loop.close()


def test_a_callback_of_a_lost_future_may_submit_again() -> None:
    loop = asyncio.new_event_loop()
    blocking = loop.run_until_complete(attached(made()))
    again: list[Any] = []
    blocking.submit(1).add_done_callback(lambda _: again.append(blocking.submit(2)))
    loop.close()
    assert isinstance(again[0].exception(10), BatcherClosedError)
    blocking.close()


@pytest.mark.filterwarnings("ignore:an event loop was closed:ResourceWarning")
def test_a_loop_that_is_closed_before_it_comes_to_anything_leaves_nobody_hanging(
    loop_factory: Any,
) -> None:
    loop = (loop_factory or asyncio.new_event_loop)()
    with BlockingBatcher.attached(made(), loop) as blocking:
        future = blocking.submit(1)
        loop.close()
        gc.collect()
        assert isinstance(future.exception(0), BatcherClosedError)


def test_what_comes_after_the_close_and_before_the_end_of_the_loop_is_told(
    loop_factory: Any,
) -> None:
    loop = (loop_factory or asyncio.new_event_loop)()
    blocking = loop.run_until_complete(attached(made()))
    loop.run_until_complete(blocking.aclose())
    blocking._closed = False  # as a thread saw it that was slower
    future = blocking.submit(1)
    loop.close()
    assert isinstance(future.exception(0), BatcherClosedError)
    blocking._closed = True


def test_closing_on_a_loop_that_was_stopped_gives_up(loop_factory: Any) -> None:
    blockings: list[BlockingBatcher[int, int]] = []
    futures: list[Any] = []
    loop = (loop_factory or asyncio.new_event_loop)()
    batcher = Batcher(for_ever)
    loop.run_until_complete(attach_and_submit(blockings, futures, batcher))
    assert blockings[0].close() == 0
    assert [type(each.exception(0)) for each in futures] == [BatcherClosedError] * 3
    loop.run_until_complete(batcher.aclose(timeout=0))
    loop.close()
