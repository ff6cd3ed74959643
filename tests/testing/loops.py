"""Loops of little and of endless patience, and what tests run on them."""

from __future__ import annotations

import asyncio
import functools
import math
from typing import TYPE_CHECKING

from microbatch.testing import VirtualClockEventLoop

if TYPE_CHECKING:
    from collections.abc import Callable

    LoopFactory = Callable[[], VirtualClockEventLoop]

impatient: LoopFactory = functools.partial(
    VirtualClockEventLoop, deadlock_after=0.25, thread_patience=0.02
)
patient: LoopFactory = functools.partial(
    VirtualClockEventLoop, deadlock_after=math.inf, thread_patience=math.inf
)


def now() -> float:
    return asyncio.get_running_loop().time()


def compute() -> int:
    """Keep a thread busy for some milliseconds of real time."""
    return sum(range(1_000_000))


async def hang() -> None:
    await asyncio.Event().wait()
