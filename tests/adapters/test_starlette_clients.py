"""What a client has asked for is given up when it leaves, and never otherwise."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi")

from fastapi import Body, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request  # noqa: TC002 -- FastAPI reads the annotation
from starlette.responses import JSONResponse
from starlette.routing import Route

from microbatch import Batcher
from microbatch.adapters.starlette import (
    install,
    while_connected,
)
from microbatch.testing import RecordingHandler
from tests.adapters.asgi import Client, Gate, turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def through(request: Any, call_next: Any) -> Any:
    return await call_next(request)


async def reading_through(request: Any, call_next: Any) -> Any:
    await request.body()
    return await call_next(request)


MIDDLEWARE = {
    "plain": [],
    "middleware": [Middleware(BaseHTTPMiddleware, dispatch=through)],
    "reading middleware": [Middleware(BaseHTTPMiddleware, dispatch=reading_through)],
    "two middlewares": [Middleware(BaseHTTPMiddleware, dispatch=through)] * 2,
}


def starlette_app(submit: Callable[[Any], Awaitable[Any]], middleware: Any) -> Any:
    async def endpoint(request: Request) -> JSONResponse:
        item = await request.json()
        return JSONResponse(await while_connected(request, submit(item)))

    app = Starlette(routes=[Route("/", endpoint, methods=["POST"])], middleware=middleware)
    install(app)
    return app


def fastapi_app(submit: Callable[[Any], Awaitable[Any]], middleware: Any) -> Any:
    app = FastAPI(middleware=middleware)
    install(app)

    @app.post("/")
    async def endpoint(request: Request, item: Any = Body()) -> Any:  # noqa: B008
        return await while_connected(request, submit(item))

    return app


@pytest.fixture(params=[starlette_app, fastapi_app])
def kind_of_app(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=MIDDLEWARE)
def make_app(request: pytest.FixtureRequest, kind_of_app: Any) -> Any:
    return lambda submit: kind_of_app(submit, MIDDLEWARE[request.param])


async def until_queued(batcher: Batcher[Any, Any]) -> None:
    for _ in range(1000):
        if batcher.statistics().queued:
            return
        await asyncio.sleep(0)
    pytest.fail("nothing was queued")


def post(app: Any, item: str = "1") -> Client:
    return Client(app, method="POST", body=item.encode())


# ------------------------------------------------------------------------------------------ staying
@pytest.mark.every_loop
async def test_a_client_that_stays_gets_its_answer(make_app: Any) -> None:
    gate = Gate()
    batcher = Batcher(gate)
    client = post(make_app(batcher.submit))
    asking = asyncio.create_task(client.ask())
    await gate.begun.wait()
    await turns()
    gate.let.set()
    await asking
    assert (client.status, client.answer) == (200, 1)
    assert client.most_receiving == 1
    assert batcher.statistics().completed == 1


async def test_a_failure_is_what_it_is(kind_of_app: Any) -> None:
    def fail(items: list[Any]) -> list[Any]:
        raise ZeroDivisionError

    failing = Batcher(RecordingHandler(fail))
    client = post(kind_of_app(failing.submit, []))
    with pytest.raises(ZeroDivisionError):
        await client.ask()
    assert client.status == 500
    late = Batcher(RecordingHandler(lambda items: items, delay=5.0), timeout=1.0)
    assert (await post(kind_of_app(late.submit, [])).ask()).status == 504
    await late.drain()


async def test_an_answer_that_is_ready_is_given(kind_of_app: Any) -> None:
    def done(item: Any) -> Any:
        future = asyncio.get_running_loop().create_future()
        future.set_result(item)
        return future

    client = post(kind_of_app(done, []))
    client.leave()
    await client.ask()
    assert (client.status, client.answer) == (200, 1)


# ------------------------------------------------------------------------------------------ leaving
@pytest.mark.every_loop
async def test_the_queued_item_of_a_client_that_leaves_never_reaches_the_handler(
    make_app: Any,
) -> None:
    gate = Gate()
    batcher = Batcher(gate, max_batch_size=1)
    busy = batcher.submit("busy")
    await gate.begun.wait()
    client = post(make_app(batcher.submit))
    asking = asyncio.create_task(client.ask())
    await until_queued(batcher)
    client.leave()
    await asking
    assert client.status == 499
    gate.let.set()
    assert await busy == "busy"
    await batcher.drain()
    assert gate.calls == [["busy"]]
    assert batcher.statistics().cancelled == 1


async def test_the_handler_is_cancelled_once_all_its_clients_have_left(make_app: Any) -> None:
    gate = Gate()
    batcher = Batcher(gate, max_batch_size=2)
    app = make_app(batcher.submit)
    clients = [post(app, str(index)) for index in range(2)]
    asking = [asyncio.create_task(client.ask()) for client in clients]
    await gate.begun.wait()
    clients[0].leave()
    await asking[0]
    await turns()
    assert gate.cancelled == 0
    clients[1].leave()
    await asking[1]
    await batcher.drain()
    assert gate.cancelled == 1
    assert [client.status for client in clients] == [499, 499]


async def test_what_is_left_of_the_body_is_thrown_away() -> None:
    gate = Gate()
    batcher = Batcher(gate)

    async def endpoint(request: Request) -> JSONResponse:
        return JSONResponse(await while_connected(request, batcher.submit(1)))

    app = Starlette(routes=[Route("/", endpoint)])
    client = Client(app)
    client.to_come = [{"type": "http.request", "body": b"x", "more_body": True}] * 3
    asking = asyncio.create_task(client.ask())
    await gate.begun.wait()
    await turns()
    assert client.to_come == []
    gate.let.set()
    await asking
    assert client.status == 200
