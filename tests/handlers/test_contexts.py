"""The contexts of handlers, callers and callbacks, and ``current_batch()``."""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import inspect
import math
import sys
from decimal import Decimal
from typing import Any

import pytest

from microbatch import Batcher, batched, current_batch
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


@pytest.mark.parametrize("handler", SEEING)
async def test_the_handler_runs_in_a_copy_of_the_context_that_its_batcher_was_made_in(
    handler: Any,
) -> None:
    variable.set("the maker's")
    batcher: Batcher[int, str] = Batcher(handler)
    variable.set("the caller's")
    assert await batcher.submit(1) == "the maker's"
    retried: Batcher[int, str] = contextvars.Context().run(Batcher, handler, on_error="bisect")
    assert await retried.submit(1) == "nobody's"


async def test_a_method_runs_in_a_copy_of_the_context_that_it_was_decorated_in() -> None:
    variable.set("the decorator's")

    class Model:
        @batched()
        async def see(self, items: list[int]) -> list[str]:
            return await see(items)

        @batched()
        @classmethod
        async def see_of_class(cls, items: list[int]) -> list[str]:
            return await see(items)

    variable.set("the instance's")
    model = Model()
    assert await model.see(1) == "the decorator's"
    assert await Model.see_of_class(1) == "the decorator's"


@pytest.mark.parametrize("in_thread", [False, True], ids=["async def", "def"])
async def test_the_precision_of_decimals_is_that_of_the_batchers_making(in_thread: bool) -> None:
    async def handler(items: list[int]) -> list[Decimal]:
        return [Decimal(1) / item for item in items]

    def threaded(items: list[int]) -> list[Decimal]:
        return [Decimal(1) / item for item in items]

    with decimal.localcontext(prec=3):
        batcher: Batcher[int, Decimal] = Batcher(threaded if in_thread else handler)
    assert await batcher.submit(3) == Decimal("0.333")


async def test_the_error_state_of_numpy_is_that_of_the_batchers_making() -> None:
    numpy = pytest.importorskip("numpy", minversion="2")  # where it became a context's

    async def handler(items: list[float]) -> Any:
        return numpy.array(items) / 0

    with numpy.errstate(divide="ignore"):
        quiet: Batcher[float, float] = Batcher(handler)
    with numpy.errstate(divide="raise"):
        strict: Batcher[float, float] = Batcher(handler)
    assert await quiet.submit(1.0) == math.inf
    with pytest.raises(FloatingPointError):
        await strict.submit(1.0)


async def test_a_batcher_that_a_handler_makes_serves_no_batch_of_its_makers() -> None:
    async def ask(items: list[int]) -> list[int]:
        return [current_batch().size]

    async def handler(items: list[int]) -> list[Any]:
        inner: Batcher[int, int] = Batcher(
            RecordingHandler(delay=9.0), timeout=1.0, timeout_policy=ask
        )
        answers = await outcomes(inner, [1])
        await inner.drain()
        return answers

    (error,) = await outcomes(Batcher(handler), [1])
    assert str(error) == "current_batch() must be called from within a batch handler"


async def test_a_timeout_policy_is_asked_in_a_copy_of_the_same_context() -> None:
    async def policy(items: list[int]) -> list[str]:
        return await see(items)

    variable.set("the maker's")
    batcher: Batcher[int, Any] = Batcher(
        RecordingHandler(delay=9.0), timeout=1.0, timeout_policy=policy
    )
    variable.set("the caller's")
    assert await batcher.submit(1) == "the maker's"
    await batcher.drain()


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
