"""What only an interrupt in the wrong place shows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from microbatch import Batcher, BatcherClosedError, BlockingBatcher, HandlerCancelledError
from microbatch._threads.inbox import Inbox, ThreadFuture


class Interrupting(asyncio.SelectorEventLoop):
    """A loop that is interrupted when it is next told of something."""

    interrupts = 0

    def call_soon_threadsafe(self, *args: Any, **kwargs: Any) -> Any:
        if self.interrupts:
            self.interrupts -= 1
            raise KeyboardInterrupt
        return super().call_soon_threadsafe(*args, **kwargs)


def start_with(loop: asyncio.AbstractEventLoop, result: int) -> Any:
    def start() -> asyncio.Future[int]:
        future: asyncio.Future[int] = loop.create_future()
        future.set_result(result)
        return future

    return start


def test_an_interrupted_signal_strands_nobody() -> None:
    loop = Interrupting()
    inbox = Inbox(loop, "name")
    first, second = (ThreadFuture(inbox, start_with(loop, number)) for number in range(2))
    loop.interrupts = 1
    with pytest.raises(KeyboardInterrupt):
        inbox.post(first)
    inbox.post(second)
    for _ in range(2):
        loop.run_until_complete(asyncio.sleep(0))
    assert (first.result(0), second.result(0)) == (0, 1)
    loop.close()


class Closing(asyncio.SelectorEventLoop):
    """A loop that is closed while it is told of something."""

    def call_soon_threadsafe(self, *args: Any, **kwargs: Any) -> Any:
        self.close()
        return args


def test_a_loop_that_is_closed_while_it_is_told_leaves_nobody_hanging() -> None:
    loop = Closing()
    inbox = Inbox(loop, "name")
    answer = ThreadFuture[int](inbox, start_with(loop, 1))
    inbox.post(answer)
    assert isinstance(answer.exception(0), BatcherClosedError)


def test_an_interrupt_after_the_loop_was_closed_goes_on() -> None:
    loop = Interrupting()
    inbox = Inbox(loop, "name")
    loop.close()
    loop.interrupts = 1
    with pytest.raises(KeyboardInterrupt):
        inbox.post(ThreadFuture(inbox, start_with(loop, 1)))


def test_an_exit_request_while_items_are_begun_leaves_the_others_to_come() -> None:
    loop = asyncio.new_event_loop()
    inbox = Inbox(loop, "name")

    def exits() -> Any:
        raise SystemExit

    first = ThreadFuture[int](inbox, exits)
    second = ThreadFuture[int](inbox, start_with(loop, 2))
    inbox.post(first)
    inbox.post(second)
    with pytest.raises(SystemExit):
        loop.run_until_complete(asyncio.sleep(0))
    assert isinstance(first.exception(0), HandlerCancelledError)
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    assert second.result(0) == 2
    loop.close()


def test_what_is_lost_while_the_loop_comes_to_it_is_left_alone() -> None:
    loop = asyncio.new_event_loop()
    complaints: list[Any] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    inbox = Inbox(loop, "name")

    def lost() -> Any:
        inbox.lose()  # as a thread does that closes and finds the loop at rest
        return start_with(loop, 1)()

    first, second = ThreadFuture[int](inbox, lost), ThreadFuture[int](inbox, start_with(loop, 2))
    inbox.post(first)
    inbox.post(second)
    for _ in range(2):
        loop.run_until_complete(asyncio.sleep(0))
    assert first.result(0) == 1
    assert isinstance(second.exception(0), BatcherClosedError)
    assert complaints == []
    loop.close()


def test_a_task_that_ends_with_its_loop_is_no_cancellation_of_the_caller() -> None:
    loop = asyncio.new_event_loop()
    inbox = Inbox(loop, "name")
    future = loop.create_future()
    answer = ThreadFuture[int](inbox, lambda: future)
    inbox.post(answer)
    loop.run_until_complete(asyncio.sleep(0))
    future.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    assert str(answer.exception(0)) == "batcher 'name' is closed, or its event loop has ended"
    loop.close()


def test_a_result_that_comes_after_the_cancellation_is_dropped() -> None:
    loop = asyncio.new_event_loop()
    inbox = Inbox(loop, "name")
    future = loop.create_future()
    answer = ThreadFuture[int](inbox, lambda: future)
    inbox.post(answer)
    loop.run_until_complete(asyncio.sleep(0))
    future.set_result(1)
    assert answer.cancel()
    for _ in range(2):
        loop.run_until_complete(asyncio.sleep(0))
    assert answer.cancelled()
    loop.close()


def test_a_drain_that_is_interrupted_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def double(items: list[int]) -> list[int]:
        return [2 * item for item in items]

    posted: list[ThreadFuture[Any]] = []

    def interrupted(answer: ThreadFuture[Any], timeout: float | None = None) -> None:
        posted.append(answer)
        raise KeyboardInterrupt

    with BlockingBatcher(Batcher(double)) as batcher:
        batcher.submit(1).result(10)
        with monkeypatch.context() as patched:
            patched.setattr(ThreadFuture, "result", interrupted)
            with pytest.raises(KeyboardInterrupt):
                batcher.drain()
    assert posted[0].done()
