"""Loops for batchers that threads use, and handlers that tests hold."""

from __future__ import annotations

import asyncio
import functools
import math
import threading
from typing import Any

import pytest

from microbatch import testing

try:
    import uvloop
except ImportError:
    uvloop = None

FACTORIES = [pytest.param(None, id="asyncio")]
if uvloop is not None:
    FACTORIES.append(pytest.param(uvloop.new_event_loop, id="uvloop"))

virtual_loop = functools.partial(testing.VirtualClockEventLoop, deadlock_after=math.inf)


@pytest.fixture(params=FACTORIES)
def loop_factory(request: pytest.FixtureRequest) -> Any:
    """What makes the loop of a thread."""
    return request.param


@pytest.fixture
def clockwork() -> Any:
    """What makes a loop in virtual time."""
    return virtual_loop


class Held:
    """An async handler that doubles, once a thread lets it."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.leave = threading.Event()
        self.calls: list[list[int]] = []
        self.cancelled = threading.Event()

    async def __call__(self, items: list[int]) -> list[int]:
        self.calls.append(list(items))
        self.entered.set()
        try:
            while not self.leave.is_set():  # noqa: ASYNC110 (a thread sets it)
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return [2 * item for item in items]


@pytest.fixture
def held() -> Held:
    return Held()
