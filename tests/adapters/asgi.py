"""A client without a network: it speaks ASGI to an app, and may leave whenever a test likes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Client:
    """Ask an app once; remember what it sent."""

    def __init__(
        self,
        app: Any,
        path: str = "/",
        *,
        body: bytes = b"",
        method: str = "GET",
        kind: str = "http",
        spec_version: str = "2.3",
        state: dict[str, Any] | None = None,
    ) -> None:
        self.app = app
        self.scope: dict[str, Any] = {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": spec_version},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "state": {} if state is None else state,
        }
        self.to_come: list[dict[str, Any]] = [{"type": f"{kind}.request", "body": body}]
        self.sent: list[dict[str, Any]] = []
        self.receiving = 0
        self.most_receiving = 0
        self.reads = asyncio.Event()  # what it is sent, or else sending waits
        self.reads.set()
        self._over = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        self.receiving += 1
        self.most_receiving = max(self.most_receiving, self.receiving)
        try:
            if self.to_come:
                return self.to_come.pop(0)
            await self._over.wait()
            return {"type": "http.disconnect"}
        finally:
            self.receiving -= 1

    async def send(self, message: dict[str, Any]) -> None:
        await self.reads.wait()
        self.sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._over.set()

    async def ask(self) -> Client:
        try:
            await self.app(self.scope, self.receive, self.send)
        finally:
            assert self.receiving == 0
        return self

    def leave(self) -> None:
        self._over.set()

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def answer(self) -> Any:
        return json.loads(self.body)


@contextlib.asynccontextmanager
async def living(app: Any) -> AsyncIterator[dict[str, Any]]:
    """Start an app and end it, as a server does; give the state of its lifespan."""
    scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    life = asyncio.create_task(app(scope, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    assert await from_app.get() == {"type": "lifespan.startup.complete"}
    yield scope["state"]
    await to_app.put({"type": "lifespan.shutdown"})
    assert await from_app.get() == {"type": "lifespan.shutdown.complete"}
    await life


class Gate:
    """A handler that answers when it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.begun = asyncio.Event()
        self.calls: list[list[Any]] = []
        self.cancelled = 0

    async def __call__(self, items: list[Any]) -> list[Any]:
        self.calls.append(items)
        self.begun.set()
        try:
            await self.let.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return items


async def turns(count: int = 5) -> None:
    """Let the loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)
