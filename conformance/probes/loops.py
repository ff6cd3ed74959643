"""Loops, contexts and threads."""

import asyncio
import contextvars
import decimal
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, Self

from conformance.adapter import Adapter
from conformance.finding import (
    ANSWERED,
    HANG,
    PATIENCE,
    Finding,
    all_answered,
    answer,
    judge,
    outcomes,
    tell,
)
from conformance.probes.probe import Run, probe
from conformance.stage import WAIT, Recorder, call

THREADS = 32
EACH = 20
IDLE = 3.0
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
    "A batcher that one event loop has used is used by it and by the loop of another thread at the "
    "same time.",
    "The callers on both loops are answered.",
)
def two_loops(library: type[Adapter], run: Run) -> Finding:
    async def use(batcher: Adapter, *items: int) -> list[str]:
        start = time.monotonic()
        seen = await outcomes(call(batcher, *items))
        # Answers that wait for some timer to wake the loop would wait for ever without it.
        return seen if time.monotonic() - start < PATIENCE else [HANG] * len(items)

    async def both() -> tuple[list[str], list[str]]:
        batcher = library(Recorder(seconds=0.05), size=6, wait=2 * WAIT)
        await outcomes(call(batcher, 1, 2, 3))
        there = asyncio.create_task(asyncio.to_thread(run, use(batcher, 4, 5, 6)))
        here = await use(batcher, 7, 8, 9)
        try:
            return here, await there
        except Exception as error:
            return here, [type(error).__name__]

    here, there = run(both())
    seen = f"first loop: {tell(here)}; second loop: {tell(there)}"
    return judge(all_answered([*here, *there]), seen)


@probe(
    "Two callers that set a context variable have their items handled, one after the other.",
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
    "A context variable and decimal's precision are set where the batcher is made, and set "
    "otherwise by a caller.",
    "The handler has them as they were where the batcher was made.",
)
async def handler_settings(library: type[Adapter]) -> Finding:
    handled: list[tuple[str, int]] = []

    async def handler(items: list[int]) -> list[str]:
        handled.append((caller_name.get(), decimal.getcontext().prec))
        return [answer(item) for item in items]

    def make() -> Adapter:
        use("maker", 7)
        return library(handler, size=2, wait=WAIT)

    caller = contextvars.copy_context()
    caller.run(use, "caller", 11)
    batcher = contextvars.copy_context().run(make)
    seen = await outcomes(caller.run(call, batcher, 1))
    words = {
        (): tell(seen),
        (("maker", 7),): "as where the batcher was made",
        (("caller", 11),): "as the caller has them",
    }
    saw = words.get(tuple(handled), "neither the maker's nor the caller's")  # type: ignore[call-overload]
    return judge(all_answered(seen) and handled == [("maker", 7)], saw)


def use(name: str, precision: int) -> None:
    """Set what a handler may see, in the context that this runs in."""
    caller_name.set(name)
    decimal.setcontext(decimal.Context(prec=precision))


@probe(
    f"A batcher that has answered one item is left alone for {IDLE:.0f} seconds.",
    "The loop is left asleep: nothing polls.",
)
async def idle(library: type[Adapter]) -> Finding:
    batcher = library(Recorder(), size=64, wait=0.005)
    seen = await outcomes(call(batcher, 1))
    await asyncio.sleep(0.1)
    with Sleeps() as sleeps:
        await asyncio.sleep(IDLE)
    rate = (sleeps.count - 1) / IDLE  # one of them ends the sleep
    asleep = rate < 0.5
    words = "stays asleep" if asleep else f"{rate:.1f} wake-ups a second"
    return judge(all_answered(seen) and asleep, words)


class Sleeps:
    """Count how often the running loop goes to sleep."""

    def __enter__(self) -> Self:
        self.count = 0
        loop: Any = asyncio.get_running_loop()
        self.selector, self.select = loop._selector, loop._selector.select
        self.selector.select = self.counting
        return self

    def __exit__(self, *_: object) -> None:
        del self.selector.select

    def counting(self, timeout: float | None = None) -> Any:
        self.count += timeout is None or timeout > 0
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
            ANSWERED if submit(first + number) == answer(first + number) else "wrong answer"
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
