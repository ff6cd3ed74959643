"""The end of a batcher."""

import asyncio
import gc

from conformance.adapter import Adapter
from conformance.finding import HANG, Finding, all_answered, judge, outcomes, tell
from conformance.probes.probe import probe
from conformance.stage import WAIT, Held, Recorder, call


@probe(
    "A batcher is ended at once, with two items in flight and two queued.",
    "Every caller gets an error or an answer: nobody is left waiting.",
)
async def forced_stop(library: type[Adapter]) -> Finding:
    handler = Held()
    batcher = library(handler, size=2, wait=WAIT)
    callers = call(batcher, 1, 2)
    await handler.running()
    callers |= call(batcher, 3, 4)
    await asyncio.sleep(0.01)
    try:
        async with asyncio.timeout(10):
            await batcher.abort()
    except TimeoutError:
        return judge(False, "the stop itself hangs")
    seen = await outcomes(callers)
    good = HANG not in seen
    return judge(good, f"in flight: {tell(seen[:2])}; queued: {tell(seen[2:])}")


@probe(
    "A batcher that has answered all its items is closed, where it can be, and let go.",
    "It leaves no task behind.",
)
async def tasks_left(library: type[Adapter]) -> Finding:
    before = asyncio.all_tasks()
    batcher = library(Recorder(), size=3, wait=WAIT)
    seen = await outcomes(call(batcher, 1, 2, 3))
    await batcher.close()
    del batcher
    gc.collect()
    await asyncio.sleep(0.05)
    left = len(asyncio.all_tasks() - before)
    words = {0: "none left", 1: "1 task left"}.get(left, f"{left} tasks left")
    return judge(left == 0 and all_answered(seen), words)
