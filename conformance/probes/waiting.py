"""When batches are formed, and how long an item may take."""

import asyncio
import statistics

from conformance.adapter import Adapter
from conformance.finding import HANG, Finding, all_answered, judge, outcomes, tell
from conformance.probes.probe import probe
from conformance.stage import Recorder, call

ARRIVALS = 100
INTERVAL = 0.004
MOST_CALLS = 7
MOST_MEDIAN = 0.25


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
