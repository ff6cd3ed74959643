"""A ticket is awaited and asked as any future is."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
from collections.abc import Awaitable
from typing import Any

import pytest

from microbatch import Ticket
from tests.interop.trouble import Trouble

pytestmark = pytest.mark.every_loop


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# -------------------------------------------------------------------------------------------- await
async def test_await_gives_the_result(batcher: Any) -> None:
    assert await batcher.submit(1) == 1


async def test_await_raises_the_exception(batcher: Any) -> None:
    with pytest.raises(Trouble, match=r"^bad$"):
        await batcher.submit("bad")


@pytest.mark.parametrize(
    "result", [None, (), (1, 2), StopIteration, Exception, [], "x", float("nan"), NotImplemented]
)
async def test_await_gives_any_result_as_it_is(batcher: Any, result: Any) -> None:
    assert await batcher.submit(result) is result


async def test_a_ticket_can_be_awaited_again_and_by_several(batcher: Any) -> None:
    ticket = batcher.submit(1)

    async def wait() -> Any:
        return await ticket

    assert await asyncio.gather(*(wait() for _ in range(3))) == [1, 1, 1]
    assert await ticket == 1


async def test_a_task_that_awaits_a_ticket_can_be_cancelled(batcher: Any, handler: Any) -> None:
    handler.hold()

    async def wait() -> Any:
        return await batcher.submit(1)

    task = asyncio.create_task(wait())
    await turns()
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await task
    await turns()
    assert batcher.statistics().cancelled == 1


async def test_a_coroutine_that_awaits_a_ticket_handles_its_own_cancellation(
    batcher: Any, handler: Any
) -> None:
    handler.hold()
    seen = []

    async def wait() -> str:
        try:
            await batcher.submit(1)
        except asyncio.CancelledError:
            seen.append("cancelled")
        handler.release()
        return await batcher.submit("again")  # type: ignore[no-any-return]

    task = asyncio.create_task(wait())
    await turns()
    task.cancel()
    assert await task == "again"
    assert seen == ["cancelled"]


# --------------------------------------------------------------------------------- what a ticket is
async def test_a_ticket_is_a_future_to_asyncio_and_no_coroutine(batcher: Any) -> None:
    ticket = batcher.submit(1)
    assert asyncio.isfuture(ticket)
    assert isinstance(ticket, Ticket)
    assert isinstance(ticket, Awaitable)
    assert inspect.isawaitable(ticket)
    assert not asyncio.iscoroutine(ticket)
    assert not inspect.iscoroutine(ticket)
    assert asyncio.ensure_future(ticket) is ticket
    assert ticket.get_loop() is asyncio.get_running_loop()
    await ticket


async def test_a_ticket_tells_how_it_stands(batcher: Any, handler: Any) -> None:
    handler.hold()
    ticket = batcher.submit(1)
    assert (ticket.done(), ticket.cancelled()) == (False, False)
    for ask in (ticket.result, ticket.exception):
        with pytest.raises(asyncio.InvalidStateError):
            ask()
    handler.release()
    await ticket
    assert (ticket.done(), ticket.cancelled(), ticket.result()) == (True, False, 1)
    assert ticket.exception() is None
    assert ticket.cancel() is False


async def test_a_ticket_tells_of_its_exception(batcher: Any) -> None:
    ticket = batcher.submit("bad")
    await asyncio.wait([ticket])
    assert isinstance(ticket.exception(), Trouble)
    with pytest.raises(Trouble):
        ticket.result()


async def test_a_ticket_tells_of_its_cancellation(batcher: Any) -> None:
    ticket = batcher.submit(1)
    assert ticket.cancel("enough")
    assert (ticket.done(), ticket.cancelled()) == (True, True)
    assert ticket.cancel() is False
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await ticket
    with pytest.raises(asyncio.CancelledError):
        ticket.exception()


async def test_callbacks_are_called_soon_and_never_at_once(batcher: Any) -> None:
    ticket = batcher.submit(1)
    calls: list[tuple[str, Any]] = []
    ticket.add_done_callback(lambda done: calls.append(("before", done)))
    ticket.add_done_callback(lambda done: calls.append(("second", done)))
    await ticket
    await turns()
    ticket.add_done_callback(lambda done: calls.append(("after", done)))
    assert [name for name, _ in calls] == ["before", "second"]
    await turns()
    assert [name for name, _ in calls] == ["before", "second", "after"]
    assert all(done is ticket for _, done in calls)


async def test_a_callback_can_be_taken_back(batcher: Any) -> None:
    ticket = batcher.submit(1)
    calls: list[Any] = []
    for _ in range(2):
        ticket.add_done_callback(calls.append)
    assert ticket.remove_done_callback(calls.append) == 2
    assert ticket.remove_done_callback(print) == 0
    await ticket
    await turns()
    assert calls == []


async def test_a_callback_that_raises_is_reported_and_harms_nobody(batcher: Any) -> None:
    reports: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, report: reports.append(report))

    def fail(_: Any) -> None:
        raise Trouble("callback")

    first, second = batcher.submit(1), batcher.submit(2)
    first.add_done_callback(fail)
    assert await asyncio.gather(first, second) == [1, 2]
    (report,) = reports
    assert isinstance(report["exception"], Trouble)
    assert report["message"].startswith("Exception in callback <function ")
    assert report["message"].endswith("of <Ticket of 'recording': returned>")


# ------------------------------------------------------------------------------- tickets that fail
async def test_an_awaitable_that_yields_the_ticket_is_thrown_its_failure(batcher: Any) -> None:
    class Yielding:
        def __await__(self) -> Any:
            ticket = batcher.submit("bad")
            ticket._asyncio_future_blocking = True
            yield ticket
            raise AssertionError("asyncio throws a future's failure where it was yielded")

    with pytest.raises(Trouble):
        await Yielding()


@pytest.mark.parametrize("copying", [copy.copy, copy.deepcopy, pickle.dumps])
async def test_a_ticket_cannot_be_copied(batcher: Any, copying: Any) -> None:
    ticket = batcher.submit(1)
    with pytest.raises(TypeError):
        copying(ticket)
    await ticket
