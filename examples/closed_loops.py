"""Callers that ask again as soon as they are answered, and the batches that they settle into.

The model takes 20 ms, and 0.05 ms more for each item. Callers in process ask again in the turn in
which they are answered; over HTTP the answer and the next question are under way for 1 to 4 ms.
The clock is virtual: the program takes seconds, and prints the same everywhere.

Run it: python examples/closed_loops.py
"""

import asyncio
import random
from collections.abc import Callable
from statistics import median

from microbatch import BatchDispatched, BatchEnded, Batcher
from microbatch.testing import run

SECONDS = 1.0
IN_PROCESS = (0.0, 0.0)
OVER_HTTP = (0.001, 0.004)

Way = tuple[float, float]
Make = Callable[[], Batcher[int, int]]


async def predict(items: list[int]) -> list[int]:
    await asyncio.sleep(0.020 + 0.00005 * len(items))
    return items


# ---------------------------------------------------------------------------- kinds of batchers
def waiting(max_latency: float) -> Make:
    return lambda: Batcher(predict, max_latency=max_latency)


def lingering(linger: float, max_latency: float) -> Make:
    """Wait for so long after each batch, and then take what has come."""

    def make() -> Batcher[int, int]:
        def observer(event: BatchDispatched | BatchEnded) -> None:
            if isinstance(event, BatchEnded):
                asyncio.get_running_loop().call_later(linger, batcher.flush)

        batcher = Batcher(predict, max_latency=max_latency, observer=observer)
        return batcher

    return make


# ------------------------------------------------------------------------------------- measuring
async def ask_again_and_again(
    batcher: Batcher[int, int], way: Way, chance: random.Random, waits: list[float]
) -> None:
    clock = asyncio.get_running_loop().time
    least, most = way
    await asyncio.sleep(0.1 * chance.random())  # nobody begins in step
    while (asked := clock()) < SECONDS:
        await batcher.submit(1)
        if most:
            await asyncio.sleep(least + (most - least) * chance.random())
        waits.append(clock() - asked)


async def measure(callers: int, way: Way, make: Make) -> str:
    waits: list[float] = []
    chance = random.Random(1)
    async with make() as batcher:
        loops = [ask_again_and_again(batcher, way, chance, waits) for _ in range(callers)]
        await asyncio.gather(*loops)
        now = batcher.statistics()
    reason = max(now.batches, key=lambda reason: now.batches[reason])
    return (
        f"{len(waits) / SECONDS:8,.0f}{1000 * median(waits):8.1f}{now.batch_size.mean:8.1f}"
        f"{1000 * now.queue_wait.mean:8.1f}  {reason}"
    )


def main() -> None:
    batchers = {
        "max_latency=0": waiting(0.0),
        "max_latency=0.005": waiting(0.005),
        "max_latency=0.030": waiting(0.030),
        "lingering(0.005, 0.030)": lingering(0.005, 0.030),
    }
    print("                                     answers  median    mean  queued  most go")
    print("callers       batcher               a second wait ms   batch      ms  by reason")
    for title, callers, way in (
        ("64 in process", 64, IN_PROCESS),
        ("64 over HTTP", 64, OVER_HTTP),
        ("40 over HTTP", 40, OVER_HTTP),
        ("1 over HTTP", 1, OVER_HTTP),
    ):
        for options, make in batchers.items():
            print(f"{title:14}{options:23}{run(measure, callers, way, make)}")


if __name__ == "__main__":
    main()
