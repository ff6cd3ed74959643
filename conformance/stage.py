"""Handlers and callers for the probes."""

import asyncio
from typing import Any

from conformance.adapter import Adapter
from conformance.finding import PATIENCE, answer

WAIT = 0.02
"""Seconds that a batcher waits for companions where a probe has no wish of its own."""


class HandlerNeverRan(Exception):
    """Say that a library never called the handler that a probe waits for."""


class Recorder:
    """A handler that answers, and remembers its calls.

    As long as ``error`` is set, each call raises a new one of its kind.
    """

    def __init__(self, *, seconds: float = 0.0, error: type[BaseException] | None = None) -> None:
        self.calls: list[list[int]] = []
        self.seconds = seconds
        self.error = error

    async def __call__(self, items: list[int]) -> list[Any]:
        self.calls.append([*items])
        if self.seconds:
            await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error("poison")
        return [answer(item) for item in items]

    @property
    def items(self) -> list[int]:
        return [item for call in self.calls for item in call]


class Held(Recorder):
    """A handler that doesn't return before it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.started = asyncio.Event()
        self.released = asyncio.Event()
        self.cancelled = False

    async def __call__(self, items: list[int]) -> list[Any]:
        self.started.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            self.calls.append([*items])
        return [answer(item) for item in items]

    async def running(self) -> None:
        """Wait until the handler runs with all that goes into its first batch."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.started.wait()
        except TimeoutError:
            raise HandlerNeverRan from None


def call(batcher: Adapter, *items: int) -> dict[int, "asyncio.Task[Any]"]:
    """Start a caller for each item, as tasks of its own; give them by their items."""

    async def caller(item: int) -> Any:
        return await batcher.submit(item)

    return {item: asyncio.create_task(caller(item)) for item in items}


async def queued(library: type[Adapter]) -> None:
    """Let callers that were just started queue their items, and no batch be due yet."""
    await asyncio.sleep(0.005 if library.lingers else 0)
