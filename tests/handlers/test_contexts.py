"""The contexts of handlers, callers and callbacks, and ``current_batch()``."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import math
import sys
from typing import Any

import pytest

from microbatch import Batcher, current_batch
from microbatch.testing import RecordingHandler
from tests.handlers.asking import outcomes


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# ----------------------------------------------------------------------------------------- contexts
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody's")


async def see(items: list[int]) -> list[str]:
    return [variable.get()] * len(items)


def see_in_thread(items: list[int]) -> list[str]:
    return [variable.get()] * len(items)


class SeesWhenCalled:
    """Runs some code before there is a coroutine."""

    def __call__(self, items: list[int]) -> Any:
        return self.answer(items, variable.get())

    async def answer(self, items: list[int], seen: str) -> list[str]:
        return [seen] * len(items)


SEEING = [see, see_in_thread]

if sys.version_info >= (3, 12):
    SEEING.append(inspect.markcoroutinefunction(SeesWhenCalled()))


@pytest.mark.parametrize("handler", SEEING)
@pytest.mark.parametrize("size", [1, 64], ids=["full", "natural"])
async def test_the_handler_never_runs_in_a_callers_context(handler: Any, size: int) -> None:
    batcher: Batcher[int, str] = Batcher(handler, max_batch_size=size)
    variable.set("the caller's")
    assert await batcher.submit(1) == "nobody's"


async def test_what_a_handler_sets_reaches_neither_callers_nor_later_calls() -> None:
    async def handler(items: list[int]) -> list[str]:
        before = variable.get()
        variable.set("the handler's")
        return [before] * len(items)

    batcher: Batcher[int, str] = Batcher(handler)
    assert [await batcher.submit(1), await batcher.submit(2)] == ["nobody's"] * 2
    assert variable.get() == "nobody's"


async def test_callers_and_callbacks_run_in_their_own_contexts() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler())
    seen = {}

    async def caller(name: str) -> None:
        variable.set(name)
        ticket = batcher.submit(1)
        ticket.add_done_callback(lambda _: seen.setdefault(name, variable.get()))
        await ticket
        assert variable.get() == name
        await turns()

    await asyncio.gather(caller("a"), caller("b"))
    assert seen == {"a": "a", "b": "b"}


# ------------------------------------------------------------------------------------ current_batch
@pytest.mark.parametrize("in_thread", [False, True], ids=["async def", "def"])
async def test_a_handler_may_ask_about_its_batch(in_thread: bool) -> None:
    seen = []

    async def handler(items: list[int]) -> None:
        seen.append(current_batch())

    def threaded(items: list[int]) -> None:
        seen.append(current_batch())

    batcher: Batcher[int, None] = Batcher(
        threaded if in_thread else handler, max_latency=1.0, name="mine"
    )
    first = batcher.submit(1)
    await asyncio.sleep(0.25)
    await asyncio.gather(first, batcher.submit(2))
    (batch,) = seen
    assert (batch.name, batch.size, batch.reason, batch.waits) == (
        "mine",
        2,
        "latency",
        (1.0, 0.75),
    )


@pytest.mark.parametrize("in_thread", [False, True], ids=["async def", "def"])
async def test_a_handler_may_ask_when_its_items_are_late(in_thread: bool) -> None:
    seen = []

    async def handler(items: list[int]) -> None:
        seen.append(current_batch().deadlines)

    def threaded(items: list[int]) -> None:
        seen.append(current_batch().deadlines)

    batcher: Batcher[int, None] = Batcher(threaded if in_thread else handler, timeout=5.0)
    now = asyncio.get_running_loop().time()
    await asyncio.gather(
        batcher.submit(1), batcher.submit(2, timeout=1.0), batcher.submit(3, timeout=None)
    )
    assert seen == [(now + 5.0, now + 1.0, math.inf)]


async def test_an_item_that_nobody_awaits_any_more_has_no_deadline() -> None:
    seen = []
    gone = asyncio.Event()

    async def handler(items: list[int]) -> None:
        await gone.wait()
        seen.append(current_batch())

    batcher: Batcher[int, None] = Batcher(handler)
    first, second = batcher.submit(1), batcher.submit(2)
    await turns()
    first.cancel()
    gone.set()
    await second
    assert (seen[0].deadlines, seen[0].abandoned) == ((None, math.inf), (0,))


async def test_what_a_handler_calls_and_starts_may_ask_about_the_batch_too() -> None:
    async def below() -> int:
        return current_batch().size

    async def handler(items: list[int]) -> list[int]:
        sizes = [await below(), await asyncio.create_task(below())]
        sizes.append(await asyncio.to_thread(lambda: current_batch().size))
        return sizes

    assert await outcomes(Batcher(handler), range(3)) == [3, 3, 3]


async def test_the_batch_is_described_as_it_was_dispatched_even_when_a_caller_has_left() -> None:
    seen = []
    gone = asyncio.Event()

    async def handler(items: list[int]) -> None:
        await gone.wait()
        seen.append(current_batch())

    batcher: Batcher[int, None] = Batcher(handler)
    first, second = batcher.submit(1), batcher.submit(2)
    await turns()
    first.cancel()
    gone.set()
    await second
    assert (seen[0].size, seen[0].waits) == (2, (0.0, 0.0))


async def test_asking_about_a_batch_outside_a_handler_is_an_error() -> None:
    message = r"^current_batch\(\) must be called from within a batch handler$"
    with pytest.raises(RuntimeError, match=message):
        current_batch()
    await Batcher(RecordingHandler()).submit(1)
    with pytest.raises(RuntimeError, match=message):
        current_batch()


async def test_a_timeout_policy_is_no_handler_of_a_batch() -> None:
    async def policy(items: list[int]) -> list[int]:
        return [current_batch().size]

    batcher: Batcher[int, int] = Batcher(
        RecordingHandler(delay=9.0), timeout=1.0, timeout_policy=policy
    )
    with pytest.raises(RuntimeError, match="current_batch"):
        await batcher.submit(1)
    await batcher.drain()
