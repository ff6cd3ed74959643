"""A service to be ended: `python served.py`. It tells what happens in lines of JSON.

It listens on a port of 127.0.0.1 that the system chooses. A request is a number, and its answer is
twice that. The handler answers nothing before the standard input says so.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from microbatch import Batcher
from microbatch.adapters.starlette import (
    StreamResponse,
    closing,
    exception_handlers,
    lifespan,
    while_connected,
)


def tell(what: str, number: int = 0) -> None:
    print(json.dumps([what, number]), flush=True)


class Service:
    """Double numbers, and count them."""

    def __init__(self, *, close: bool, at_once: bool, tell_at: int) -> None:
        self.close, self.tell_at = close, tell_at
        self.go = asyncio.Event()
        if at_once:
            self.go.set()
        self.accepted = self.handled = 0
        self.open = False
        self.batcher: Batcher[int, int] = Batcher(self.handle, max_batch_size=16)
        self.counter: Batcher[int, list[str]] = Batcher(self.count, stream=True)

    async def handle(self, numbers: list[int]) -> list[int]:
        await self.go.wait()
        assert self.open
        self.handled += len(numbers)
        return [2 * number for number in numbers]

    async def count(self, starts: list[int]) -> AsyncIterator[list[str]]:
        try:
            yield [str(start) for start in starts]
            await asyncio.get_running_loop().create_future()
        finally:
            tell("left", len(starts))

    def accept(self) -> None:
        self.accepted += 1
        if self.accepted == self.tell_at:
            tell("accepted", self.accepted)

    async def double(self, request: Request) -> JSONResponse:
        """Answer when it is done."""
        number = await request.json()
        self.accept()
        return JSONResponse(await while_connected(request, self.batcher.submit(number)))

    async def later(self, request: Request) -> JSONResponse:
        """Answer at once, and do it later."""
        self.batcher.submit(await request.json())
        self.accept()
        return JSONResponse(None, 202)

    async def stream(self, request: Request) -> StreamResponse:
        """Answer with one chunk, and then never more."""
        return StreamResponse(self.counter.stream(await request.json()))

    @contextlib.asynccontextmanager
    async def resources(self, app: Any) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), self.let)
        self.open = True
        yield
        self.open = False
        loop.remove_reader(sys.stdin.fileno())
        tell("accepted in all", self.accepted)
        tell("handled in all", self.handled)
        tell("cancelled in all", self.batcher.statistics().cancelled)

    def let(self) -> None:
        os.read(sys.stdin.fileno(), 100)
        self.go.set()

    @contextlib.asynccontextmanager
    async def living(self, app: Any) -> AsyncIterator[None]:
        """Live as the adapter has it, and tell when the end begins."""
        if self.close:
            async with self.resources(app), closing(self.batcher):
                yield
                tell("ending")
        else:
            async with lifespan(self.batcher, around=self.resources)(app):
                yield
                tell("ending")

    def app(self) -> Starlette:
        post = {"methods": ["POST"]}
        endpoints = [self.double, self.later, self.stream]
        routes = [Route(f"/{each.__name__}", each, **post) for each in endpoints]
        handlers: Any = exception_handlers()
        return Starlette(routes=routes, exception_handlers=handlers, lifespan=self.living)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--close", action="store_true")
    parser.add_argument("--at-once", action="store_true")
    parser.add_argument("--tell-at", type=int, default=1)
    parser.add_argument("--graceful", type=int)
    given = parser.parse_args()
    service = Service(close=given.close, at_once=given.at_once, tell_at=given.tell_at)
    config = uvicorn.Config(
        service.app(),
        access_log=False,
        backlog=1024,
        lifespan="on",
        timeout_graceful_shutdown=given.graceful,
    )
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    tell("port", listening.getsockname()[1])
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
