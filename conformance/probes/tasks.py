"""Calls that are handed to tasks, as an async function's calls are."""

import asyncio
from typing import Any

from conformance.adapter import Adapter, NotOffered
from conformance.finding import Finding, all_answered, judge, outcome, outcomes, tell
from conformance.probes.probe import probe
from conformance.stage import WAIT, Recorder

FUTURE = "a future, to be awaited once more"


@probe(
    "What the library's usual call gives, of a decorated function or of a method, as it comes: one "
    "goes to `asyncio.create_task`, one to a TaskGroup's.",
    "Both take it as they take an async function's, and the tasks' results are the answers.",
)
async def call_as_task(library: type[Adapter]) -> Finding:
    ask = library.calling(Recorder(), size=2, wait=WAIT)
    try:
        callers = {1: asyncio.create_task(ask(1))}
    except TypeError:
        return judge(False, f"TypeError: no task takes the {type(ask(1)).__name__} that it gives")
    try:
        async with asyncio.TaskGroup() as group:
            callers[2] = group.create_task(ask(2))
            await outcomes(callers)
            seen = results_of(callers)
            callers[2].cancel()  # where it hangs, so would the group
    except ExceptionGroup:
        seen = results_of(callers)
    return judge(all_answered(seen), tell(seen))


def results_of(callers: dict[int, "asyncio.Task[Any]"]) -> list[str]:
    """Say what became of tasks, and whether they gave something that has to be awaited."""
    return [
        FUTURE if word == "wrong answer" and asyncio.isfuture(caller.result()) else word
        for item, caller in callers.items()
        for word in [outcome(item, caller)]
    ]


@probe(
    "Three calls are handed to `asyncio.create_task` as they come; one of the tasks is cancelled "
    "before its first step.",
    "It leaves nothing behind: its item is not handled, or the result is dropped; the other two "
    "and the next one are answered.",
)
async def cancel_unstarted(library: type[Adapter]) -> Finding:
    handler = Recorder()
    ask = library.calling(handler, size=64, wait=WAIT)
    try:
        tasks = {item: asyncio.create_task(ask(item)) for item in (1, 2, 3)}
    except TypeError:
        raise NotOffered(f"no task takes the {type(ask(1)).__name__} that it gives") from None
    victim = tasks.pop(2)
    victim.cancel()
    seen = await outcomes({item: asyncio.create_task(last(task)) for item, task in tasks.items()})
    after = await outcomes({4: asyncio.create_task(last(ask(4)))})
    reached = "the handler got it" if 2 in handler.items else "the handler never saw it"
    good = victim.cancelled() and all_answered([*seen, *after])
    others = "" if good else f"; the others: {tell(seen)}; next item: {tell(after)}"
    return judge(good, f"{reached}{others}")


async def last(awaited: Any) -> Any:
    """Await something, and what it gives as well, where that is a future."""
    result = await awaited
    return await result if asyncio.isfuture(result) else result
