"""Handlers that are plain functions run in threads."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from microbatch import Batcher, HandlerCancelledError
from tests.handlers.asking import outcomes


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Gate:
    """Hold a handler in its thread until a test lets it go on."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.leave = threading.Event()
        self.calls: list[list[int]] = []

    def __call__(self, items: list[int]) -> list[int]:
        self.calls.append(items)
        self.entered.set()
        assert self.leave.wait(10)
        return items

    async def until_entered(self) -> None:
        await asyncio.to_thread(self.entered.wait, 10)


@pytest.mark.every_loop
async def test_as_many_threads_work_as_there_are_slots() -> None:
    slots = 50  # more than the pool gives to those who share its limit
    together = threading.Barrier(slots, timeout=10)

    def handler(items: list[int]) -> list[int]:
        together.wait()
        return items

    batcher: Batcher[int, int] = Batcher(handler, max_batch_size=1, max_concurrent_batches=slots)
    assert await batcher.submit_many(range(slots)) == list(range(slots))


async def test_a_plain_function_runs_in_another_thread() -> None:
    threads = []

    def handler(items: list[int]) -> None:
        threads.append(threading.get_ident())

    await outcomes(Batcher(handler))
    assert threads[0] != threading.get_ident()


@pytest.mark.every_loop
async def test_a_cancelled_call_holds_its_slot_until_its_thread_has_ended() -> None:
    gate = Gate()
    batcher = Batcher(gate)
    first = batcher.submit(1)
    await gate.until_entered()
    first.cancel()
    second = batcher.submit(2)
    await turns()
    assert batcher.statistics().slots_busy == 1
    assert gate.calls == [[1]]
    gate.leave.set()
    assert await second == 2
    assert gate.calls == [[1], [2]]


async def test_closing_past_its_timeout_waits_for_the_thread() -> None:
    gate = Gate()
    batcher = Batcher(gate)
    ticket = batcher.submit(1)
    await gate.until_entered()
    closing = asyncio.create_task(batcher.aclose(timeout=0))
    await turns()
    assert ticket.done()
    assert not closing.done()
    gate.leave.set()
    assert await closing == 1


async def test_a_thread_that_fails_after_its_callers_left_tells_nobody() -> None:
    gate = Gate()

    def handler(items: list[int]) -> None:
        gate(items)
        raise ZeroDivisionError

    batcher: Batcher[int, None] = Batcher(handler)
    ticket = batcher.submit(1)
    await gate.until_entered()
    ticket.cancel()
    gate.leave.set()
    await batcher.drain()
    assert batcher.statistics().cancelled == 1


async def test_a_call_that_is_cancelled_twice_still_waits_for_its_thread() -> None:
    gate = Gate()
    batcher = Batcher(gate)
    ticket = batcher.submit(1)
    await gate.until_entered()
    ticket.cancel()
    await turns()
    closing = asyncio.create_task(batcher.aclose(timeout=0))
    await turns()
    assert not closing.done()
    gate.leave.set()
    assert await closing == 0


def test_the_end_of_a_loop_does_not_wait_for_a_thread(loop_kind: Any) -> None:
    gate = Gate()
    batcher = Batcher(gate)
    tickets = []

    async def leave() -> None:
        tickets.append(batcher.submit(1))
        await gate.until_entered()

    loop_kind.run(leave)
    assert isinstance(tickets[0].exception(), HandlerCancelledError)
    gate.leave.set()


async def test_an_exception_in_a_thread_reaches_each_caller() -> None:
    def handler(items: list[int]) -> None:
        raise ZeroDivisionError("thread")

    errors = await outcomes(Batcher(handler))
    assert [type(each) for each in errors] == [ZeroDivisionError] * 2


async def test_stop_iteration_in_a_thread_is_a_runtime_error_as_in_a_coroutine() -> None:
    def in_thread(items: list[int]) -> None:
        raise StopIteration

    async def handler(items: list[int]) -> None:
        raise StopIteration

    for each in (in_thread, handler):
        errors = await outcomes(Batcher(each))
        assert [type(error) for error in errors] == [RuntimeError] * 2


# --------------------------------------------------------------------- when the interpreter ends
SHUTDOWN = "can't create new thread at interpreter shutdown"


@pytest.mark.parametrize("message", [SHUTDOWN, "can't start new thread"])
async def test_where_no_thread_starts_any_more_the_loop_handles_the_last_items(
    message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run_sync(*_: Any, **__: Any) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr("anyio.to_thread.run_sync", run_sync)
    batcher: Batcher[int, int] = Batcher(lambda items: [2 * item for item in items], name="plain")
    (outcome,) = await asyncio.gather(batcher.submit(1), return_exceptions=True)
    assert str(outcome) == ("2" if message == SHUTDOWN else message)


async def test_a_handler_that_fails_so_itself_is_not_called_again() -> None:
    calls: list[list[int]] = []

    def handler(items: list[int]) -> None:
        calls.append(items)
        raise RuntimeError(SHUTDOWN)

    (outcome,) = await asyncio.gather(Batcher(handler).submit(1), return_exceptions=True)
    assert (str(outcome), calls) == (SHUTDOWN, [[1]])
