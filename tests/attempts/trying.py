"""Handlers that fail so often, and batchers that try again."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

from tenacity import AsyncRetrying, stop_after_attempt, wait_fixed

from microbatch import Batcher
from microbatch.testing import RecordingHandler

if TYPE_CHECKING:
    from collections.abc import Callable


class Trouble(Exception):
    """What a handler raises."""


def now() -> float:
    return asyncio.get_running_loop().time()


def failing(
    times: float, make: Callable[[], BaseException] = Trouble, delay: float = 0.0
) -> RecordingHandler[Any, Any]:
    """Fail so often, and then answer the items themselves."""
    count = itertools.count(1)

    def function(items: list[Any]) -> list[Any]:
        if next(count) <= times:
            raise make()
        return items

    return RecordingHandler(function, delay=delay)


def policy(attempts: int = 3, wait: float = 0.0, **options: Any) -> AsyncRetrying:
    return AsyncRetrying(stop=stop_after_attempt(attempts), wait=wait_fixed(wait), **options)


def retrying(
    handler: Any, attempts: int = 3, wait: float = 0.0, **options: Any
) -> Batcher[Any, Any]:
    return Batcher(handler, **{"retry": policy(attempts, wait), **options})


async def outcomes(*tickets: Any) -> list[Any]:
    return await asyncio.gather(*tickets, return_exceptions=True)


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
