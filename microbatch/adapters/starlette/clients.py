"""Give up what a client has asked for when it leaves before the answer."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from microbatch import Stream

__all__ = ["ClientClosedRequest", "StreamResponse", "while_connected"]

R = TypeVar("R")


class ClientClosedRequest(HTTPException):
    """Say that the client went away before its answer: status 499, which nobody is left to read.

    It is an HTTPException, so that nothing has to be done about it: the access log shows the 499,
    and no error is reported.
    """

    def __init__(self) -> None:
        super().__init__(499, "the client closed the request")


async def while_connected(request: Request, work: Awaitable[R]) -> R:
    """Await a result, or give it up when the client leaves first.

    ::

        vector = await while_connected(request, embed(text))

    ``work`` is what a batcher's ``submit``, ``submit_many`` or a decorated function gives, any
    other future, or a coroutine. When the client disconnects it is cancelled, so an item that is
    still queued never reaches the handler, and ClientClosedRequest is raised. Left alone, an
    endpoint runs on when its client has gone, and so does its item.

    When this is cancelled ``work`` is, too. An answer that is ready is given, whether the client
    is still there or not. What is not read of the request's body by then is thrown away, so an
    endpoint that reads it does so before; FastAPI has read it. Until this returns nothing else may
    receive from the request.
    """
    check_request(request)
    check_work(work)
    return await unless_gone(request.receive, asyncio.ensure_future(work))


class StreamResponse(StreamingResponse):
    """A StreamingResponse whose body is a ``microbatch.Stream``, or reads one.

    ::

        @app.get("/tokens")
        async def tokens(prompt: str) -> StreamResponse:
            return StreamResponse(generate(prompt), media_type="text/plain")

    The body is an async iterable of str or bytes: a Stream of such chunks, or an async generator
    that makes them of one. It differs from a StreamingResponse in this:

    - When the client leaves, the item is given up at once, with every server. A StreamingResponse
      leaves it to some servers to say so, and these do when the next chunk is sent.
    - The body is closed at the end, whatever ended it: a generator's ``finally`` and ``async with``
      blocks run then, and not when its garbage is collected.
    - The status is sent with the first chunk. What fails before it, as an item that was refused or
      waited too long, is still an exception to the app's handlers, and gets a status of its own.

    A client that leaves before the first chunk is a ClientClosedRequest, as with while_connected.
    What fails later can only cut the connection, so that the client doesn't take the part for the
    whole.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send it, as ASGI asks."""
        self._begun, left = False, None
        try:
            await unless_gone(receive, asyncio.ensure_future(self.stream_response(send)))
        except ClientClosedRequest as error:
            left = error
        if self.background is not None:
            await self.background()
        if left is not None and not self._begun:  # an app that answers nothing is an error
            raise left

    async def stream_response(self, send: Send) -> None:
        """Send what the body yields, and close it."""
        chunks = aiter(self.body_iterator)
        try:
            chunk = await self._next_of(chunks)
            self._begun = True
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            while chunk is not None:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                chunk = await self._next_of(chunks)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            if (aclose := getattr(chunks, "aclose", None)) is not None:
                await aclose()

    async def _next_of(self, chunks: AsyncIterator[Any]) -> bytes | None:
        """Give the next chunk as bytes; None after the last."""
        try:
            chunk = await anext(chunks)
        except StopAsyncIteration:
            return None
        check_chunk(chunk)
        return chunk.encode(self.charset) if isinstance(chunk, str) else bytes(chunk)


def check_chunk(chunk: object) -> None:
    """Raise TypeError for what can't be sent."""
    if not isinstance(chunk, (str, bytes, bytearray, memoryview)):
        raise TypeError(f"chunks of a response must be str or bytes, got {chunk!r}")


def check_request(request: object) -> None:
    """Raise TypeError for what is no request."""
    if not isinstance(request, Request):
        raise TypeError(f"request must be a starlette Request, got {request!r}")


def check_work(work: object) -> None:
    """Raise TypeError for what can't be awaited."""
    if isinstance(work, Stream):
        raise TypeError(f"work must be awaitable; give StreamResponse a stream, got {work!r}")
    if not inspect.isawaitable(work):
        raise TypeError(f"work must be awaitable, as a Ticket or a coroutine is, got {work!r}")


async def unless_gone(receive: Receive, result: "asyncio.Future[R]") -> R:
    """Await a result; cancel it and raise ClientClosedRequest when the client leaves first."""
    gone = False

    def give_up(listening: "asyncio.Task[None]") -> None:
        nonlocal gone
        if not listening.cancelled():
            listening.exception()  # is raised below, unless the result was there before
            gone = True
            result.cancel()

    task = asyncio.current_task()
    assert task is not None
    cancelled_before = task.cancelling()
    listening = asyncio.create_task(disconnection(receive))
    listening.add_done_callback(give_up)
    try:
        return await result
    except asyncio.CancelledError:
        if not gone or task.cancelling() > cancelled_before:
            raise
        listening.result()
        raise ClientClosedRequest from None
    finally:  # whoever receives next must be alone
        listening.cancel()
        await asyncio.wait([listening])


async def disconnection(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
