"""When batches are formed, and how long an item may take."""

import asyncio
import random
import statistics
from typing import Any

from conformance.adapter import Adapter
from conformance.finding import HANG, Finding, all_answered, answer, judge, outcomes, tell
from conformance.probes.probe import probe
from conformance.stage import Recorder, call

ARRIVALS = 100
INTERVAL = 0.004
MOST_CALLS = 7
MOST_MEDIAN = 0.25

CLIENTS = 32
HANDLING = 0.02
WAY = (0.001, 0.004)
FIXED = 0.005
WARM_UP = 2.0
MEASURED = 1.0
LEAST_MEAN = 24
"""Between all clients, and two parts that take turns: 16 on average, wherever they are cut."""


@probe(
    f"{ARRIVALS} items arrive 4 ms apart; one handler call at a time, of 100 ms; at most 32 items "
    "in a batch, at most 10 ms of waiting for companions.",
    f"At most {MOST_CALLS} calls, and a median latency of at most {MOST_MEDIAN * 1000:.0f} ms: "
    "batches are formed when the handler is free, not before.",
)
async def late_binding(library: type[Adapter]) -> Finding:
    handler = Recorder(seconds=0.1)
    batcher = library(handler, size=32, wait=0.01)
    loop = asyncio.get_running_loop()
    start = loop.time()
    latencies: list[float] = []
    callers: dict[int, asyncio.Task[object]] = {}

    def note(arrived: float) -> None:
        latencies.append(loop.time() - arrived)

    for number in range(ARRIVALS):
        due = start + number * INTERVAL
        await asyncio.sleep(due - loop.time())
        callers |= (new := call(batcher, number + 1))
        new[number + 1].add_done_callback(lambda _, due=due: note(due))
    seen = await outcomes(callers)
    before = 0
    while HANG in seen and len(handler.calls) > before:  # what goes on is no hang
        before = len(handler.calls)
        seen = await outcomes(callers)
    if not all_answered(seen):
        return judge(False, tell(seen))
    calls, median = len(handler.calls), statistics.median(latencies)
    figures = f"{calls} calls, median {median * 1000:.0f} ms"
    if not library.bounded:
        return Finding("not offered", f"calls are not bounded: {figures}")
    return judge(calls <= MOST_CALLS and median <= MOST_MEDIAN, figures)


@probe(
    f"{CLIENTS} clients each ask again and again, 1 to 4 ms after each answer, as over a network; "
    "they begin at different times within 20 ms. One handler call at a time, of 20 ms; at most 64 "
    "items in a batch, at most 5 ms of waiting for companions, which is longer than any client's "
    "way. A library that can learn how long to wait is tried once more, and told nothing then.",
    f"From {WARM_UP:.0f} seconds on at least {LEAST_MEAN} of the {CLIENTS} are in a batch, on "
    "average: a handler that becomes free waits for those on their way. (Otherwise two parts take "
    f"turns for ever, which is {CLIENTS // 2} on average, or more and smaller parts do.)",
)
async def closed_loop(library: type[Adapter]) -> Finding:
    waits = {"5 ms": FIXED, "learned": library.learned_wait}
    means: dict[str, float] = {}
    for name, wait in waits.items():
        if wait is not None:
            handler = Recorder(seconds=HANDLING)
            seen, means[name] = await turns(library(handler, size=64, wait=wait), handler)
            if not all_answered(seen):
                return judge(False, tell(seen))
    figures = ", ".join(f"{mean:.0f} ({name})" for name, mean in means.items())
    if not library.bounded:
        return Finding("not offered", f"calls are not bounded: mean batch {figures}")
    return judge(min(means.values()) >= LEAST_MEAN, f"mean batch {figures}")


async def turns(batcher: Adapter, handler: Recorder) -> tuple[list[str], float]:
    """Have clients ask for some time; give what became of them and the mean batch at the end."""
    chance = random.Random(1)
    over = asyncio.Event()

    async def client(number: int) -> Any:
        await asyncio.sleep(chance.uniform(0, HANDLING))
        item = number
        while not over.is_set():
            await asyncio.sleep(chance.uniform(*WAY))
            if (result := await batcher.submit(item)) != answer(item):
                return result
            item += CLIENTS
        return answer(number)

    clients = {number: asyncio.create_task(client(number)) for number in range(1, CLIENTS + 1)}
    await asyncio.sleep(WARM_UP)
    warm = len(handler.calls)
    await asyncio.sleep(MEASURED)
    sizes = [len(call) for call in handler.calls[warm:]]
    over.set()
    return await outcomes(clients), statistics.fmean(sizes or [0])


@probe(
    "Items may take 0.1 s; of three that arrive together two go into a handler call of 0.5 s, and "
    "the third is queued behind it.",
    "The queued item's caller gets a TimeoutError in time, and the handler never sees the item.",
)
async def deadline_in_queue(library: type[Adapter]) -> Finding:
    library.require("timeout")
    handler = Recorder(seconds=0.5)
    batcher = library(handler, size=2, wait=0.0, timeout=0.1)  # type: ignore[call-arg]
    loop = asyncio.get_running_loop()
    start = loop.time()
    callers = call(batcher, 1, 2, 3)
    seen = await outcomes({3: callers[3]})
    took = loop.time() - start
    await outcomes(callers)
    error = callers[3].exception() if seen != [HANG] else None
    good = isinstance(error, TimeoutError) and took < 0.3 and 3 not in handler.items
    reached = "the handler got it" if 3 in handler.items else "the handler never saw it"
    return judge(good, f"{tell(seen)} after {took * 1000:.0f} ms, {reached}")
