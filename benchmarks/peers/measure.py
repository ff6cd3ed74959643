"""One repetition, in a process of its own: a library next to bare futures."""

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.bare import BATCH, CALLERS, FutureEcho, by_callers, clocked, echo
from conformance.adapter import Adapter
from conformance.peers import load

ROUNDS = 50
AT_ONCE = 128 * BATCH
ALONE = 2_000
WAIT = 0.001
"""Seconds to wait for companions, where there are so many that all batches are full before."""

Submit = Callable[[int], Awaitable[Any]]


async def callers(submit: Submit) -> float:
    """Submit from 1024 callers, each one item after the other."""
    return await by_callers(submit, ROUNDS * CALLERS)


async def gather(submit: Submit) -> float:
    """Gather many submissions that are made at once."""

    async def gathered() -> None:
        await asyncio.gather(*[submit(item) for item in range(AT_ONCE)])

    return await clocked(gathered(), AT_ONCE)


async def lone(submit: Submit) -> float:
    """Submit from one caller, one item after the other."""

    async def caller() -> None:
        for item in range(ALONE):
            await submit(item)

    return await clocked(caller(), ALONE)


@dataclass(frozen=True)
class Workload:
    """Some work, and how long batches wait for companions in it."""

    work: Callable[[Submit], Awaitable[float]]
    wait: float


WORKLOADS = {
    f"{CALLERS} callers, one item after the other each": Workload(callers, WAIT),
    f"Gather of {AT_ONCE} items at once": Workload(gather, WAIT),
    "One caller, one item after the other, no wait for companions": Workload(lone, 0.0),
}


def once(workload: Workload, make: Callable[[], Submit]) -> float:
    """Run a workload on a loop and a batcher of its own; give seconds per item."""

    async def main() -> float:
        gc.collect()
        return await workload.work(make())

    return asyncio.run(main())


def compare(library: type[Adapter], workload: Workload) -> dict[str, float]:
    """Time a library between two runs of bare futures, after a round that doesn't count."""

    def bare() -> Submit:
        return FutureEcho().submit

    def batcher() -> Submit:
        return library(echo, size=BATCH, wait=workload.wait, **library.bare).submit

    once(workload, bare)
    once(workload, batcher)
    before, seconds, after = (once(workload, make) for make in (bare, batcher, bare))
    return {"seconds": seconds, "ratio": 2 * seconds / (before + after)}


def main(peer: str) -> None:
    """Print the figures of the library that a module adapts, as the last line."""
    library = load(peer)
    figures = {title: compare(library, workload) for title, workload in WORKLOADS.items()}
    print("\n" + json.dumps(figures))
