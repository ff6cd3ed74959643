"""Callers that ask again as soon as they are answered, and the batches that they settle into.

The model takes 20 ms, and 0.05 ms more for each item. Callers in process ask again in the turn in
which they are answered; over HTTP the answer and the next question are under way for 1 to 4 ms.
Strangers ask once, each on its own. The clock is virtual: the program takes seconds, and prints the
same everywhere.

Run it: python examples/closed_loops.py
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from statistics import median
from typing import Any, Literal

from microbatch import Batcher
from microbatch.testing import run

SECONDS = 3.0
IN_PROCESS = (0.0, 0.0)
OVER_HTTP = (0.001, 0.004)

Latency = float | Literal["auto"]
Ask = Callable[[], Coroutine[Any, Any, None]]
Traffic = Callable[[Ask, random.Random], Awaitable[None]]


async def predict(items: list[int]) -> list[int]:
    await asyncio.sleep(0.020 + 0.00005 * len(items))
    return items


# --------------------------------------------------------------------------------- kinds of traffic
def callers(number: int, way: tuple[float, float]) -> Traffic:
    """So many who ask again and again; each answer and question are so long under way."""
    least, most = way

    async def one(ask: Ask, chance: random.Random) -> None:
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(0.1 * chance.random())  # nobody begins in step
        while clock() < SECONDS:
            await ask()
            if most:
                await asyncio.sleep(least + (most - least) * chance.random())

    async def all_of_them(ask: Ask, chance: random.Random) -> None:
        await asyncio.gather(*(one(ask, chance) for _ in range(number)))

    return all_of_them


def strangers(rate: float) -> Traffic:
    """So many a second, who know nothing of each other."""

    async def one_after_another(ask: Ask, chance: random.Random) -> None:
        clock = asyncio.get_running_loop().time
        async with asyncio.TaskGroup() as group:
            while clock() < SECONDS:
                group.create_task(ask())
                await asyncio.sleep(chance.expovariate(rate))

    return one_after_another


# ---------------------------------------------------------------------------------------- measuring
async def measure(traffic: Traffic, max_latency: Latency) -> str:
    clock = asyncio.get_running_loop().time
    waits: list[float] = []
    async with Batcher(predict, max_latency=max_latency) as batcher:

        async def ask() -> None:
            asked = clock()
            await batcher.submit(1)
            waits.append(clock() - asked)

        await traffic(ask, random.Random(1))
        now = batcher.statistics()
    reason = max(now.batches, key=lambda reason: now.batches[reason])
    return (
        f"{len(waits) / SECONDS:8,.0f}{1000 * median(waits):8.1f}{now.batch_size.mean:8.1f}"
        f"{1000 * now.queue_wait.mean:8.1f}  {reason}"
    )


def main() -> None:
    latencies: tuple[Latency, ...] = (0.0, 0.005, 0.030, "auto")
    print("                              answers  median    mean  queued  most go")
    print("who asks         max_latency a second wait ms   batch      ms  by reason")
    for title, traffic in (
        ("64 over HTTP", callers(64, OVER_HTTP)),
        ("40 over HTTP", callers(40, OVER_HTTP)),
        ("1 over HTTP", callers(1, OVER_HTTP)),
        ("64 in process", callers(64, IN_PROCESS)),
        ("1,500 strangers", strangers(1500.0)),
    ):
        for max_latency in latencies:
            print(f"{title:17}{max_latency!r:12}{run(measure, traffic, max_latency, debug=False)}")


if __name__ == "__main__":
    main()
