"""Let many threads call batchers on several loops while everything goes wrong, and count.

Items are cancelled at random, time out, fail alone and fail with their batch; handlers are slow,
some of them in threads. Every call must be answered, with its own result or with an error that
it can have, and nothing may be left in the end. Exits with 1 where that is not so.
"""

import argparse
import asyncio
import gc
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from tenacity import AsyncRetrying, stop_after_attempt, wait_fixed

from benchmarks.floor import setting
from microbatch import Batcher, BatchTimeoutError, BlockingBatcher, Ticket

PATIENCE = 60.0
"""Seconds; a call that takes longer hangs."""
SWITCH_INTERVAL = 1e-6
POISONED = 97
"""Every so many items one makes its batch fail."""
REFUSED = 31
"""Every so many items one fails alone."""


class PoisonError(Exception):
    """What a batch fails with."""


class RefusalError(Exception):
    """What an item fails with."""


def answers(items: list[int]) -> list[Any]:
    """Answer items, with errors in their places; the whole batch fails for one poisoned item."""
    if any(item % POISONED == 0 for item in items):
        raise PoisonError
    return [RefusalError() if item % REFUSED == 0 else -item for item in items]


async def handle(items: list[int]) -> list[Any]:
    """Answer items, fast or slowly, or very slowly."""
    chance = random.random()
    await asyncio.sleep(0 if chance < 0.5 else 0.002 if chance < 0.95 else 0.05)
    return answers(items)


async def handle_one_by_one(items: list[int]) -> Any:
    """Answer item by item."""
    for place, answer in enumerate(answers(items)):
        await asyncio.sleep(0)
        yield place, answer


def handle_in_thread(items: list[int]) -> list[Any]:
    """Answer items in a worker thread."""
    time.sleep(random.choice((0.0, 0.001)))
    return answers(items)


def batchers() -> list[Batcher[int, Any]]:
    """Give batchers of every kind."""
    retry = AsyncRetrying(stop=stop_after_attempt(2), wait=wait_fixed(0.001))
    common: dict[str, Any] = {"max_batch_size": 16, "max_concurrent_batches": 4}
    return [
        Batcher(handle, **common),
        Batcher(handle, **common, max_latency=0.002, timeout=0.5),
        Batcher(handle, **common, timeout=0.01, timeout_policy="fail", capacity=64),
        Batcher(handle, **common, key=lambda item: item % 7, max_concurrent_batches_per_key=1),
        Batcher(handle, **common, max_batch_weight=40, weigh=lambda item: item % 9),
        Batcher(handle, **common, priority=lambda item: item % 3, ageing=0.01),
        Batcher(handle, **common, dedupe=lambda item: item // 2 * 2 + item % 2),
        Batcher(handle, **common, ordering="ordered", capacity=128),
        Batcher(handle, **common, retry=retry, on_error="bisect"),
        Batcher(handle_one_by_one, **common),
        Batcher(handle_in_thread, **common),
    ]


@dataclass
class Tally:
    """Count outcomes; one for each thread, and their sum."""

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def check(self, item: int, future: "Future[Any]", given_up: bool) -> None:
        """Wait for an answer, and see whether it is one that the item can have."""
        try:
            answer = future.result(timeout=PATIENCE)
        except (BatchTimeoutError, PoisonError, RefusalError) as error:
            self.outcomes[type(error).__name__] += 1
        except CancelledError:
            self.outcomes["cancelled"] += 1
            if not given_up:
                self.wrong.append(f"{item} was cancelled by nobody")
        except BaseException as error:
            self.wrong.append(f"{item} got {error!r}")
        else:
            self.outcomes["answered"] += 1
            if answer != -item:
                self.wrong.append(f"{item} got {answer!r}")


def storm(faces: list[BlockingBatcher[int, Any]], number: int, until: float, tally: Tally) -> None:
    """Do what one thread does: submit a handful, give some of them up, and check the rest."""
    dice = random.Random(number)
    while time.monotonic() < until:
        face = dice.choice(faces)
        sent = []
        for _ in range(dice.randrange(1, 40)):
            item = dice.randrange(1, 1_000_000)
            own = {"timeout": dice.choice((0.001, 0.02, None))} if dice.random() < 0.2 else {}
            sent.append((item, face.submit(item, **own)))
        given_up = [future.cancel() if dice.random() < 0.1 else False for _, future in sent]
        for (item, future), gone in zip(sent, given_up, strict=True):
            tally.check(item, future, gone)


@contextmanager
def running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop in a thread, and see that it has nothing left to do in the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        left = asyncio.run_coroutine_threadsafe(others(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        if left:
            print(f"tasks left: {left}")


async def others() -> list[str]:
    """Name the tasks that are not this one."""
    await asyncio.sleep(0.05)
    me = asyncio.current_task()
    return [task.get_name() for task in asyncio.all_tasks() if task is not me]


def run(seconds: float, threads: int, loops: int) -> int:
    """Raise the storm; give the number of things that were wrong."""
    every = batchers()
    tallies = [Tally() for _ in range(threads)]
    with ExitStack() as stack:
        running = [stack.enter_context(running_loop()) for _ in range(loops)]
        faces = [
            stack.enter_context(BlockingBatcher.attached(batcher, loop))
            for loop in running
            for batcher in every
        ]
        until = time.monotonic() + seconds
        crowd = [
            threading.Thread(target=storm, args=(faces, number, until, tally))
            for number, tally in enumerate(tallies)
        ]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
        for loop in running:
            for batcher in every:
                asyncio.run_coroutine_threadsafe(batcher.drain(), loop).result()
        faults = [*account(every), *(fault for tally in tallies for fault in tally.wrong)]
    report(sum((tally.outcomes for tally in tallies), Counter()), every)
    del faces, crowd
    gc.collect()
    tickets = sum(isinstance(each, Ticket) for each in gc.get_objects())
    if tickets:
        faults.append(f"{tickets} tickets are left")
    for fault in faults[:20]:
        print(f"WRONG: {fault}")
    return len(faults)


def account(every: list[Batcher[int, Any]]) -> Iterator[str]:
    """See that all that was submitted came to one end."""
    for number, batcher in enumerate(every):
        now = batcher.statistics()
        ends = now.completed + now.failed + now.cancelled + now.late + now.dropped
        held = now.waiting + now.queued + now.joined + now.in_flight + now.slots_busy
        if now.submitted != ends or held:
            yield f"batcher {number} accounts for {ends} of {now.submitted}, and holds {held}"


def report(outcomes: "Counter[str]", every: list[Batcher[int, Any]]) -> None:
    """Print what happened."""
    total = sum(outcomes.values())
    print(f"{total:,} calls: " + ", ".join(f"{n:,} {name}" for name, n in outcomes.most_common()))
    calls = sum(batcher.statistics().calls for batcher in every)
    print(f"{calls:,} batches in {len(every)} batchers")


def main() -> int:
    """Read the command line, and raise the storm."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storm", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long (default 30)")
    parser.add_argument("--threads", type=int, default=32, help="callers (default 32)")
    parser.add_argument("--loops", type=int, default=4, help="event loops (default 4)")
    arguments = parser.parse_args()
    print(setting())
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        faults = run(arguments.seconds, arguments.threads, arguments.loops)
    finally:
        sys.setswitchinterval(before)
    print("every call was answered, and nothing is left" if not faults else f"{faults} wrong")
    return bool(faults)


if __name__ == "__main__":
    raise SystemExit(main())
