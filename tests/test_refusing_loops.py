"""A loop that refuses to call back, once or for a while, leaves nothing stuck."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from microbatch import Batcher
from microbatch.testing import RecordingHandler, VirtualClockEventLoop, run


class Refusing(VirtualClockEventLoop):
    """Refuse callbacks and timers of ours with a MemoryError, while ``refused`` lasts."""

    refused = 0

    def _refuse(self, callback: Any) -> None:
        ours = type(getattr(callback, "__self__", None)).__module__ == "microbatch._core"
        if ours and self.refused:
            self.refused -= 1
            raise MemoryError

    def call_soon(self, callback: Any, *args: Any, **named: Any) -> Any:
        self._refuse(callback)
        return super().call_soon(callback, *args, **named)

    def call_soon_threadsafe(self, callback: Any, *args: Any, **named: Any) -> Any:
        self._refuse(callback)
        return super().call_soon_threadsafe(callback, *args, **named)

    def call_at(self, when: float, callback: Any, *args: Any, **named: Any) -> Any:
        self._refuse(callback)
        return super().call_at(when, callback, *args, **named)


def refuse(times: int) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Refusing)
    loop.refused = times


OPTIONS: list[dict[str, Any]] = [
    {},
    {"max_latency": 1.0},
    {"key": str},
    {"key": str, "max_latency": 1.0},
    {"dedupe": str},
    {"timeout": 5.0, "max_latency": 1.0},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_an_item_that_nobody_would_come_for_is_refused_and_later_ones_are_handled(
    options: Any,
) -> None:
    async def main() -> None:
        batcher: Batcher[int, int] = Batcher(RecordingHandler(), **options)
        refuse(99)
        for submit in (batcher.submit, batcher._submit_waiting):
            with pytest.raises(MemoryError):
                submit(1)
        with pytest.raises(MemoryError):
            batcher.submit_many([1, 2])
        refuse(0)
        assert await batcher.submit(3) == 3
        now = batcher.statistics()
        assert (now.submitted, now.cancelled, now.completed) == (5, 4, 1)
        await batcher.aclose()

    run(main, loop_factory=Refusing)


def test_a_loop_that_refuses_once_is_asked_in_its_other_way() -> None:
    async def main() -> None:
        batcher: Batcher[int, int] = Batcher(RecordingHandler())
        refuse(1)
        assert await batcher.submit(1) == 1

    run(main, loop_factory=Refusing)


def test_who_waits_for_a_ticket_that_was_cancelled_in_vain_is_woken_with_the_next_batch() -> None:
    async def main() -> None:
        handler: RecordingHandler[int, int] = RecordingHandler(delay=9.0)
        batcher: Batcher[int, int] = Batcher(handler, max_batch_size=1)
        first, second = batcher.submit(1), batcher.submit(2)
        waiting = asyncio.gather(second, return_exceptions=True)
        await asyncio.sleep(1.0)
        refuse(9)
        with pytest.raises(MemoryError):
            second.cancel()
        refuse(0)
        assert second.cancelled()
        assert await first == 1
        (outcome,) = await waiting
        assert isinstance(outcome, asyncio.CancelledError)
        assert await batcher.submit(3) == 3

    run(main, loop_factory=Refusing)


def test_the_last_caller_that_cancels_in_vain_still_has_the_handler_cancelled() -> None:
    async def main() -> None:
        handler: RecordingHandler[int, int] = RecordingHandler(delay=9.0)
        batcher: Batcher[int, int] = Batcher(handler)
        ticket = batcher.submit(1)
        await asyncio.sleep(1.0)
        refuse(9)
        with pytest.raises(MemoryError):
            ticket.cancel()
        refuse(0)
        await batcher.drain()
        assert [call.outcome for call in handler.calls] == ["cancelled"]

    run(main, loop_factory=Refusing)


def test_late_items_and_those_after_them_outlive_a_loop_that_refuses() -> None:
    async def main() -> None:
        handler: RecordingHandler[int, int] = RecordingHandler(delay=9.0)
        batcher: Batcher[int, int] = Batcher(handler, max_batch_size=1, timeout=20.0)
        complaints: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        first = batcher.submit(1)
        late = asyncio.gather(batcher.submit(2, timeout=5.0), return_exceptions=True)
        third = batcher.submit(3)
        await asyncio.sleep(4.0)
        refuse(2)
        await asyncio.sleep(2.0)
        refuse(0)
        assert await first == 1
        assert isinstance((await late)[0], TimeoutError)
        assert await third == 3
        assert [type(each["exception"]) for each in complaints] == [MemoryError]

    run(main, loop_factory=Refusing)


@pytest.mark.every_loop
async def test_a_ticket_that_another_thread_cancels_wakes_its_waiters_in_debug_mode_too() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    handler.hold()
    batcher: Batcher[int, int] = Batcher(handler)
    asyncio.get_running_loop().set_debug(True)
    ticket = batcher.submit(1)
    waiting = asyncio.gather(ticket, return_exceptions=True)
    await asyncio.sleep(0)
    cancelled: list[bool] = []
    thread = threading.Thread(target=lambda: cancelled.append(ticket.cancel()))
    thread.start()
    thread.join()
    (outcome,) = await waiting
    assert isinstance(outcome, asyncio.CancelledError)
    assert cancelled == [True]
    handler.release()
    assert await batcher.submit(2) == 2
