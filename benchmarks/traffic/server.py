"""A FastAPI service behind uvicorn, in a process of its own: each request submits one item.

It prints its port as soon as it listens, and ends when its standard input does, so that it never
outlives whoever started it.
"""

import asyncio
import importlib
import json
import socket
import sys
from typing import Any

from benchmarks.traffic.handling import Handler, batcher
from conformance.peers import load


async def serve(module: str, size: int, wait: Any, http: Any) -> None:
    """Serve until standard input ends."""
    import uvicorn
    from fastapi import FastAPI, Response

    handler = Handler()
    submit = batcher(load(module), handler, size, wait)
    app = FastAPI()

    @app.get("/items/{item}")
    async def answer(item: int) -> Response:
        await submit(item)
        return Response(b"ok")

    @app.get("/counts")
    async def counts() -> list[int]:
        return [handler.calls, handler.items]

    config = uvicorn.Config(app, http=http, ws="none", lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    # Of a socket that does not name its protocol asyncio does not know that it is TCP, and leaves
    # Nagle's algorithm on: answers would be 40 ms late.
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1024)
        asyncio.get_running_loop().add_reader(sys.stdin, setattr, server, "should_exit", True)
        print(json.dumps(listening.getsockname()[1]), flush=True)
        await server.serve(sockets=[listening])


def main(module: str, size: str, wait: str, loop: str, http: str) -> None:
    """Serve, with the library that a module adapts, on a kind of loop, with a parser of HTTP."""
    new_loop = importlib.import_module(loop).new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(serve(module, json.loads(size), json.loads(wait), http))
