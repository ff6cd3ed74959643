"""Items for which nobody might ever come."""

import asyncio
import functools
from typing import Any, Self

from conformance.adapter import Adapter, NotOffered
from conformance.finding import HANG, Finding, all_answered, judge, outcomes, tell
from conformance.probes.probe import probe
from conformance.stage import WAIT, Held, Recorder, call

PLACES = ("first", "second", "third")


@probe(
    "There is room for two items. While two are in the handler five more arrive, and the last of "
    "them, which waits for room where it was not refused, is cancelled.",
    "When there is room again those that wait for it are answered; those that were refused got an "
    "error; the next item is answered.",
)
async def beyond_capacity(library: type[Adapter]) -> Finding:
    library.require("capacity")
    handler = Held()
    batcher = library(handler, size=2, wait=WAIT, capacity=2)  # type: ignore[call-arg]
    callers = call(batcher, 1, 2)
    await handler.running()
    late = call(batcher, 3, 4, 5, 6, 7)
    await asyncio.sleep(0.2)
    late.pop(7).cancel()
    await asyncio.sleep(0.01)
    handler.released.set()
    seen, beyond = await outcomes(callers), await outcomes(late)
    after = await outcomes(call(batcher, 8))
    good = all_answered([*seen, *after]) and not {HANG, "CancelledError"} & set(beyond)
    words = f"first two: {tell(seen)}; beyond: {tell(beyond)}; next item: {tell(after)}"
    return judge(good, words)


@probe(
    "The handler awaits an item of its own batcher, which is told to have one handler call under "
    "way at once, where it can be.",
    "It goes on, or is told by an error that it can't: its caller gets an answer or an error, and "
    "the next item is answered.",
)
async def own_item(library: type[Adapter]) -> Finding:
    async def handler(items: list[int]) -> list[Any]:
        if 1 in items:
            await batcher.submit(2)
        return await answering(items)

    answering = Recorder()
    batcher = library(handler, size=2, wait=WAIT)
    seen = await outcomes(call(batcher, 1))
    after = await outcomes(call(batcher, 3))
    good = HANG not in seen and all_answered(after)
    return judge(good, f"its caller: {tell(seen)}; next item: {tell(after)}")


@probe(
    "The loop's `call_soon` raises MemoryError once, for a callback that the library itself gives "
    "it: the first, then on new batchers the second and the third. (What asyncio calls for its "
    "tasks and futures goes through.)",
    "Each caller gets an error or an answer, and later items are answered.",
)
async def refusing_loop(library: type[Adapter]) -> Finding:
    words: list[str] = []
    good = True
    while good and len(words) < len(PLACES):
        with Refusal(after=len(words)) as refusal:
            batcher = library(Recorder(), size=64, wait=0.0)
            callers = call(batcher, 1, 2, 3)
            seen = await outcomes(callers)
        later = call(batcher, 4, 5, 6)
        after = await outcomes(later)
        good = HANG not in seen and all_answered(after)
        if good and not refusal.refused:
            break
        words.append(f"{tell(seen)}, later items: {tell(after)}")
    if not words:
        raise NotOffered("it gives the loop no callbacks of its own")
    if len({*words}) == 1:
        return judge(good, words[0])
    return judge(good, "; ".join(map("{}: {}".format, PLACES, words)))


class Refusal:
    """A time in which the loop refuses one callback of the library's, after so many others."""

    def __init__(self, *, after: int) -> None:
        self.others = after
        self.refused = False

    def __enter__(self) -> Self:
        self.loop: Any = asyncio.get_running_loop()
        self.call_soon = self.loop.call_soon
        self.loop.call_soon = self.refusing
        return self

    def __exit__(self, *_: object) -> None:
        del self.loop.call_soon

    def refusing(self, callback: Any, *args: Any, **named: Any) -> Any:
        if not self.refused and not is_asyncios(callback, args):
            self.refused = self.others == 0
            self.others -= 1
            if self.refused:
                raise MemoryError
        return self.call_soon(callback, *args, **named)


def is_asyncios(callback: Any, args: tuple[Any, ...]) -> bool:
    """Say whether it is a step of a task, a future's callback, or another part of asyncio."""
    if args and asyncio.isfuture(args[0]) and args[0].done():
        return True
    while isinstance(callback, functools.partial):
        callback = callback.func
    kinds = (*type(callback).__mro__, *type(getattr(callback, "__self__", None)).__mro__)
    return any(kind.__module__.split(".")[0] in {"asyncio", "_asyncio"} for kind in kinds)
