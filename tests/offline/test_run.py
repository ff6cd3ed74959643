"""Rows through a batcher: one answer for each, in order, in bounded memory."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microbatch import Batcher, batched, testing
from microbatch.offline.jsonl import JsonLines, Row
from microbatch.offline.run import Counts, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Source:
    """Give rows a block at a time, as a file does."""

    def __init__(self, *blocks: bytes, error: OSError | None = None) -> None:
        self.blocks = list(blocks)
        self.error = error
        self.lines = JsonLines()
        self.given = 0
        self.ended = False
        self.stopped = False

    async def read(self) -> Iterator[Row] | None:
        if self.stopped:
            return None
        if self.blocks:
            return self.counted(self.lines.feed(self.blocks.pop(0)))
        if self.error:
            raise self.error
        self.ended = True
        return None

    def counted(self, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            self.given += 1
            yield row

    def stop(self) -> None:
        self.stopped = True


class Sink:
    """Keep the lines."""

    def __init__(self, error: OSError | None = None) -> None:
        self.lines: list[Any] = []
        self.error = error

    async def write(self, lines: Sequence[bytes], /) -> None:
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        self.lines += [json.loads(line) for line in lines]


def numbers(count: int) -> bytes:
    return b"".join(b"%d\n" % number for number in range(count))


def failed(line: int, stage: str, kind: str, message: str) -> dict[str, Any]:
    return {"error": {"line": line, "stage": stage, "type": kind, "message": message}}


async def answer(
    batcher: Batcher[Any, Any], *blocks: bytes, window: int = 100
) -> tuple[list[Any], Counts]:
    sink = Sink()
    counts = await Run(Source(*blocks), batcher, sink, window=window).run()
    return sink.lines, counts


async def same(rows: list[Any]) -> list[Any]:
    return rows


# ------------------------------------------------------------------------------- order and errors
async def test_each_row_has_its_answer_in_its_place() -> None:
    lines, counts = await answer(Batcher(same, max_batch_size=3), numbers(10))
    assert lines == list(range(10))
    assert (counts.read, counts.written, counts.bytes_done) == (10, 10, 20)
    assert (counts.failed, counts.first_failure, counts.stopped) == ({}, None, False)


async def test_no_rows_are_no_lines() -> None:
    assert (await answer(Batcher(same)))[0] == []


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_order_is_kept_whatever_fails_and_however_long_it_takes(data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 40))
    bad = data.draw(st.sets(st.integers(0, 40)))
    times = data.draw(st.lists(st.integers(0, 5), min_size=41, max_size=41))
    window = data.draw(st.integers(1, 12))

    async def handler(rows: list[int]) -> list[Any]:
        await asyncio.sleep(times[rows[0]])
        if times[rows[0]] == 3:
            raise ValueError("all")
        return [KeyError("one") if row in bad else row for row in rows]

    async def main() -> list[Any]:
        batcher = Batcher(handler, max_batch_size=4, max_concurrent_batches=3)
        return (await answer(batcher, numbers(count), window=window))[0]

    for row, line in enumerate(testing.run(main)):
        assert line == row or line["error"]["line"] == row + 1
        assert row in bad or line == row or line["error"]["message"] == "all"


async def test_a_malformed_line_is_an_error_in_its_place() -> None:
    lines, counts = await answer(Batcher(same), b"1\n\nx\n4\n")
    assert lines == [
        1,
        failed(2, "parse", "ValueError", "the line is blank"),
        failed(3, "parse", "JSONDecodeError", "Expecting value: column 1"),
        4,
    ]
    assert counts.failed == {"parse": 2}
    assert counts.first_failure == "line 2: ValueError: the line is blank"


async def test_a_handler_that_raises_fails_the_rows_of_its_batch() -> None:
    async def handler(rows: list[int]) -> list[int]:
        if 2 in rows:
            raise KeyError("two")
        return rows

    lines, counts = await answer(Batcher(handler, max_batch_size=2), numbers(6))
    two = [failed(line, "handler", "KeyError", "'two'") for line in (3, 4)]
    assert lines == [0, 1, *two, 4, 5]
    assert counts.failed == {"handler": 2}
    assert counts.first_failure is not None
    assert counts.first_failure.startswith("line 3: KeyError: 'two' (test_run.py:")


async def test_an_error_answered_for_one_row_fails_that_row() -> None:
    async def handler(rows: list[int]) -> list[Any]:
        return [ValueError("odd") if row % 2 else row for row in rows]

    lines, counts = await answer(Batcher(handler), numbers(3))
    assert lines == [0, failed(2, "handler", "ValueError", "odd"), 2]
    assert counts.first_failure == "line 2: ValueError: odd"


async def test_a_failure_is_told_with_its_place_in_the_handler() -> None:
    def handler(rows: list[int]) -> list[int]:
        raise ValueError("all")

    _, counts = await answer(Batcher(handler), numbers(1))
    line = handler.__code__.co_firstlineno + 1
    assert counts.first_failure == f"line 1: ValueError: all (test_run.py:{line})"


async def test_a_failure_of_a_batcher_in_the_handler_is_told_with_its_place_in_the_handler() -> (
    None
):
    inner: Batcher[int, Any] = Batcher(lambda rows: [LookupError("inner")])

    async def handler(rows: list[int]) -> list[int]:
        return await inner.submit_many(rows)

    _, counts = await answer(Batcher(handler), numbers(1))
    line = handler.__code__.co_firstlineno + 1
    assert counts.first_failure == f"line 1: LookupError: inner (test_run.py:{line})"


async def test_a_handler_that_cannot_be_called_has_no_place() -> None:
    def handler() -> None: ...

    _, counts = await answer(Batcher(handler), numbers(1))  # type: ignore[arg-type]
    assert counts.first_failure is not None
    assert counts.first_failure.endswith(".handler() takes 0 positional arguments but 1 was given")


async def test_an_error_that_is_wrapped_on_its_way_is_told_as_it_was() -> None:
    async def handler(rows: list[int]) -> list[Any]:
        return [StopIteration("over")]  # which no coroutine can raise to its caller

    assert (await answer(Batcher(handler), numbers(1)))[0] == [
        failed(1, "handler", "StopIteration", "over")
    ]


async def test_too_few_results_fail_the_batch() -> None:
    async def handler(rows: list[int]) -> list[int]:
        return rows[1:]

    lines, counts = await answer(Batcher(handler), numbers(2))
    message = lines[0]["error"].pop("message")
    assert counts.first_failure == f"line 1: ResultCountError: {message}"
    assert "must return one result for each of 2 items, got 1" in message
    assert lines[0] == {"error": {"line": 1, "stage": "handler", "type": "ResultCountError"}}


async def test_a_late_row_is_a_timeout() -> None:
    async def handler(rows: list[int]) -> list[int]:
        await asyncio.sleep(2 if 0 in rows else 0)
        return rows

    batcher = Batcher(handler, max_batch_size=2, max_concurrent_batches=2, timeout=1.0)
    lines, counts = await answer(batcher, numbers(4))
    assert [line["error"]["stage"] for line in lines[:2]] == ["timeout", "timeout"]
    assert lines[0]["error"]["type"] == "BatchTimeoutError"
    assert lines[2:] == [2, 3]
    assert counts.failed == {"timeout": 2}


async def test_a_result_that_is_not_json_is_an_error() -> None:
    async def handler(rows: list[int]) -> list[Any]:
        return [object(), 1]

    lines, counts = await answer(Batcher(handler), numbers(2))
    message = "a result must be JSON or have tolist(), got object"
    assert lines == [failed(1, "encode", "TypeError", message), 1]
    assert counts.first_failure == f"line 1: TypeError: {message}"


async def test_a_row_that_cannot_be_submitted_is_an_error() -> None:
    class Closed(Batcher[Any, Any]):
        def submit(self, item: Any, /, **options: Any) -> Any:
            raise LookupError("no key")

    lines, _ = await answer(Closed(same), numbers(1))
    assert lines == [failed(1, "handler", "LookupError", "no key")]


async def test_a_decorated_handler_of_several_parameters_takes_lists() -> None:
    @batched()
    async def add(left: list[int], right: list[int]) -> list[int]:
        return [one + two for one, two in zip(left, right, strict=True)]

    rows = b'[1, 2]\n{"right": 4, "left": 3}\n5\n{"left": 6}\n'
    assert (await answer(add, rows))[0] == [
        3,
        7,
        failed(
            3,
            "handler",
            "TypeError",
            "a row must be an object or an array for the parameters left and right, got 5",
        ),
        failed(4, "handler", "TypeError", "add() missing 1 required positional argument: 'right'"),
    ]


async def test_a_decorated_handler_of_one_parameter_takes_rows_as_they_are() -> None:
    @batched()
    async def same(*, rows: list[Any]) -> list[Any]:
        return rows

    given: Batcher[Any, Any] = same
    assert (await answer(given, b'[1]\n{"rows": 2}\n'))[0] == [[1], {"rows": 2}]


# ------------------------------------------------------------------------------ memory and waiting
async def test_no_more_rows_are_taken_than_the_window_holds() -> None:
    source, sink, most = Source(numbers(50), numbers(50)), Sink(), []

    async def handler(rows: list[int]) -> list[int]:
        await asyncio.sleep(1)
        most.append(source.given - len(sink.lines))
        return rows

    counts = await Run(source, Batcher(handler, max_batch_size=4), sink, window=10).run()
    assert counts.written == 100
    assert max(most) == 11  # one is parsed, and waits for room


async def test_a_window_smaller_than_a_batch_does_not_wait_for_more() -> None:
    batcher, loop = Batcher(same, max_latency=1000.0, capacity=3), asyncio.get_running_loop()
    lines, _ = await answer(batcher, numbers(9), window=3)
    assert lines == list(range(9))
    assert loop.time() < 1.0


async def test_the_last_rows_do_not_wait_for_companions() -> None:
    started = asyncio.get_running_loop().time()
    lines, _ = await answer(Batcher(same, max_latency=1000.0), numbers(3))
    assert lines == [0, 1, 2]
    assert asyncio.get_running_loop().time() - started < 1.0


async def test_a_row_is_answered_while_the_next_is_not_there_yet() -> None:
    more = asyncio.Event()

    class Live(Source):
        async def read(self) -> Iterator[Row] | None:
            if not self.blocks:
                await more.wait()
            return await super().read()

    sink, seen = Sink(), []

    def progress(counts: Counts) -> None:
        seen.append(counts.written)
        more.set()

    await Run(Live(b"1\n2\n"), Batcher(same), sink, window=9, on_progress=progress).run()
    assert sink.lines == [1, 2]
    assert seen == [2]


# ---------------------------------------------------------------------------------------- the end
async def stopped_in_the_first_call(
    source: Source, *, window: int, **options: Any
) -> tuple[list[Any], Counts]:
    async def handler(rows: list[int]) -> list[int]:
        await asyncio.sleep(1)
        run.stop()
        return rows

    sink = Sink()
    run = Run(source, Batcher(handler, max_batch_size=2, **options), sink, window=window)
    return sink.lines, await run.run()


async def test_stopping_leaves_the_rows_of_a_block_that_are_not_under_way() -> None:
    source = Source(numbers(50), numbers(50))
    lines, counts = await stopped_in_the_first_call(source, window=5)
    assert lines == [0, 1, 2, 3, 4]
    assert (counts.read, counts.written, counts.bytes_done) == (5, 5, 10)
    assert counts.stopped


async def test_stopping_leaves_the_one_row_that_waits_for_room() -> None:
    lines, counts = await stopped_in_the_first_call(Source(numbers(4)), window=3)
    assert lines == [0, 1, 2]
    assert counts.stopped


async def test_stopping_between_blocks_finishes_the_rows_under_way() -> None:
    class Waiting(Source):
        async def read(self) -> Iterator[Row] | None:
            if len(self.blocks) == 1:
                await stopped.wait()
            return await super().read()

        def stop(self) -> None:
            super().stop()
            stopped.set()

    stopped = asyncio.Event()
    lines, counts = await stopped_in_the_first_call(Waiting(numbers(3), numbers(3)), window=9)
    assert lines == [0, 1, 2]
    assert counts.stopped


async def test_stopping_with_every_row_under_way_stops_nothing() -> None:
    lines, counts = await stopped_in_the_first_call(Source(numbers(3)), window=9)
    assert lines == [0, 1, 2]
    assert not counts.stopped


async def test_rows_under_way_do_not_wait_for_companions_once_it_is_stopped() -> None:
    started = asyncio.get_running_loop().time()
    source = Source(numbers(9))
    lines, _ = await stopped_in_the_first_call(source, window=3, max_latency=1000.0)
    assert lines == [0, 1, 2]
    assert asyncio.get_running_loop().time() - started < 10.0


async def test_stopping_after_the_last_row_stops_nothing() -> None:
    run = Run(Source(numbers(1)), Batcher(same), Sink(), window=3)
    await run.run()
    run.stop()
    assert not run.counts.stopped


async def test_an_error_of_the_source_ends_the_rows() -> None:
    error, sink = OSError(5, "broken disk"), Sink()
    counts = await Run(Source(numbers(3), error=error), Batcher(same), sink, window=9).run()
    assert sink.lines == [0, 1, 2]
    assert counts.read_error is error


@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
async def test_an_error_of_the_sink_ends_the_run_and_gives_up_what_is_outstanding(
    sync: bool,
) -> None:
    calls: list[list[int]] = []

    def plain(rows: list[int]) -> list[int]:
        calls.append(rows)
        return rows

    async def coroutine(rows: list[int]) -> list[int]:
        return plain(rows)

    handler: Callable[[list[int]], Any] = plain if sync else coroutine
    run = Run(
        Source(b"oops\n" + numbers(99)),
        Batcher(handler, max_batch_size=2),
        Sink(BrokenPipeError()),
        window=50,
    )
    with pytest.raises(BrokenPipeError):
        await run.run()
    assert len(calls) < 10
    assert run.counts.written == 0


async def test_a_bug_of_the_source_is_raised() -> None:
    class Buggy(Source):
        async def read(self) -> Iterator[Row] | None:
            raise RuntimeError("bug")

    with pytest.raises(RuntimeError, match="bug"):
        await Run(Buggy(), Batcher(same), Sink(), window=1).run()
