"""A streaming handler for tests: it counts each item down to its end, and remembers its steps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from microbatch import END, Stream, current_batch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Countdown:
    """Yield n-1, n-2, ..., 0 for an item n, one a step, and its end in the step after."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.calls: list[list[int]] = []
        self.steps: list[tuple[int, ...]] = []
        self.outcomes: list[str] = []
        self.__name__ = "countdown"

    async def __call__(self, items: list[int]) -> AsyncIterator[list[Any]]:
        self.calls.append(list(items))
        left, alive = list(items), tuple(range(len(items)))
        try:
            while alive:
                assert current_batch().alive == alive
                self.steps.append(alive)
                if self.delay:
                    await asyncio.sleep(self.delay)
                for place in alive:
                    left[place] -= 1
                alive = yield [left[place] if left[place] >= 0 else END for place in alive]
            self.outcomes.append("returned")
        except BaseException as error:
            self.outcomes.append(type(error).__name__)
            raise


async def read(stream: Stream[Any]) -> list[Any]:
    """Read a stream to its end; a failure comes last."""
    chunks: list[Any] = []
    try:
        async for chunk in stream:
            chunks.append(chunk)  # noqa: PERF401 (what came before a failure counts)
    except Exception as error:
        chunks.append(error)
    return chunks


async def turns(count: int = 8) -> None:
    """Let everything happen that needs no time."""
    for _ in range(count):
        await asyncio.sleep(0)
