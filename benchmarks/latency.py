"""Print how long a lone item waits: from its submission to its handler, with a short max_latency.

On asyncio and on uvloop; the batch waits for companions that never come, and must go as soon as
``max_latency`` has passed, and never before.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable

from benchmarks.floor import loops, setting
from microbatch import Batcher


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
    with asyncio.Runner(loop_factory=new_loop) as runner:
        seconds = runner.run(waits(max_latency, 2_000))
    cuts = statistics.quantiles(seconds, n=100)
    p50, p99 = cuts[49] * 1e6, cuts[98] * 1e6
    return (
        f"  {loop:<10} least {min(seconds) * 1e6:7.1f}   p50 {p50:7.1f}   p99 {p99:7.1f}   "
        f"most {max(seconds) * 1e6:7.1f}"
    )


def main() -> int:
    """Measure, and print a line for each loop."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--max-latency", type=float, default=0.0002, help="seconds (0.0002)")
    arguments = parser.parse_args()
    print(setting())
    print(f"max_latency={arguments.max_latency:g}: µs from submit to the handler, 2,000 lone items")
    for loop, new_loop in loops().items():
        print(report(loop, new_loop, arguments.max_latency))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
