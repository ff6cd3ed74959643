"""Print how late a lone item goes: how much longer than ``max_latency`` it waits for its handler.

On asyncio and on uvloop, and for several latencies: the batch waits for companions that never come,
and must go as soon as ``max_latency`` has passed, and never before.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable

from benchmarks.floor import loops, setting
from microbatch import Batcher

SECONDS = 2.0
"""The time that the items of one line take, but for these bounds on their number."""

MIN_ITEMS = 200
MAX_ITEMS = 2_000


async def waits(max_latency: float, items: int) -> list[float]:
    """Submit one item after the other, and give the seconds until each is handled."""
    handled: list[float] = []

    async def handler(batch: list[int]) -> None:
        handled.append(time.perf_counter())

    submitted: list[float] = []
    async with Batcher(handler, max_latency=max_latency) as batcher:
        for item in range(items + 10):
            submitted.append(time.perf_counter())
            await batcher.submit(item)
    return [end - start for start, end in zip(submitted, handled, strict=True)][10:]


def report(loop: str, new_loop: Callable[[], asyncio.AbstractEventLoop], max_latency: float) -> str:
    """Measure on one loop, and give a line of percentiles in microseconds."""
    items = max(MIN_ITEMS, min(MAX_ITEMS, int(SECONDS / max_latency)))
    with asyncio.Runner(loop_factory=new_loop) as runner:
        seconds = runner.run(waits(max_latency, items))
    late = sorted((each - max_latency) * 1e6 for each in seconds)
    cuts = statistics.quantiles(late, n=100)
    return (
        f"  {loop:<10}{max_latency * 1e3:6g} ms   least {late[0]:7.1f}   p50 {cuts[49]:7.1f}   "
        f"p99 {cuts[98]:7.1f}   most {late[-1]:7.1f}"
    )


def main() -> int:
    """Measure, and print a line for each loop and latency."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument(
        "--max-latency",
        type=float,
        nargs="+",
        default=[0.0002, 0.0005, 0.001, 0.003, 0.01],
        help="seconds (0.0002 0.0005 0.001 0.003 0.01)",
    )
    arguments = parser.parse_args()
    print(setting())
    print("µs from max_latency after the submission to the handler, of lone items")
    for loop, new_loop in loops().items():
        for max_latency in arguments.max_latency:
            print(report(loop, new_loop, max_latency))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
