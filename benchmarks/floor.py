"""Print the cost per item, as ratios to a bare ``asyncio.Future`` round trip and ``sleep(0)``.

All workloads run in turn, round after round, on asyncio and on uvloop where it is installed, and
the medians are compared: absolute times don't travel between machines, ratios do.
"""

import argparse
import asyncio
import gc
import json
import platform
import statistics
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from benchmarks import workloads as w

PER_ITEM = 100 * w.CALLERS
WORKLOADS: dict[str, tuple[w.Workload, int]] = {
    "bare future": (w.bare_future, PER_ITEM),
    "sleep(0)": (w.sleep_zero, PER_ITEM),
    "submit": (w.submit, PER_ITEM),
    "submit, timeout": (w.submit_with_timeout, PER_ITEM),
    "decorated": (w.decorated, PER_ITEM),
    "gather futures": (w.gather_futures, 20_000),
    "gather tickets": (w.gather_tickets, 20_000),
    "gather calls": (w.gather_calls, 20_000),
    "group futures": (w.group_futures, 20_000),
    "group calls": (w.group_calls, 20_000),
    "lone task": (w.lone_task, 5_000),
    "lone submit": (w.lone_submit, 5_000),
    "submit_many": (w.submit_many, 10_000),
}
RATIOS = [
    ("await submit(x) / bare future", "submit", "bare future"),
    ("await submit(x) / sleep(0)", "submit", "sleep(0)"),
    ("await embed(x), decorated / bare future", "decorated", "bare future"),
    ("with timeout=30 / without", "submit, timeout", "submit"),
    ("gather of 20,000 tickets / of bare futures", "gather tickets", "gather futures"),
    ("gather of 20,000 decorated calls / of bare futures", "gather calls", "gather futures"),
    ("TaskGroup of 20,000 decorated calls / of awaited futures", "group calls", "group futures"),
    ("lone submit(x), size 1 / lone create_task(handler([x]))", "lone submit", "lone task"),
    ("submit_many of 10,000, per item / bare future", "submit_many", "bare future"),
]


def loops() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give the event loops that can be had here."""
    found: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if find_spec("uvloop"):
        import uvloop

        found["uvloop"] = uvloop.new_event_loop
    return found


def once(
    workload: w.Workload, count: int, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> float:
    """Run a workload on a fresh loop, with nothing left to collect from the one before."""
    gc.collect()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(workload(count))


def measure(
    repeat: int, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> dict[str, list[float]]:
    """Run every workload ``repeat`` times, in turn, after one round that doesn't count."""
    times: dict[str, list[float]] = {name: [] for name in WORKLOADS}
    for lap in range(repeat + 1):
        for name, (workload, count) in WORKLOADS.items():
            seconds = once(workload, count, new_loop)
            if lap:
                times[name].append(seconds)
    return times


def ratio(times: dict[str, list[float]], above: str, below: str) -> float:
    """Give the median of the ratios, round by round: what slows a whole round cancels out."""
    return statistics.median(a / b for a, b in zip(times[above], times[below], strict=True))


def setting() -> str:
    """Say what was measured, where and when."""
    uvloop = f", uvloop {version('uvloop')}" if find_spec("uvloop") else ""
    return (
        f"microbatch {version('microbatch')}, "
        f"{platform.python_implementation()} {platform.python_version()}{uvloop}, "
        f"{platform.system()} {platform.machine()}, {cpu()}, {datetime.now(UTC).date()}"
    )


def cpu() -> str:
    """Name the processor, as well as the system knows it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def main() -> int:
    """Measure, and print a table for each loop."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor", description=__doc__)
    parser.add_argument("--repeat", type=int, default=7, help="rounds that count (default 7)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON instead")
    arguments = parser.parse_args()
    measured = {name: measure(arguments.repeat, new_loop) for name, new_loop in loops().items()}
    if arguments.json:
        json.dump({"setting": setting(), "seconds": measured}, sys.stdout, indent=1)
        return 0
    print(setting())
    for loop, times in measured.items():
        print(f"\n{loop}, ns per item, median of {arguments.repeat}")
        for name, seconds in times.items():
            print(f"  {name:<58}{statistics.median(seconds) * 1e9:8.0f}")
        print("  ratios")
        for title, above, below in RATIOS:
            print(f"  {title:<58}{ratio(times, above, below):8.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
