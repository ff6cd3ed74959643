"""What a reader gets: each chunk once, in order and at once, and then its end."""

from __future__ import annotations

import asyncio
import copy
import pickle
import re
from typing import TYPE_CHECKING, Any

import pytest
import tenacity

from microbatch import (
    END,
    Batcher,
    BatcherClosedError,
    BatchError,
    CapacityError,
    ResultCountError,
    Stream,
    current_batch,
)
from tests.streaming.counting import Countdown, read, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def streaming(handler: Any, **options: Any) -> Batcher[Any, list[Any]]:
    return Batcher(handler, stream=True, **options)


@pytest.mark.every_loop
async def test_each_reader_gets_its_own_chunks_in_order_and_then_its_end() -> None:
    handler = Countdown()
    batcher = streaming(handler)
    streams = [batcher.stream(count) for count in (3, 0, 2)]
    assert await asyncio.gather(*map(read, streams)) == [[2, 1, 0], [], [1, 0]]
    assert handler.calls == [[3, 0, 2]]
    assert handler.steps == [(0, 1, 2), (0, 2), (0, 2), (0,)]
    await batcher.drain()
    assert handler.outcomes == ["GeneratorExit"]
    assert batcher.statistics().completed == 3


@pytest.mark.every_loop
async def test_a_chunk_is_read_before_the_handler_takes_its_next_step() -> None:
    log: list[Any] = []

    async def handler(items: list[Any]) -> AsyncIterator[list[Any]]:
        for step in range(3):
            log.append(f"step {step}")
            yield [step]  # it never waits for anything

    async for chunk in streaming(handler).stream("x"):
        log.append(chunk)  # noqa: PERF401 (the handler logs between them)
    assert log == ["step 0", 0, "step 1", 1, "step 2", 2]


async def test_chunks_come_when_they_are_yielded() -> None:
    loop = asyncio.get_running_loop()
    times = [loop.time() async for _ in streaming(Countdown(delay=2.0)).stream(3)]
    assert times == [2.0, 4.0, 6.0]


async def test_a_stream_is_submitted_at_once_and_read_later() -> None:
    handler = Countdown()
    batcher = streaming(handler)
    stream = batcher.stream(2)
    assert isinstance(stream, Stream)
    await batcher.drain()
    assert repr(stream) == "<Stream of 'countdown': done, 2 unread>"
    assert await read(stream) == [1, 0]
    assert await read(stream) == []


async def test_submitting_gives_the_list_of_all_chunks() -> None:
    batcher = streaming(Countdown(), max_batch_size=3)
    assert await batcher.submit(3) == [2, 1, 0]
    assert await batcher.submit_many([1, 2]) == [[0], [1, 0]]
    assert [chunks async for chunks in batcher.map([0, 1])] == [[], [0]]
    assert await asyncio.gather(read(batcher.stream(1)), batcher.submit(2)) == [[0], [1, 0]]


async def test_whatever_is_no_end_and_no_exception_is_a_chunk() -> None:
    chunks: list[Any] = [None, False, [], "text", END.__class__]

    async def handler(items: list[Any]) -> AsyncIterator[list[Any]]:
        for chunk in chunks:
            yield [chunk]

    assert await read(streaming(handler).stream("x")) == chunks


def test_the_end_is_one_object_that_copies_and_pickles_know() -> None:
    assert repr(END) == "END"
    assert copy.deepcopy(END) is END
    assert pickle.loads(pickle.dumps(END)) is END


# -------------------------------------------------------------------------------- the handler's end
async def test_the_rest_is_finished_when_the_handler_returns() -> None:
    async def handler(items: list[Any]) -> AsyncIterator[list[Any]]:
        yield [1, 2]
        yield [3, END]

    batcher = streaming(handler)
    streams = batcher.stream("a"), batcher.stream("b"), batcher.submit("c")
    outcomes = await asyncio.gather(*map(read, streams[:2]), streams[2], return_exceptions=True)
    assert isinstance(outcomes[2], ResultCountError)
    one, other = batcher.stream("a"), batcher.submit("b")
    assert await asyncio.gather(read(one), other) == [[1, 3], [2]]


async def test_a_handler_that_yields_nothing_finishes_all() -> None:
    async def handler(items: list[Any]) -> AsyncIterator[list[Any]]:
        for _ in ():
            yield []

    batcher = streaming(handler)
    assert await asyncio.gather(read(batcher.stream(1)), batcher.submit(2)) == [[], []]


async def test_a_handler_that_fails_gives_each_reader_its_chunks_and_then_its_own_copy() -> None:
    original = ValueError("no more")

    async def handler(items: list[Any]) -> AsyncIterator[list[Any]]:
        yield [1, 2]
        raise original

    batcher = streaming(handler)
    one, other = await asyncio.gather(read(batcher.stream("a")), read(batcher.stream("b")))
    assert (one[0], other[0]) == (1, 2)
    assert [type(each[1]) for each in (one, other)] == [ValueError, ValueError]
    assert one[1] is not other[1]
    assert one[1].__cause__ is other[1].__cause__ is original
    assert batcher.statistics().failed == 2


async def test_a_failure_is_raised_once_and_whoever_reads_on_is_at_the_end() -> None:
    async def handler(items: list[Any]) -> AsyncIterator[list[Any]]:
        yield [KeyError("x")]

    stream = streaming(handler).stream("a")
    with pytest.raises(KeyError):
        await anext(stream)
    for _ in range(2):
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    assert [chunk async for chunk in stream] == []


async def test_an_exception_in_a_place_is_raised_to_that_reader_alone() -> None:
    error = ValueError("poison")

    async def handler(items: list[Any]) -> AsyncIterator[list[Any]]:
        assert (yield [1, 2]) == (0, 1)
        assert (yield [error, 3]) == (1,)
        yield [4]

    batcher = streaming(handler)
    poison, other = await asyncio.gather(read(batcher.stream("p")), read(batcher.stream("o")))
    assert other == [2, 3, 4]
    assert poison[0] == 1
    assert type(poison[1]) is ValueError
    assert poison[1].__cause__ is error


@pytest.mark.parametrize("end", [StopIteration, StopIteration()], ids=["class", "instance"])
async def test_stop_iteration_is_no_end_of_an_item_and_the_error_names_what_is(end: Any) -> None:
    async def handler(items: list[Any]) -> AsyncIterator[list[Any]]:
        yield [1, 2]
        yield [end, 3]

    batcher = streaming(handler)
    ended, other = await asyncio.gather(read(batcher.stream("e")), read(batcher.stream("o")))
    assert other == [2, 3]
    assert ended[0] == 1
    assert str(ended[1]) == (
        "handler 'handler' must yield microbatch.END for an item that is finished, "
        "got StopIteration"
    )


async def test_a_handler_without_items_left_is_closed_where_it_stands() -> None:
    cleaned_up = []

    async def handler(items: list[Any]) -> AsyncIterator[list[Any]]:
        try:
            while True:
                yield [END]
        finally:
            await asyncio.sleep(1.0)
            cleaned_up.append(asyncio.get_running_loop().time())

    batcher = streaming(handler)
    assert await read(batcher.stream("a")) == []
    assert cleaned_up == []
    assert batcher.statistics().slots_busy == 1
    await batcher.drain()
    assert cleaned_up == [1.0]


# ------------------------------------------------------------------------------------- wrong steps
@pytest.mark.parametrize("count", [0, 1, 3])
async def test_a_step_with_a_wrong_number_of_chunks_fails_those_still_there(count: int) -> None:
    async def handler(items: list[Any]) -> AsyncIterator[list[Any]]:
        yield [0, END, 1]
        yield [2] * count

    batcher = streaming(handler)
    a, b, c = await asyncio.gather(*(read(batcher.stream(item)) for item in "abc"))
    assert b == []
    assert (a[0], c[0]) == (0, 1)
    for error in (a[1], c[1]):
        assert type(error) is ResultCountError
        assert (error.expected, error.received) == (2, count)
        assert str(error) == (
            f"handler 'handler' must yield one chunk for each of 2 items still there, got {count}"
        )


A_LIST = ": yield a list with one chunk for each item"


@pytest.mark.parametrize(
    ("step", "advice"),
    [
        ("ab", A_LIST),
        (b"a", A_LIST),
        (7, A_LIST),
        (iter([1]), ", which has no places: yield a list of what it gives"),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_a_step_that_is_no_sequence_fails_those_still_there(step: Any, advice: str) -> None:
    async def handler(items: list[Any]) -> AsyncIterator[Any]:
        yield step

    (error,) = await read(streaming(handler).stream("a"))
    assert type(error) is BatchError
    assert str(error) == (
        "handler 'handler' must yield a sequence of chunks or None, "
        f"got {type(step).__qualname__}{advice}"
    )


async def test_a_step_may_be_any_sized_sequence_or_nothing() -> None:
    async def handler(items: list[Any]) -> AsyncIterator[Any]:
        assert (yield) == (0, 1)
        yield (1, 2)
        yield range(3, 5)

    batcher = streaming(handler)
    streams = [batcher.stream(item) for item in "ab"]
    assert await asyncio.gather(*map(read, streams)) == [[1, 3], [2, 4]]


# ------------------------------------------------------------------------------------ around a call
async def test_a_handler_of_plain_yields_asks_who_is_there() -> None:
    seen: list[Any] = []

    async def handler(items: list[int]) -> AsyncIterator[list[Any]]:
        for step in range(3):
            batch = current_batch()
            seen.append((batch.alive, batch.abandoned, batch.size))
            yield [step if items[place] > step else END for place in batch.alive]

    batcher = streaming(handler)
    assert await asyncio.gather(*map(read, map(batcher.stream, (1, 3)))) == [[0], [0, 1, 2]]
    assert seen == [((0, 1), (), 2), ((0, 1), (), 2), ((1,), (0,), 2)]


async def test_streams_wait_for_companions_and_slots_as_items_do() -> None:
    handler = Countdown(delay=1.0)
    batcher = streaming(handler, max_batch_size=2, max_latency=5.0)
    streams = [batcher.stream(1) for _ in range(5)]
    assert await asyncio.gather(*map(read, streams)) == [[0]] * 5
    assert handler.calls == [[1, 1], [1, 1], [1]]
    assert asyncio.get_running_loop().time() == 11.0


async def test_a_stream_beyond_the_capacity_waits_or_is_refused_or_drops_another() -> None:
    waiting = streaming(Countdown(), capacity=1)
    first, second = waiting.stream(1), waiting.stream(2)
    assert await asyncio.gather(read(first), read(second)) == [[0], [1, 0]]
    refusing = streaming(Countdown(), capacity=1, overflow="reject")
    first = refusing.stream(1)
    with pytest.raises(CapacityError):
        refusing.stream(2)
    assert await read(first) == [0]
    dropping = streaming(Countdown(delay=1.0), capacity=2, overflow="drop_oldest")
    first = dropping.stream(1)
    await turns()
    oldest, newest = dropping.stream(2), dropping.stream(3)
    assert [type(each) for each in await read(oldest)] == [CapacityError]
    assert await asyncio.gather(read(first), read(newest)) == [[0], [2, 1, 0]]


async def test_closing_finishes_streams_and_refuses_new_ones() -> None:
    async with streaming(Countdown(delay=1.0)) as batcher:
        stream = batcher.stream(2)
    assert await read(stream) == [1, 0]
    with pytest.raises(BatcherClosedError):
        batcher.stream(1)


async def test_closing_with_a_timeout_gives_streams_up() -> None:
    handler = Countdown(delay=1.0)
    batcher = streaming(handler)
    stream = batcher.stream(10)
    await turns()
    assert await batcher.aclose(timeout=2.5) == 1
    chunks = await read(stream)
    assert chunks[:2] == [9, 8]
    assert [type(each) for each in chunks[2:]] == [BatcherClosedError]
    assert handler.outcomes == ["CancelledError"]


def test_a_second_loop_streams_as_the_first(loop_kind: Any) -> None:
    batcher = streaming(Countdown())

    async def main() -> list[Any]:
        return await read(batcher.stream(2))

    assert [loop_kind.run(main) for _ in range(2)] == [[1, 0], [1, 0]]


def test_a_stream_needs_a_running_loop() -> None:
    with pytest.raises(RuntimeError, match="was used where no event loop runs"):
        streaming(Countdown()).stream(1)


# --------------------------------------------------------------------------------- what is refused
async def results(items: list[int]) -> list[int]:
    return items


def plain(items: list[int]) -> list[int]:
    return items


def plain_generator(items: list[int]) -> Any:
    yield items


@pytest.mark.parametrize("handler", [results, plain, plain_generator])
def test_only_an_async_generator_can_stream(handler: Any) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        streaming(handler)
    assert str(caught.value) == (
        "stream=True needs an async generator for a handler, "
        f"and {handler.__name__!r} is not one: let it yield"
    )


def test_chunks_cannot_wait_for_the_order_of_submission() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        streaming(Countdown(), ordering="ordered")
    assert str(caught.value) == (
        "stream=True gives each chunk at once, so ordering must be 'unordered', got 'ordered'"
    )


def test_no_policy_answers_for_late_streams() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        streaming(Countdown(), timeout_policy=results)
    assert str(caught.value) == (
        "stream=True gives chunks and no results, so timeout_policy must be one of "
        f"'partial', 'fail', got {results!r}"
    )


async def test_a_batcher_that_does_not_stream_has_no_streams() -> None:
    batcher: Batcher[int, Any] = Batcher(results)
    with pytest.raises(RuntimeError) as caught:
        batcher.stream(1)
    assert str(caught.value) == "batcher 'results' has no streams: it was made without stream=True"


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"columnar": True}, "gives lists of chunks, so columnar must be False, got True"),
        ({"dedupe": len}, "gives each chunk to one reader, so dedupe must be None, got <built-in"),
        ({"retry": tenacity.AsyncRetrying()}, "that cannot be taken back, so retry must be None"),
        ({"on_error": "bisect"}, "cannot be taken back, so on_error must be 'fail', got 'bisect'"),
    ],
)
def test_what_cannot_go_with_streams_is_refused(options: dict[str, Any], rule: str) -> None:
    async def handler(items: list[str]) -> AsyncIterator[list[str]]:
        yield items

    with pytest.raises(ValueError, match=re.escape(rule)):
        Batcher(handler, stream=True, **options)


async def test_streams_have_keys_weights_and_priorities_too() -> None:
    calls: list[list[str]] = []

    async def spell(words: list[str]) -> AsyncIterator[list[Any]]:
        calls.append(words)
        for letters in zip(*words, strict=True):
            yield list(letters)

    batcher: Batcher[str, list[str]] = Batcher(
        spell,
        stream=True,
        key=len,
        weigh=len,
        max_batch_weight=4,
        priority=lambda word: int(word != "urgent"),
    )
    streams = [batcher.stream(word) for word in ("ab", "urgent", "cd", "ef")]
    streams.append(batcher.stream("gh", key="other", weight=0, priority=-1))
    spelled = [[letter async for letter in stream] for stream in streams]
    assert list(map("".join, spelled)) == ["ab", "urgent", "cd", "ef", "gh"]
    assert calls == [["urgent"], ["gh"], ["ab", "cd"], ["ef"]]


async def test_a_key_alone_is_enough_for_streams() -> None:
    async def spell(words: list[str]) -> AsyncIterator[list[Any]]:
        assert len({word[0] for word in words}) == 1
        for letters in zip(*words, strict=True):
            yield list(letters)

    batcher: Batcher[str, list[str]] = Batcher(spell, stream=True, key=lambda word: word[0])
    streams = [batcher.stream(word) for word in ("ab", "cd", "ae")]
    assert ["".join([letter async for letter in stream]) for stream in streams] == [
        "ab",
        "cd",
        "ae",
    ]
