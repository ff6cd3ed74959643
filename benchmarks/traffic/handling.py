"""What the real rows have in common: a handler, a library's batcher, and their figures."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from conformance.adapter import Adapter

FIXED, PER_ITEM = 0.020, 50e-6
"""Seconds that a handler call takes, and that each item adds."""
WARM_UP = 1.5
"""Seconds that don't count: what can learn has learned by then."""


class Work(NamedTuple):
    """A batcher's size and latency, and how many clients ask it, for how many seconds."""

    size: int
    wait: Any
    clients: int
    seconds: float


class Handler:
    """Take the time that so many items take, and count."""

    def __init__(self) -> None:
        self.calls = 0
        self.items = 0

    async def __call__(self, items: list[Any]) -> list[Any]:
        """Answer the items themselves."""
        self.calls += 1
        self.items += len(items)
        await asyncio.sleep(FIXED + PER_ITEM * len(items))
        return items


class Answers:
    """When requests were sent and answered; any thread may add one."""

    def __init__(self) -> None:
        self.pairs: list[tuple[float, float]] = []

    def add(self, sent: float) -> float:
        """Note that a request was answered just now, and give the time."""
        now = time.perf_counter()
        self.pairs.append((sent, now))
        return now

    def figures(self, start: float, end: float, batch: float) -> dict[str, float]:
        """Give what was answered between two times."""
        latencies = sorted(until - sent for sent, until in self.pairs if start <= until < end)
        if not latencies:
            raise SystemExit("no request was answered")
        return {
            "throughput": len(latencies) / (end - start),
            "p50": latencies[len(latencies) // 2],
            "p99": latencies[len(latencies) * 99 // 100],
            "batch": batch,
        }


def batcher(
    library: type[Adapter], handler: Handler, size: int, wait: Any
) -> Callable[[Any], Awaitable[Any]]:
    """Make a library's batcher; one that can't be had raises what the library raises."""
    return library(handler, size=size, wait=wait).submit


def mean(before: Sequence[int], after: Sequence[int]) -> float:
    """Give the mean size of the batches between two counts of calls and items."""
    return (after[1] - before[1]) / max(after[0] - before[0], 1)
