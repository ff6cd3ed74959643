"""Handlers and functions that fail."""

import asyncio
from collections.abc import Callable
from typing import Any

from conformance.adapter import OPTIONS, Adapter, Handler, NotOffered
from conformance.finding import Finding, all_answered, all_failed, answer, judge, outcomes, tell
from conformance.probes.probe import probe
from conformance.stage import WAIT, Recorder, call


@probe(
    "The handler raises ValueError for a batch of three.",
    "Every caller gets a ValueError, each an object of its own.",
)
async def handler_raises(library: type[Adapter]) -> Finding:
    batcher = library(Recorder(error=ValueError), size=3, wait=WAIT)
    callers = call(batcher, 1, 2, 3)
    seen = await outcomes(callers)
    if set(seen) != {"ValueError"}:
        return judge(False, tell(seen))
    objects = len({id(caller.exception()) for caller in callers.values()})
    shared = "one object for all" if objects == 1 else f"{objects} objects"
    return judge(objects == len(callers), f"ValueError, {shared}")


@probe(
    "The handler raises ValueError for one batch, and then no more.",
    "The next item is answered.",
)
async def next_after_failure(library: type[Adapter]) -> Finding:
    handler = Recorder(error=ValueError)
    batcher = library(handler, size=3, wait=WAIT)
    await outcomes(call(batcher, 1, 2, 3))
    handler.error = None
    seen = await outcomes(call(batcher, 4))
    return judge(all_answered(seen), tell(seen))


@probe(
    "The handler itself raises CancelledError for a batch of three.",
    "Every caller gets an error that is no CancelledError, and the next item is answered.",
)
async def handler_cancels(library: type[Adapter]) -> Finding:
    handler = Recorder(error=asyncio.CancelledError)
    batcher = library(handler, size=3, wait=WAIT)
    seen = await outcomes(call(batcher, 1, 2, 3))
    handler.error = None
    after = await outcomes(call(batcher, 4))
    return judge(
        all_failed(seen) and all_answered(after), f"{tell(seen)}; next item: {tell(after)}"
    )


@probe(
    "The handler answers two results for three items.",
    "Every caller gets an error.",
)
async def short_results(library: type[Adapter]) -> Finding:
    return await wrong_number(library, lambda items: [answer(item) for item in items][:-1])


@probe(
    "The handler answers four results for three items.",
    "Every caller gets an error.",
)
async def long_results(library: type[Adapter]) -> Finding:
    return await wrong_number(library, lambda items: [*(answer(item) for item in items), "more"])


async def wrong_number(library: type[Adapter], respond: Callable[[list[int]], Any]) -> Finding:
    """Say what callers get whose handler responds with another number of results."""

    async def handler(items: list[int]) -> Any:
        return respond(items)

    seen = await outcomes(call(library(handler, size=3, wait=WAIT), 1, 2, 3))
    return judge(all_failed(seen), tell(seen))


@probe(
    "The key or size function of the batcher raises for the second of three items.",
    "That caller gets the error; the other two, and the next item, are answered.",
)
async def function_raises(library: type[Adapter]) -> Finding:
    found = [
        await one_function_raises(library, option)
        for option in ("key", "weigh")
        if option in library.options
    ]
    if not found:
        raise NotOffered(f"{OPTIONS['key']}, {OPTIONS['weigh']}")
    return judge(
        all(each.verdict == "pass" for each in found), "; ".join(each.seen for each in found)
    )


async def one_function_raises(library: type[Adapter], option: str) -> Finding:
    """Say what callers get where one of the functions raises."""
    make: Callable[..., Adapter] = library
    handler: Handler = Recorder()
    function = {"key": key_of, "weigh": weight_of}[option]
    batcher = make(handler, size=3, wait=WAIT, **{option: function})
    first, second, third = await outcomes(call(batcher, 1, 2, 3))
    after = await outcomes(call(batcher, 4))
    good = second == "ValueError" and all_answered([first, third, *after])
    name = {"key": "key", "weigh": "size"}[option]
    return judge(
        good, f"{name}: its caller {second}, others {tell([first, third])}, next {after[0]}"
    )


def key_of(item: int) -> int:
    """Give each item a key of its own, but raise for one."""
    if item == 2:
        raise ValueError("poison")
    return item


def weight_of(item: int) -> int:
    """Give each item the weight of one, but raise for one."""
    return key_of(item) // item
