"""Slow readers: their buffers are bounded, and their timeouts run on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import Batcher, BatchTimeoutError, CapacityError
from tests.streaming.counting import Countdown, read, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from microbatch import Stream


def counting(**options: Any) -> tuple[Countdown, Batcher[int, list[Any]]]:
    handler = Countdown()
    return handler, Batcher(handler, stream=True, **options)


async def read_slowly(stream: Stream[Any], pause: float) -> list[Any]:
    chunks = []
    async for chunk in stream:
        chunks.append(chunk)
        await asyncio.sleep(pause)
    return chunks


def unread(stream: Stream[Any]) -> int:
    return len(stream._channel.chunks)


# ------------------------------------------------------------------------------------------ waiting
@pytest.mark.parametrize("size", [1, 2, 5])
async def test_the_next_step_waits_until_a_slow_reader_has_room(size: int) -> None:
    handler, batcher = counting(stream_buffer=size)
    stream, other = batcher.stream(9), batcher.stream(9)
    reading = asyncio.ensure_future(read(other))
    await turns(50)
    assert (len(handler.steps), unread(stream)) == (size, size)
    assert await anext(stream) == 8
    await turns(50)
    assert (len(handler.steps), unread(stream)) == (size + 1, size)
    assert await read(stream) == [7, 6, 5, 4, 3, 2, 1, 0]
    assert await reading == [8, 7, 6, 5, 4, 3, 2, 1, 0]


async def test_the_slowest_reader_sets_the_pace() -> None:
    _, batcher = counting(stream_buffer=1)
    fast, slow = batcher.stream(4), batcher.stream(4)
    chunks = await asyncio.gather(read(fast), read_slowly(slow, 1.0))
    assert chunks == [[3, 2, 1, 0]] * 2
    assert asyncio.get_running_loop().time() == 4.0


async def test_several_slow_readers_make_room_in_the_same_turn() -> None:
    handler, batcher = counting(stream_buffer=1)
    streams = [batcher.stream(2) for _ in range(3)]
    await turns()
    assert len(handler.steps) == 1
    assert [await anext(stream) for stream in streams] == [1, 1, 1]
    assert await asyncio.gather(*map(read, streams)) == [[0]] * 3


async def test_a_slow_reader_that_leaves_holds_nobody_up() -> None:
    _, batcher = counting(stream_buffer=1)
    slow, other = batcher.stream(5), batcher.stream(3)
    reading = asyncio.ensure_future(read(other))
    await turns()
    assert not reading.done()
    await slow.aclose()
    assert await reading == [2, 1, 0]


async def test_a_slow_reader_passes_its_timeout_and_holds_nobody_up() -> None:
    _, batcher = counting(stream_buffer=2)
    slow, other = batcher.stream(5, timeout=3.0), batcher.stream(5)
    assert await read(other) == [4, 3, 2, 1, 0]
    assert asyncio.get_running_loop().time() == 3.0
    *chunks, error = await read(slow)
    assert chunks == [4, 3]
    assert type(error) is BatchTimeoutError
    assert batcher.statistics().late == 1


async def test_a_handler_that_waits_for_readers_is_cancelled_when_they_have_gone() -> None:
    handler, batcher = counting(stream_buffer=1)
    streams = [batcher.stream(5) for _ in range(2)]
    await turns()
    for stream in streams:
        await stream.aclose()
    await batcher.drain()
    assert handler.outcomes == ["GeneratorExit"]  # it stood at its yield


async def test_without_cancel_abandoned_it_is_closed_when_they_have_gone() -> None:
    handler, batcher = counting(stream_buffer=1, cancel_abandoned=False)
    stream = batcher.stream(5)
    await turns()
    await stream.aclose()
    await batcher.drain()
    assert handler.outcomes == ["GeneratorExit"]


async def test_closing_with_a_timeout_waits_no_longer_for_a_slow_reader() -> None:
    handler, batcher = counting(stream_buffer=1)
    stream = batcher.stream(5)
    assert await batcher.aclose(timeout=2.0) == 1
    assert handler.outcomes == ["GeneratorExit"]
    assert (await read(stream))[0] == 4


async def test_submitted_items_have_no_reader_to_wait_for() -> None:
    _, batcher = counting(stream_buffer=1)
    assert await batcher.submit(5) == [4, 3, 2, 1, 0]


# ------------------------------------------------------------------------------------------ failing
async def test_a_slow_reader_fails_alone_after_what_was_in_its_buffer() -> None:
    _, batcher = counting(stream_buffer=2, stream_overflow="fail")
    slow, other = batcher.stream(5), batcher.stream(5)
    assert await read(other) == [4, 3, 2, 1, 0]
    assert asyncio.get_running_loop().time() == 0.0
    *chunks, error = await read(slow)
    assert chunks == [4, 3]
    assert type(error) is CapacityError
    assert str(error) == (
        "an item of batcher 'countdown' was read too slowly: stream_buffer is 2, "
        "and so many chunks waited for their reader"
    )
    assert batcher.statistics().failed == 1


@pytest.mark.every_loop
@pytest.mark.parametrize("overflow", ["wait", "fail"])
async def test_a_prompt_reader_of_a_hasty_handler_needs_no_buffer(overflow: Any) -> None:
    _, batcher = counting(stream_buffer=1, stream_overflow=overflow)
    streams = [batcher.stream(20) for _ in range(3)]
    expected = list(reversed(range(20)))
    assert await asyncio.gather(*map(read, streams)) == [expected] * 3


async def test_a_reader_that_is_as_slow_as_its_buffer_is_long_just_keeps_up() -> None:
    _, batcher = counting(stream_buffer=3, stream_overflow="fail")
    stream = batcher.stream(3)
    await batcher.drain()
    assert await read(stream) == [2, 1, 0]


# ----------------------------------------------------------------------------------------- timeouts
async def test_a_late_item_raises_to_its_reader_and_its_siblings_go_on() -> None:
    handler = Countdown(delay=1.0)
    batcher: Batcher[int, list[Any]] = Batcher(handler, stream=True)
    late, other = batcher.stream(9, timeout=2.5), batcher.stream(4)
    one, two = await asyncio.gather(read(late), read(other))
    assert one[:2] == [8, 7]
    assert str(one[2]) == (
        "an item of batcher 'countdown' passed its timeout of 2.5 s while it was in flight"
    )
    assert two == [3, 2, 1, 0]
    assert handler.steps == [(0, 1)] * 3 + [(1,)] * 2


async def test_the_option_bounds_every_stream_and_an_own_timeout_replaces_it() -> None:
    batcher: Batcher[int, list[Any]] = Batcher(Countdown(delay=1.0), stream=True, timeout=2.5)
    default, none = batcher.stream(4), batcher.stream(4, timeout=None)
    one, two = await asyncio.gather(read(default), read(none))
    assert type(one[-1]) is BatchTimeoutError
    assert two == [3, 2, 1, 0]
    with pytest.raises(ValueError, match=r"^timeout must be > 0, got 0$"):
        batcher.stream(1, timeout=0)


async def test_the_timeout_ends_with_the_item_and_not_with_its_reading() -> None:
    _, batcher = counting()
    stream = batcher.stream(2, timeout=1.0)
    await batcher.drain()
    await asyncio.sleep(5.0)
    assert await read(stream) == [1, 0]


async def test_a_late_item_fails_its_batch_where_it_should() -> None:
    handler = Countdown(delay=1.0)
    batcher: Batcher[int, list[Any]] = Batcher(handler, stream=True, timeout_policy="fail")
    late, other = batcher.stream(9, timeout=1.5), batcher.stream(9)
    one, two = await asyncio.gather(read(late), read(other))
    for chunks in (one, two):
        assert [type(each) for each in chunks] == [int, BatchTimeoutError]
    await batcher.drain()
    assert handler.outcomes == ["CancelledError"]


async def test_a_reader_may_wait_for_a_chunk_with_a_timeout_of_its_own() -> None:
    async def handler(items: list[Any]) -> AsyncIterator[list[Any]]:
        await asyncio.sleep(3600.0)
        yield [1]

    batcher: Batcher[str, list[Any]] = Batcher(handler, stream=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await anext(batcher.stream("x"))
    await batcher.drain()
    assert asyncio.get_running_loop().time() == 1.0
