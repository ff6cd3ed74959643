"""Readers that leave: cancelled, closed or let go of. Their item leaves its batch, and no other."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from microbatch import END, Batcher
from microbatch._streams.channel import WakeEvent, set_all
from tests.streaming.counting import Countdown, read, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from microbatch import Stream


def counting(**options: Any) -> tuple[Countdown, Batcher[int, list[Any]]]:
    handler = Countdown(delay=1.0)
    return handler, Batcher(handler, stream=True, **options)


# -------------------------------------------------------------------------------- the reader's task
@pytest.mark.every_loop
async def test_a_cancelled_reader_leaves_the_batch_and_its_siblings_read_on() -> None:
    gate = asyncio.Event()
    seen: list[tuple[int, ...]] = []

    async def handler(items: list[Any]) -> AsyncIterator[list[Any]]:
        alive = yield [0] * len(items)
        while True:
            seen.append(alive)
            await gate.wait()
            gate.clear()
            alive = yield [len(seen) for _ in alive]

    batcher: Batcher[str, list[Any]] = Batcher(handler, stream=True)
    streams = [batcher.stream(item) for item in "abc"]  # held to the end
    readers = [asyncio.create_task(read(stream)) for stream in streams]
    await turns()
    readers[1].cancel()
    await turns()
    gate.set()
    await turns()
    assert readers[1].cancelled()
    assert seen == [(0, 1, 2), (0, 2)]
    for reader in readers:
        reader.cancel()
    await batcher.drain()
    assert batcher.statistics().cancelled == 3


async def test_the_handler_is_cancelled_when_every_reader_is() -> None:
    handler, batcher = counting()
    readers = [asyncio.create_task(read(batcher.stream(9))) for _ in range(2)]
    await asyncio.sleep(1.5)
    for reader in readers:
        reader.cancel()
    await batcher.drain()
    assert asyncio.get_running_loop().time() == 1.5
    assert handler.outcomes == ["CancelledError"]


async def test_without_cancel_abandoned_the_handler_ends_its_step_and_is_closed() -> None:
    handler, batcher = counting(cancel_abandoned=False)
    reader = asyncio.create_task(read(batcher.stream(9)))
    await asyncio.sleep(1.5)
    reader.cancel()
    await batcher.drain()
    assert asyncio.get_running_loop().time() == 2.0
    assert handler.outcomes == ["GeneratorExit"]


async def test_a_cancelled_reader_is_cancelled_with_its_message() -> None:
    _, batcher = counting()
    stream = batcher.stream(1)
    reader = asyncio.ensure_future(anext(stream))
    await turns()
    reader.cancel("enough")
    with pytest.raises(asyncio.CancelledError) as caught:
        await reader
    assert caught.value.args == ("enough",)


async def test_a_task_that_is_cancelled_already_waits_for_no_chunk() -> None:
    _, batcher = counting()
    stream = batcher.stream(1)

    async def doomed() -> None:
        asyncio.current_task().cancel()  # type: ignore[union-attr]
        await anext(stream)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(doomed())
    assert batcher.statistics().cancelled == 1
    await batcher.drain()


async def test_a_stream_whose_reader_was_cancelled_says_so_to_the_next() -> None:
    _, batcher = counting()
    stream = batcher.stream(3)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 0.5)
    with pytest.raises(RuntimeError) as caught:
        await anext(stream)
    assert str(caught.value) == (
        "a stream of batcher 'countdown' was given up when its reader was cancelled"
    )
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    await batcher.drain()


async def test_a_reader_that_is_cancelled_as_its_item_ends_gives_nothing_up() -> None:
    readers: list[asyncio.Future[Any]] = []

    async def handler(items: list[Any]) -> AsyncIterator[list[Any]]:
        await asyncio.sleep(1.0)
        asyncio.get_running_loop().call_soon(readers[0].cancel)
        yield [END]

    batcher: Batcher[str, list[Any]] = Batcher(handler, stream=True)
    stream = batcher.stream("x")
    readers.append(asyncio.ensure_future(anext(stream)))
    await asyncio.wait(readers)
    assert readers[0].cancelled()
    assert await read(stream) == []
    assert batcher.statistics().completed == 1


async def test_a_cancel_scope_of_anyio_ends_a_read() -> None:
    handler, batcher = counting()
    stream = batcher.stream(3)
    with anyio.move_on_after(0.5) as scope:
        await anext(stream)
    assert scope.cancelled_caught
    await batcher.drain()
    assert handler.outcomes == ["CancelledError"]


async def test_waiting_beside_a_read_cancels_nothing() -> None:
    _, batcher = counting()
    stream = batcher.stream(2)
    reading = asyncio.ensure_future(anext(stream))
    waits = 0
    while not (await asyncio.wait([reading], timeout=0.3))[0]:
        waits += 1
    assert (await reading, waits) == (1, 3)
    assert await read(stream) == [0]


async def test_a_stream_has_one_reader_at_a_time() -> None:
    _, batcher = counting()
    stream = batcher.stream(1)
    first = asyncio.ensure_future(read(stream))
    await turns()
    with pytest.raises(RuntimeError) as caught:
        await anext(stream)
    assert str(caught.value) == "a stream of batcher 'countdown' has another reader already"
    assert await first == [0]


async def test_a_reader_may_submit_to_the_same_batcher() -> None:
    _, batcher = counting(max_concurrent_batches=2)
    chunks = [(chunk, await batcher.submit(1)) async for chunk in batcher.stream(2)]
    assert chunks == [(1, [0]), (0, [0])]


async def test_when_one_reader_exits_the_others_of_the_step_are_woken() -> None:
    events = [WakeEvent(asyncio.get_running_loop()) for _ in range(3)]
    rung: list[int] = []

    def wake(number: int, _: object) -> None:
        rung.append(number)
        if number == 1:
            raise KeyboardInterrupt

    for number, event in enumerate(events):
        event.add_done_callback(partial(wake, number), context=contextvars.copy_context())
    with pytest.raises(KeyboardInterrupt):
        set_all(events)
    assert rung == [0, 1]
    await turns()
    assert rung == [0, 1, 2]


# ------------------------------------------------------------------------------------------ closing
async def test_a_closed_stream_is_over_and_its_item_leaves_the_batch() -> None:
    handler, batcher = counting()
    stream, other = batcher.stream(5), batcher.stream(3)
    await asyncio.sleep(2.5)
    await stream.aclose()
    await stream.aclose()
    assert await read(stream) == []
    assert await read(other) == [2, 1, 0]
    assert handler.steps == [(0, 1), (0, 1), (0, 1), (1,)]


async def test_a_stream_is_closed_where_its_block_ends() -> None:
    _, batcher = counting()
    async with batcher.stream(5) as stream:
        assert await anext(stream) == 4
    assert await read(stream) == []
    assert batcher.statistics().cancelled == 1
    await batcher.drain()


async def test_closing_a_stream_that_another_task_waits_for_ends_its_iteration() -> None:
    _, batcher = counting()
    stream = batcher.stream(5)
    reader = asyncio.ensure_future(read(stream))
    await turns()
    await stream.aclose()
    assert await reader == []
    await batcher.drain()


async def test_a_stream_that_is_closed_while_queued_never_reaches_the_handler() -> None:
    handler, batcher = counting()
    stream = batcher.stream(5)
    await stream.aclose()
    assert await read(batcher.stream(1)) == [0]
    assert handler.calls == [[1]]


# --------------------------------------------------------------------------------------- letting go
async def test_a_stream_that_is_left_by_break_leaves_the_batch_at_the_next_step() -> None:
    handler, batcher = counting()
    other = batcher.stream(3)
    async for chunk in batcher.stream(9):
        assert chunk == 8
        break
    assert await read(other) == [2, 1, 0]
    assert handler.steps == [(0, 1), (0,), (0,), (0,)]


async def test_a_stream_that_is_dropped_unread_gives_its_item_up() -> None:
    handler, batcher = counting()
    batcher.stream(1)
    assert batcher.statistics().cancelled == 1
    assert handler.calls == []


async def test_a_stream_that_is_collected_gives_its_item_up() -> None:
    _, batcher = counting()
    cycle: list[Any] = [batcher.stream(9)]
    cycle.append(cycle)
    await turns()
    del cycle
    gc.collect()
    assert batcher.statistics().cancelled == 1
    await batcher.drain()


@pytest.mark.every_loop
async def test_a_stream_may_be_let_go_by_another_thread() -> None:
    batcher: Batcher[int, list[Any]] = Batcher(Countdown(), stream=True, max_latency=3600.0)
    streams: list[Stream[Any]] = [batcher.stream(9)]
    thread = threading.Thread(target=streams.clear)
    thread.start()
    thread.join()
    assert batcher.statistics().cancelled == 0
    await turns()
    assert batcher.statistics().cancelled == 1


def test_a_stream_may_outlive_its_loop(loop_kind: Any) -> None:
    _, batcher = counting(max_latency=3600.0)
    kept: list[Stream[Any]] = []

    async def main() -> None:
        kept.append(batcher.stream(2))

    with pytest.warns(ResourceWarning, match="'countdown': 1; drain"):
        loop_kind.run(main)
    loop_kind.run(batcher.drain)
    kept.clear()


async def test_an_ended_stream_is_let_go_quietly() -> None:
    _, batcher = counting()
    stream = batcher.stream(1)
    await batcher.drain()
    del stream
    assert batcher.statistics().cancelled == 0


async def test_nothing_of_a_stream_stays_behind() -> None:
    class Chunk:
        pass

    left: list[weakref.ref[Any]] = []

    async def handler(items: list[Any]) -> AsyncIterator[list[Any]]:
        for _ in range(3):
            chunk = Chunk()
            left.append(weakref.ref(chunk))
            yield [chunk]
            del chunk

    batcher: Batcher[Any, list[Any]] = Batcher(handler, stream=True)
    item = Chunk()
    left.append(weakref.ref(item))
    stream = batcher.stream(item)
    left.append(weakref.ref(stream))
    del item
    async for chunk in stream:
        del chunk
    await batcher.drain()
    await turns()
    gc.disable()
    try:
        del stream
        assert [each() for each in left if each() is not None] == []
    finally:
        gc.enable()


def test_the_end_of_a_loop_ends_streams_and_their_handler(loop_kind: Any) -> None:
    handler, batcher = counting()

    async def main() -> None:
        reader = asyncio.create_task(read(batcher.stream(9)))
        await turns()
        assert not reader.done()

    loop_kind.run(main)
    assert handler.outcomes == ["CancelledError"]
