"""A stream behind HTTP: its client may leave, and what fails at first has a status."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi")

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from microbatch import END, Batcher, BatchTimeoutError
from microbatch.adapters.starlette import (
    ClientClosedRequest,
    StreamResponse,
    install,
    while_connected,
)
from tests.adapters.asgi import Client, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

EVERY_SERVER = pytest.mark.parametrize("spec_version", ["2.0", "2.3", "2.4"])


class Teller:
    """A streaming handler that takes a step whenever it is let."""

    def __init__(self, steps: int = 3) -> None:
        self.let = asyncio.Event()
        self.steps = steps
        self.taken = 0
        self.ended = False
        self.batcher: Batcher[str, list[str]] = Batcher(self.tell, stream=True)

    async def tell(self, words: list[str]) -> AsyncIterator[list[Any]]:
        alive = range(len(words))
        try:
            for step in range(self.steps):
                await self.let.wait()
                self.taken = step + 1
                alive = yield [f"{words[place]}{step} " for place in alive]
            yield [END for _ in alive]
        finally:
            self.ended = True


async def through(request: Any, call_next: Any) -> Any:
    return await call_next(request)


def app_with(respond: Callable[[], Any], kind: Any = Starlette, **options: Any) -> Any:
    async def endpoint(request: Any) -> Any:
        return respond()

    app = kind(routes=[Route("/", endpoint)], **options)
    install(app)
    return app


async def lines(teller: Teller, seen: list[str]) -> AsyncIterator[bytes]:
    """Make server-sent events of a stream."""
    try:
        async with teller.batcher.stream("a") as words:
            async for word in words:
                yield f"data: {word}\n\n".encode()
    finally:
        seen.append("closed")


# --------------------------------------------------------------------------------------- to the end
@EVERY_SERVER
@pytest.mark.parametrize("kind", [Starlette, FastAPI])
async def test_a_stream_is_a_body(kind: Any, spec_version: str) -> None:
    teller = Teller()
    teller.let.set()
    app = app_with(
        lambda: StreamResponse(teller.batcher.stream("a"), media_type="text/plain"), kind
    )
    client = await Client(app, spec_version=spec_version).ask()
    assert (client.status, client.body) == (200, b"a0 a1 a2 ")
    assert client.headers["content-type"] == "text/plain; charset=utf-8"
    assert [message.get("more_body") for message in client.sent] == [None, *[True] * 3, False]


async def test_a_generator_that_reads_a_stream_is_a_body() -> None:
    teller, seen = Teller(), []
    teller.let.set()
    client = await Client(app_with(lambda: StreamResponse(lines(teller, seen)))).ask()
    assert client.body == b"data: a0 \n\ndata: a1 \n\ndata: a2 \n\n"
    assert seen == ["closed"]


async def test_a_stream_without_chunks_is_an_empty_body() -> None:
    teller = Teller(steps=0)
    client = await Client(app_with(lambda: StreamResponse(teller.batcher.stream("a")))).ask()
    assert (client.status, client.body) == (200, b"")


async def test_what_can_only_be_iterated_is_a_body() -> None:
    class Chunks:
        def __init__(self) -> None:
            self.left = ["a", b"b", bytearray(b"c"), memoryview(b"d")]

        def __aiter__(self) -> Any:
            return self

        async def __anext__(self) -> Any:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    client = await Client(app_with(lambda: StreamResponse(Chunks()))).ask()
    assert client.body == b"abcd"


# ------------------------------------------------------------------------------- clients that leave
@EVERY_SERVER
@pytest.mark.parametrize("middlewares", [0, 1, 2])
@pytest.mark.parametrize("chunks", [0, 1])
@pytest.mark.parametrize("generated", [False, True])
async def test_the_stream_of_a_client_that_leaves_is_given_up_at_once(
    spec_version: str, middlewares: int, chunks: int, generated: bool
) -> None:
    teller, seen = Teller(), []

    def respond() -> Any:
        return StreamResponse(lines(teller, seen) if generated else teller.batcher.stream("a"))

    middleware = [Middleware(BaseHTTPMiddleware, dispatch=through)] * middlewares
    client = Client(app_with(respond, middleware=middleware), spec_version=spec_version)
    asking = asyncio.create_task(client.ask())
    await turns(20)
    if chunks:
        teller.let.set()
        await turns(1)
        teller.let.clear()
        await turns(20)
        assert teller.taken == 1
    assert not asking.done()
    client.leave()
    await turns(20)
    assert teller.ended
    assert teller.batcher.statistics().cancelled == 1
    assert seen == ["closed"] * generated
    await asking
    assert client.status == (200 if chunks else 499)


@EVERY_SERVER
@pytest.mark.parametrize("generated", [False, True])
async def test_it_is_given_up_while_the_client_reads_nothing(
    spec_version: str, generated: bool
) -> None:
    teller, seen = Teller(), []
    teller.let.set()

    def respond() -> Any:
        return StreamResponse(lines(teller, seen) if generated else teller.batcher.stream("a"))

    client = Client(app_with(respond), spec_version=spec_version)
    client.reads.clear()
    asking = asyncio.create_task(client.ask())
    await turns(20)
    client.leave()
    await asking
    assert client.sent == []
    await teller.batcher.drain()
    assert seen == ["closed"] * generated


async def test_a_plain_response_gives_the_stream_up_where_the_server_tells_it() -> None:
    teller = Teller()
    client = Client(app_with(lambda: StreamingResponse(teller.batcher.stream("a"))))
    asking = asyncio.create_task(client.ask())
    await turns(20)
    client.leave()
    await asking
    await teller.batcher.drain()
    assert teller.batcher.statistics().cancelled == 1


@pytest.mark.parametrize("leaves", [False, True])
async def test_the_background_task_runs_in_any_case(leaves: bool) -> None:
    teller, done = Teller(), []
    task = BackgroundTask(lambda: done.append("done"))

    def respond() -> Any:
        return StreamResponse(teller.batcher.stream("a"), background=task)

    client = Client(app_with(respond))
    asking = asyncio.create_task(client.ask())
    await turns(20)
    if leaves:
        client.leave()
    else:
        teller.let.set()
    await asking
    assert done == ["done"]


async def test_the_whole_of_a_stream_is_given_up_as_any_item_is() -> None:
    teller = Teller()
    left = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    request = Request({"type": "http"}, receive)
    asking = asyncio.ensure_future(while_connected(request, teller.batcher.submit("a")))
    await turns()
    left.set()
    with pytest.raises(ClientClosedRequest):
        await asking
    await teller.batcher.drain()
    assert teller.batcher.statistics().cancelled == 1


# ---------------------------------------------------------------------------------- what goes wrong
@EVERY_SERVER
async def test_what_fails_before_the_first_chunk_has_a_status_of_its_own(spec_version: str) -> None:
    teller = Teller()
    app = app_with(lambda: StreamResponse(teller.batcher.stream("a", timeout=1.0)))
    client = await Client(app, spec_version=spec_version).ask()
    assert client.status == 504
    assert "1" in client.answer["detail"]


async def test_what_fails_later_cuts_the_answer() -> None:
    teller = Teller()
    teller.let.set()
    body = "a0 "

    async def words() -> AsyncIterator[str]:
        yield body
        raise BatchTimeoutError("late")

    client = Client(app_with(lambda: StreamResponse(words())))
    with pytest.raises(RuntimeError, match="response already started") as caught:
        await client.ask()
    assert isinstance(caught.value.__cause__, BatchTimeoutError)
    assert client.body == body.encode()
    assert client.sent[-1]["more_body"] is True


async def test_chunks_that_are_no_text_are_refused() -> None:
    async def numbers() -> AsyncIterator[Any]:
        yield 3

    client = Client(app_with(lambda: StreamResponse(numbers())))
    with pytest.raises(TypeError) as caught:
        await client.ask()
    assert str(caught.value) == "chunks of a response must be str or bytes, got 3"
    assert client.status == 500


async def test_a_stream_cannot_be_awaited() -> None:
    stream = Teller().batcher.stream("a")
    with pytest.raises(TypeError) as caught:
        await while_connected(Request({"type": "http"}), stream)  # type: ignore[arg-type]
    expected = f"work must be awaitable; give StreamResponse a stream, got {stream!r}"
    assert str(caught.value) == expected
    await stream.aclose()
    await turns()
