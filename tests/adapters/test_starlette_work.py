"""Whatever an endpoint awaits for a client is given up when it leaves, and answered if it stays."""

from __future__ import annotations

import asyncio
import collections.abc
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("starlette")

from starlette.exceptions import HTTPException
from starlette.requests import Request

from microbatch import Batcher, batched
from microbatch.adapters.starlette import ClientClosedRequest, while_connected
from tests.adapters.asgi import Gate, turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


# ----------------------------------------------------------------------- what can be awaited for it
class FutureAndCoroutine(asyncio.Future[Any]):
    """A future that counts as a coroutine, as a call of an async function may."""

    def send(self, value: Any) -> Any:
        raise AssertionError("a future is awaited, not driven")

    def throw(self, *error: Any) -> Any:
        raise AssertionError("a future is awaited, not driven")

    def close(self) -> None:
        raise AssertionError("a future is awaited, not driven")


collections.abc.Coroutine.register(FutureAndCoroutine)


async def asked(work: Callable[[], Awaitable[Any]]) -> tuple[asyncio.Task[Any], asyncio.Event]:
    """Await something for a client, whose leaving is an event."""
    left = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def endpoint() -> Any:
        return await while_connected(Request({"type": "http"}, receive), work())

    task = asyncio.create_task(endpoint())
    await turns()
    return task, left


@pytest.mark.every_loop
async def test_a_future_is_awaited_as_it_is_even_if_it_counts_as_a_coroutine() -> None:
    work = FutureAndCoroutine(loop=asyncio.get_running_loop())
    assert asyncio.iscoroutine(work)
    task, _ = await asked(lambda: work)
    assert len(asyncio.all_tasks()) == 3  # this one, the endpoint, and the one that listens
    work.set_result(1)
    assert await task == 1
    work = FutureAndCoroutine(loop=asyncio.get_running_loop())
    task, left = await asked(lambda: work)
    left.set()
    with pytest.raises(ClientClosedRequest):
        await task
    assert work.cancelled()


@pytest.mark.every_loop
async def test_decorated_calls_submissions_and_coroutines_are_all_given_up() -> None:
    gate = Gate()
    embed = batched(max_batch_size=10)(gate.__call__)

    async def coroutine() -> Any:
        return await embed("in a coroutine")

    class Awaitable_:
        def __await__(self) -> Any:
            return embed("in an awaitable").__await__()

    works: list[Any] = [
        lambda: embed("called"),
        lambda: embed.submit("submitted"),
        lambda: embed.submit_many(["many", "of them"]),
        coroutine,
        Awaitable_,
    ]
    asking = [await asked(work) for work in works]
    for _, left in asking:
        left.set()
    for task, _ in asking:
        with pytest.raises(ClientClosedRequest):
            await task
    await embed.drain()
    now = embed.statistics()
    assert (now.submitted, now.cancelled) == (6, 6)


@pytest.mark.every_loop
async def test_decorated_calls_submissions_and_coroutines_are_all_answered() -> None:
    @batched()
    async def embed(items: list[Any]) -> list[Any]:
        return items

    async def coroutine() -> Any:
        return await embed(3)

    works: list[Any] = [
        lambda: embed(1),
        lambda: embed.submit(2),
        coroutine,
        lambda: embed.submit_many([4, 5]),
    ]
    asking = [await asked(work) for work in works]
    assert [await task for task, _ in asking] == [1, 2, 3, [4, 5]]


# ------------------------------------------------------------------------ being cancelled, and both
@pytest.mark.every_loop
async def test_an_endpoint_that_is_cancelled_gives_its_item_up() -> None:
    gate = Gate()
    batcher = Batcher(gate)
    task, left = await asked(lambda: batcher.submit(1))
    task.cancel()
    left.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await batcher.drain()
    assert gate.cancelled == 1


async def test_a_timeout_around_it_is_a_timeout_even_as_the_client_leaves() -> None:
    gate = Gate()
    batcher = Batcher(gate)
    left = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    asyncio.get_running_loop().call_later(1.0, left.set)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await while_connected(Request({"type": "http"}, receive), batcher.submit(1))
    await batcher.drain()
    assert left.is_set()


async def test_work_that_somebody_else_cancels_is_cancelled() -> None:
    batcher = Batcher(Gate())
    ticket = batcher.submit(1)
    task, _ = await asked(lambda: ticket)
    ticket.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await batcher.drain()


async def test_work_that_ends_otherwise_when_it_is_cancelled_does_so() -> None:
    async def stubborn() -> str:
        try:
            return await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return "an answer, still"

    task, left = await asked(stubborn)
    left.set()
    assert await task == "an answer, still"


async def test_a_task_that_was_cancelled_before_and_went_on_is_told_that_its_client_left() -> None:
    left = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def endpoint() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()
        work = asyncio.get_running_loop().create_future()
        await while_connected(Request({"type": "http"}, receive), work)

    task = asyncio.create_task(endpoint())
    await turns()
    task.cancel()
    await turns()
    left.set()
    with pytest.raises(ClientClosedRequest):
        await task


async def test_a_server_that_fails_to_listen_is_heard() -> None:
    async def receive() -> dict[str, Any]:
        raise ZeroDivisionError

    work = asyncio.get_running_loop().create_future()
    with pytest.raises(ZeroDivisionError):
        await while_connected(Request({"type": "http"}, receive), work)
    assert work.cancelled()


# ----------------------------------------------------------------------------------- what is raised
def test_what_is_raised_is_an_http_exception_that_can_be_told_from_others() -> None:
    error = ClientClosedRequest()
    assert isinstance(error, HTTPException)
    assert (error.status_code, error.detail) == (499, "the client closed the request")


async def test_what_is_wrong_is_said() -> None:
    request = Request({"type": "http"})
    work = asyncio.get_running_loop().create_future()
    with pytest.raises(TypeError) as caught:
        await while_connected(work, request)  # type: ignore[arg-type]
    assert str(caught.value) == f"request must be a starlette Request, got {work!r}"
    with pytest.raises(TypeError) as caught:
        await while_connected(request, 3)  # type: ignore[arg-type]
    expected = "work must be awaitable, as a Ticket or a coroutine is, got 3"
    assert str(caught.value) == expected
    with pytest.raises(RuntimeError, match="Receive channel"):
        await while_connected(request, work)
