"""Loops, contexts and threads."""

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from conformance.adapter import Adapter
from conformance.finding import HANG, Finding, all_answered, answer, judge, outcomes, tell
from conformance.probes.probe import Run, probe
from conformance.stage import WAIT, Recorder, call

THREADS = 32
EACH = 20
IDLE = 2.0
"""Seconds of idling that are watched."""

caller_name: contextvars.ContextVar[str] = contextvars.ContextVar("caller_name", default="")


@probe(
    "A batcher that has served one `asyncio.run` is used in a second one.",
    "All three callers of the second are answered.",
)
def second_run(library: type[Adapter], run: Run) -> Finding:
    async def first() -> Adapter:
        batcher = library(Recorder(), size=3, wait=WAIT)
        await outcomes(call(batcher, 1, 2, 3))
        return batcher

    batcher = run(first())

    async def second() -> list[str]:
        return await outcomes(call(batcher, 4, 5, 6))

    seen = run(second())
    return judge(all_answered(seen), tell(seen))


@probe(
    "A batcher is used by two event loops in two threads at the same time.",
    "The callers on both loops are answered.",
)
async def two_loops(library: type[Adapter]) -> Finding:
    handler = Recorder(seconds=0.05)
    batcher = library(handler, size=3, wait=WAIT)
    await outcomes(call(batcher, 1, 2, 3))

    async def elsewhere() -> list[str]:
        return await outcomes(call(batcher, 4, 5, 6))

    there = asyncio.create_task(asyncio.to_thread(asyncio.run, elsewhere()))
    here = await outcomes(call(batcher, 7, 8, 9))
    try:
        seen = await there
    except Exception as error:
        seen = [type(error).__name__]
    return judge(
        all_answered([*here, *seen]), f"first loop: {tell(here)}; second loop: {tell(seen)}"
    )


@probe(
    "Two callers with context variables of their own have their items handled, one after the other.",
    "The handler sees neither caller's variable: its context is its own.",
)
async def handler_context(library: type[Adapter]) -> Finding:
    names: list[str] = []

    async def handler(items: list[int]) -> list[str]:
        names.append(caller_name.get())
        return [answer(item) for item in items]

    batcher = library(handler, size=2, wait=WAIT)
    seen = []
    for number, name in enumerate(("first", "second"), 1):
        context = contextvars.copy_context()
        context.run(caller_name.set, name)
        seen += await outcomes(context.run(call, batcher, number))
    words = {
        ("", ""): "a context of its own",
        ("first", "first"): "the first caller's, for ever",
        ("first", "second"): "that of each batch's first caller",
    }
    saw = words.get(tuple(names), str(names))  # type: ignore[call-overload]
    return judge(all_answered(seen) and not any(names), saw)


@probe(
    f"A batcher that has answered one item is left alone for {IDLE:.0f} seconds.",
    "The loop is not woken up once a second or more: nothing polls.",
)
async def idle(library: type[Adapter]) -> Finding:
    batcher = library(Recorder(), size=64, wait=0.005)
    seen = await outcomes(call(batcher, 1))
    await asyncio.sleep(0.1)
    with Selects() as selects:
        await asyncio.sleep(IDLE)
    rate = (selects.count - 1) / IDLE  # one of them ends the sleep
    good = all_answered(seen) and rate < 1
    return judge(good, "does not wake up" if rate < 1 else f"wakes up {rate:.0f} times a second")


class Selects:
    """Count how often the running loop asks its selector what has happened."""

    def __enter__(self) -> "Selects":
        self.count = 0
        loop: Any = asyncio.get_running_loop()
        self.selector, self.select = loop._selector, loop._selector.select
        self.selector.select = self.counting
        return self

    def __exit__(self, *_: object) -> None:
        del self.selector.select

    def counting(self, timeout: float | None = None) -> Any:
        self.count += 1
        return self.select(timeout)


@probe(
    f"{THREADS} threads without an event loop submit {EACH} items each at the same time.",
    "Each call gives its own item's answer.",
)
def thread_storm(library: type[Adapter], run: Run) -> Finding:
    calls: list[int] = []

    def handler(items: list[int]) -> list[str]:
        calls.append(len(items))
        return [answer(item) for item in items]

    together = threading.Barrier(THREADS)

    def storm(first: int) -> list[str]:
        together.wait()
        return [
            "answered" if submit(first + number) == answer(first + number) else "wrong answer"
            for number in range(EACH)
        ]

    with (
        library.blocking(handler, size=64, wait=0.001) as submit,
        ThreadPoolExecutor(THREADS) as threads,
    ):
        futures = [threads.submit(storm, number * EACH) for number in range(THREADS)]
        done, stuck = wait(futures, timeout=10)
        seen = [HANG] * len(stuck)
        for future in done:
            error = future.exception()
            seen += future.result() if error is None else [type(error).__name__]
    return judge(all_answered(seen), f"{tell(seen)}, {len(calls)} calls for {sum(calls)} items")
