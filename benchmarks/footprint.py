"""Print what a batcher takes when it does nothing, and when it holds very much.

``idle``: wake-ups, processor time and descriptors of an idle batcher over some seconds.
``queued``: bytes for each of a million queued items, beyond the item itself.
``flat``: growth of the process over five million items, and what is left of them.
``import``: milliseconds that ``import microbatch`` adds to an interpreter with asyncio and anyio.
"""

import argparse
import asyncio
import gc
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.floor import loops, setting
from benchmarks.workloads import CALLERS, echo
from microbatch import Batcher, Ticket

MIB = 2**20


def resident() -> int:
    """Give the bytes that the process has in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def descriptors() -> int:
    """Count the open descriptors."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def wake_ups() -> int:
    """Count how often the process has gone to sleep and come back."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


async def idle(seconds: float) -> str:
    """Use a batcher with every kind of timer, and watch it do nothing."""
    batcher = Batcher(echo, max_latency=0.0005, timeout=30)
    before = descriptors()
    for item in range(100):
        await batcher.submit(item)
    opened = descriptors() - before
    sleeps, cpu = wake_ups(), time.process_time()
    await asyncio.sleep(seconds)
    sleeps, cpu = wake_ups() - sleeps, time.process_time() - cpu
    grown = descriptors() - before - opened
    await batcher.aclose()
    return (
        f"{sleeps} wake-ups (one of them ends the measurement), {cpu * 1e3:.2f} ms of processor, "
        f"{grown} new descriptors in {seconds:g} s; {opened} timer descriptor while it is open"
    )


async def queued(count: int) -> str:
    """Queue items behind a busy slot, and give the bytes each of them takes."""
    never = asyncio.Event()

    async def handler(items: list[None]) -> None:
        await never.wait()

    batcher = Batcher(handler, max_batch_size=1, capacity=None)
    batcher.submit_nowait(None)
    await asyncio.sleep(0)
    before = resident()
    tickets = [None] * count
    list_bytes = resident() - before
    for index in range(count):
        tickets[index] = batcher.submit_nowait(None)  # type: ignore[call-overload]
    each = (resident() - before - list_bytes) / count
    never.set()
    await batcher.aclose(timeout=0)
    return f"{each:.0f} bytes for each of {count:,} queued items, ticket included"


async def flat(count: int) -> str:
    """Put items through, and give what the process grew by after a warm-up."""
    batcher = Batcher(echo, timeout=30)

    async def caller(items: int) -> None:
        for item in range(items):
            await batcher.submit(item)

    async def callers(items: int) -> None:
        await asyncio.gather(*(caller(items // CALLERS) for _ in range(CALLERS)))

    await callers(count // 10)
    gc.collect()
    before = resident()
    await callers(count)
    gc.collect()
    grown = resident() - before
    tickets = sum(isinstance(thing, Ticket) for thing in gc.get_objects())
    tasks = len(asyncio.all_tasks()) - 1
    unsettled = batcher.statistics().queued + batcher.statistics().in_flight
    return (
        f"{grown / MIB:+.2f} MiB over {count:,} items; left: {tickets} tickets, {tasks} tasks, "
        f"{unsettled} items"
    )


def import_cost(repeat: int) -> str:
    """Import in fresh interpreters, with and without, in turn."""
    bare = "import asyncio, anyio"
    costs = [started(f"{bare}; import microbatch") - started(bare) for _ in range(repeat)]
    loaded = subprocess.run(
        [sys.executable, "-c", "import microbatch, sys; print('numpy' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    return (
        f"{statistics.median(costs) * 1e3:.1f} ms over asyncio and anyio, median of {repeat}; "
        f"numpy imported: {loaded}"
    )


def started(code: str) -> float:
    """Give the seconds that a fresh interpreter takes for some code."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def on(new_loop: Callable[[], asyncio.AbstractEventLoop], what: str, amount: float) -> str:
    """Run one of the measurements on a loop."""
    work = {"idle": idle, "queued": queued, "flat": flat}[what]
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(work(amount if what == "idle" else int(amount)))


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.footprint",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    amounts = {"idle": 10, "queued": 1_000_000, "flat": 5_000_000, "import": 21}
    parser.add_argument("what", choices=amounts)
    parser.add_argument("--loop", choices=loops(), default="asyncio")
    parser.add_argument("--amount", type=float, help=f"seconds, items or repetitions: {amounts}")
    arguments = parser.parse_args()
    amount = arguments.amount or amounts[arguments.what]
    print(setting())
    if arguments.what == "import":
        print(import_cost(int(amount)))
    else:
        print(on(loops()[arguments.loop], arguments.what, amount))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
