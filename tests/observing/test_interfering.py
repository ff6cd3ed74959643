"""An observer that interferes with the batch that it is told of hurts neither it nor others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import tenacity

from microbatch import BatchDispatched, BatchEnded, Batcher, current_batch
from microbatch.testing import RecordingHandler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def parts(items: list[int]) -> AsyncIterator[tuple[int, int]]:
    for place, item in enumerate(items):
        yield place, item


async def steps(items: list[int]) -> AsyncIterator[list[int]]:
    assert current_batch().alive == tuple(range(len(items)))
    yield items


async def whole(items: list[int]) -> list[int]:
    assert current_batch().size == len(items)
    return items


def plain(items: list[int]) -> list[int]:
    return items


POLICY = tenacity.AsyncRetrying(stop=tenacity.stop_after_attempt(2))


@pytest.mark.parametrize(
    ("handler", "options"),
    [
        (whole, {}),
        (plain, {}),
        (parts, {}),
        (parts, {"ordering": "ordered"}),
        (whole, {"retry": POLICY}),
        (whole, {"on_error": "bisect"}),
        (steps, {"stream": True}),
    ],
)
async def test_who_is_given_up_as_a_batch_is_dispatched_harms_no_sibling(
    handler: Any, options: Any
) -> None:
    def observer(event: BatchDispatched | BatchEnded) -> None:
        tickets[0].cancel()

    batcher: Batcher[Any, Any] = Batcher(handler, observer=observer, **options)
    tickets: list[Any] = [batcher.submit(item) for item in range(3)]
    given_up, *others = await asyncio.gather(*tickets, return_exceptions=True)
    assert type(given_up) is asyncio.CancelledError
    assert others == ([[1], [2]] if "stream" in options else [1, 2])
    await batcher.drain()


@pytest.mark.parametrize("size", [1, 2])  # a full batch is dispatched from within submit()
async def test_a_cancellation_that_an_observer_raises_is_an_error_of_its_own(size: int) -> None:
    def observer(event: BatchDispatched | BatchEnded) -> None:
        raise asyncio.CancelledError

    reports: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, report: reports.append(report))
    batcher: Batcher[int, int] = Batcher(RecordingHandler(), observer=observer, max_batch_size=size)
    assert await batcher.submit(1) == 1
    assert [report["message"] for report in reports] == [
        "Exception in observer of batcher 'recording'"
    ] * 2
    assert {type(report["exception"]) for report in reports} == {asyncio.CancelledError}


async def test_a_batch_that_an_observer_submits_comes_after_the_one_that_it_is_told_of() -> None:
    def observer(event: BatchDispatched | BatchEnded) -> None:
        if len(tickets) < 2:
            submit(1)

    def submit(item: int) -> None:
        tickets.append(item)
        batcher.submit(item).add_done_callback(lambda ticket: done.append(ticket.result()))

    tickets: list[int] = []
    done: list[int] = []
    handler: RecordingHandler[int, int] = RecordingHandler(delay=lambda items: 2.0 - items[0])
    batcher = Batcher(
        handler,
        observer=observer,
        ordering="ordered",
        max_batch_size=1,
        max_concurrent_batches=2,
    )
    submit(0)
    await batcher.drain()
    assert done == [0, 1]


def test_an_exit_request_of_an_observer_leaves_no_later_batch_behind(loop_kind: Any) -> None:
    def observer(event: BatchDispatched | BatchEnded) -> None:
        if isinstance(event, BatchEnded) and not exits:
            exits.append(event)
            raise SystemExit(3)

    async def main() -> None:
        handler: RecordingHandler[int, int] = RecordingHandler(delay=lambda items: 3.0 - items[0])
        batcher = Batcher(
            handler,
            observer=observer,
            ordering="ordered",
            max_batch_size=1,
            max_concurrent_batches=3,
        )
        tickets.extend(batcher.submit(item) for item in range(3))
        try:
            await asyncio.sleep(60.0)
        finally:
            results.extend(await asyncio.gather(*tickets))

    exits: list[Any] = []
    tickets: list[Any] = []
    results: list[int] = []
    with pytest.raises(SystemExit):
        loop_kind.run(main)
    assert results == [0, 1, 2]


async def test_an_end_tells_the_occupancy_that_the_batch_was_dispatched_with() -> None:
    events: list[Any] = []
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, observer=events.append, max_batch_size=4)
    ticket = batcher.submit_many([1, 2])
    await asyncio.sleep(0.5)
    batcher.reconfigure(max_batch_size=1)
    await ticket
    assert [event.occupancy for event in events] == [0.5, 0.5]
