"""Callers that are cancelled."""

import asyncio

from conformance.adapter import Adapter
from conformance.finding import Finding, all_answered, judge, outcomes, tell
from conformance.probes.probe import probe
from conformance.stage import WAIT, Held, Recorder, call, queued


@probe(
    "One of three callers is cancelled while the handler runs: the first, then on new batchers the "
    "second and the third.",
    "The other two are answered, by that one call.",
)
async def cancel_one(library: type[Adapter]) -> Finding:
    found = [await one_cancelled(library, victim) for victim in (1, 2, 3)]
    if len({each.seen for each in found}) == 1:
        return found[0]
    places = zip(("first", "second", "third"), found, strict=True)
    return judge(False, "; ".join(f"{place}: {each.seen}" for place, each in places))


async def one_cancelled(library: type[Adapter], victim: int) -> Finding:
    """Cancel one of three callers."""
    handler = Held()
    batcher = library(handler, size=3, wait=WAIT)
    callers = call(batcher, 1, 2, 3)
    await handler.running()
    callers.pop(victim).cancel()
    await asyncio.sleep(0.01)
    handler.released.set()
    seen = await outcomes(callers)
    calls = "" if len(handler.calls) == 1 else f", the handler ran {len(handler.calls)} times"
    return judge(all_answered(seen) and not calls, tell(seen) + calls)


@probe(
    "One of three callers is cancelled while its item is queued.",
    "The handler never sees that item; the other two are answered.",
)
async def cancel_queued(library: type[Adapter]) -> Finding:
    handler = Recorder()
    batcher = library(handler, size=64, wait=0.1)
    callers = call(batcher, 1, 2, 3)
    await queued(library)
    callers.pop(2).cancel()
    seen = await outcomes(callers)
    reached = "the handler got it" if 2 in handler.items else "the handler never saw it"
    good = all_answered(seen) and 2 not in handler.items
    return judge(good, reached if all_answered(seen) else f"{reached}; the others: {tell(seen)}")


@probe(
    "All three callers of a batch are cancelled while the handler runs.",
    "The handler is cancelled: nobody waits for it any more.",
)
async def cancel_all(library: type[Adapter]) -> Finding:
    handler = Held()
    batcher = library(handler, size=3, wait=WAIT)
    callers = call(batcher, 1, 2, 3)
    await handler.running()
    for caller in callers.values():
        caller.cancel()
    await asyncio.sleep(0.1)
    cancelled = handler.cancelled
    handler.released.set()
    await asyncio.sleep(0.01)
    return judge(cancelled, "cancelled" if cancelled else "ran on")


@probe(
    "Two callers submit the same item; one of them is cancelled while the handler runs.",
    "The other is answered.",
)
async def cancel_twin(library: type[Adapter]) -> Finding:
    handler = Held()
    batcher = library(handler, size=2, wait=WAIT)
    first, second = call(batcher, 7), call(batcher, 7)
    await handler.running()
    first[7].cancel()
    await asyncio.sleep(0.01)
    handler.released.set()
    seen = await outcomes(second)
    return judge(all_answered(seen), tell(seen))
