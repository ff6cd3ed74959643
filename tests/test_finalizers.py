"""What finalizers do in the middle of preparing a handler call."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from microbatch import Batcher
from microbatch.testing import RecordingHandler


@contextlib.contextmanager
def during(event: str, function: str, act: Callable[[], object]) -> Iterator[None]:
    """Do something when a function of that name is called, or returns, as a collection might."""

    def profile(frame: FrameType, happened: str, _: Any) -> None:
        if happened == event and frame.f_code.co_name == function:
            act()

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(before)


async def test_a_handler_is_cancelled_whose_items_are_given_up_before_it_is_called() -> None:
    ends: list[str] = []

    async def handler(items: list[str]) -> list[str]:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        return items

    batcher = Batcher(handler)
    ticket = batcher.submit("a")
    with during("call", "_start", ticket.cancel):
        await asyncio.wait([ticket])
    await batcher.drain()
    assert ends in ([], ["cancelled"])  # where it has begun, with an eager task
    assert batcher.statistics().slots_busy == 0


async def test_a_handler_is_not_called_for_nobody() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    ticket = Batcher(handler, on_error="bisect").submit("a")
    with during("call", "_call", ticket.cancel):
        await asyncio.wait([ticket])
        await asyncio.sleep(0)
    assert handler.calls == []


async def test_an_answer_is_for_the_items_that_the_handler_was_called_with() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher = Batcher(handler, on_error="bisect")
    one, two = batcher.submit("a"), batcher.submit("b")
    with during("return", "narrow", one.cancel):
        await asyncio.wait([one, two])
    assert [call.items for call in handler.calls] == [("a", "b")]
    assert two.result() == "b"


async def test_what_leaves_before_a_call_is_not_in_it() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher = Batcher(handler, on_error="bisect")
    one, two = batcher.submit("a"), batcher.submit("b")
    with during("call", "narrow", one.cancel):
        await asyncio.wait([one, two])
    assert [call.items for call in handler.calls] == [("b",)]
    assert two.result() == "b"


async def test_results_come_in_the_order_of_taking_whichever_batch_starts_first() -> None:
    done: list[str] = []

    handler = RecordingHandler[str, str](delay=lambda items: 1.0 if items == ["a"] else 0.0)
    batcher = Batcher(handler, max_latency=1.0, max_concurrent_batches=2, ordering="ordered")
    tickets = [batcher.submit("a")]

    def submit_another() -> None:
        if len(tickets) == 1:
            tickets.append(batcher.submit("b"))
            batcher.flush()

    with during("call", "depart", submit_another):
        batcher.flush()
    for ticket in tickets:
        ticket.add_done_callback(lambda ticket: done.append(ticket.result()))
    await asyncio.wait(tickets)
    await asyncio.sleep(0)
    assert done == ["a", "b"]


async def test_what_is_submitted_while_a_loop_is_new_to_a_batcher_is_handled_too() -> None:
    batcher: Batcher[str, str] = Batcher(RecordingHandler())
    tickets: list[Any] = []

    def submit_another() -> None:
        if not tickets:
            tickets.append(None)
            tickets.append(batcher.submit("inner"))

    with during("call", "make_lane", submit_another):
        outer = batcher.submit("outer")
    assert await asyncio.gather(outer, tickets[1]) == ["outer", "inner"]
    assert batcher.statistics().submitted == 2
