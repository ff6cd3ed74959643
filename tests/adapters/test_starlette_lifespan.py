"""What batchers have accepted is finished when their app ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi")

from fastapi import FastAPI
from starlette.applications import Starlette

from microbatch import Batcher, BatcherClosedError, BlockingBatcher, batched
from microbatch.adapters.starlette import closing, lifespan
from microbatch.testing import RecordingHandler, run
from tests.adapters.asgi import living, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


async def slow(items: list[Any]) -> list[Any]:
    await asyncio.sleep(1.0)
    return items


def now() -> float:
    return asyncio.get_running_loop().time()


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == "microbatch"]


@pytest.fixture(params=[Starlette, FastAPI])
def make_app(request: pytest.FixtureRequest) -> Callable[..., Any]:
    app: Callable[..., Any] = request.param
    return app


# ------------------------------------------------------------------------------- the app's lifespan
async def test_what_was_accepted_is_finished_before_the_app_ends(
    make_app: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    batcher = Batcher(slow, max_batch_size=2, max_latency=0.01)
    async with living(make_app(lifespan=lifespan(batcher))):
        tickets = [batcher.submit(item) for item in range(3)]
        await asyncio.sleep(0)
    assert [ticket.result() for ticket in tickets] == [0, 1, 2]
    assert messages(caplog) == []


def test_an_app_can_be_started_again_with_the_same_batchers(make_app: Callable[..., Any]) -> None:
    @batched(max_batch_size=8)
    async def double(numbers: list[int]) -> list[int]:
        await asyncio.sleep(1.0)
        return [2 * number for number in numbers]

    app = make_app(lifespan=lifespan(double))

    async def once() -> None:
        async with living(app):
            ticket = double(21)
        assert ticket.result() == 42

    for _ in range(3):
        run(once)


async def test_the_apps_own_lifespan_is_around(make_app: Callable[..., Any]) -> None:
    open_, events = False, []

    async def handler(items: list[Any]) -> list[Any]:
        await asyncio.sleep(1.0)
        events.append(f"open: {open_}")
        return items

    @contextlib.asynccontextmanager
    async def resources(app: Any) -> AsyncIterator[dict[str, str]]:
        nonlocal open_
        assert type(app) is make_app
        open_ = True
        yield {"pool": "a pool"}
        open_ = False
        events.append("closed")

    batcher = Batcher(handler)
    async with living(make_app(lifespan=lifespan(batcher, around=resources))) as state:
        batcher.submit(1)
    assert state == {"pool": "a pool"}
    assert events == ["open: True", "closed"]


async def test_without_a_lifespan_of_its_own_an_app_has_no_state() -> None:
    async with lifespan(Batcher(slow))(None) as state:
        assert state is None


async def test_what_is_unfinished_after_the_timeout_is_counted_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stuck, quick = Batcher(slow, name="stuck", max_batch_size=2), Batcher(slow, name="quick")
    start = now()
    async with living(Starlette(lifespan=lifespan(quick, stuck, timeout=2.5))):
        last, *_ = [quick.submit(1), *(stuck.submit(item) for item in range(6))]
    assert (last.result(), now() - start) == (1, 2.5)
    assert messages(caplog) == [
        "batcher 'stuck' was not drained within 2.5 s: unfinished items: 2, handler calls: 1"
    ]
    assert caplog.records[-1].levelno == logging.WARNING
    assert await stuck.submit(7) == 7


async def test_the_timeout_is_for_all_of_them_together(caplog: pytest.LogCaptureFixture) -> None:
    batchers = [Batcher(slow, name=name, max_batch_size=1) for name in ("first", "second", "third")]
    start = now()
    async with living(Starlette(lifespan=lifespan(*batchers, timeout=1.5))):
        for batcher in batchers[:2]:
            batcher.submit_many([1, 2])
        batchers[2].submit(1)
    assert now() - start == 1.5
    assert messages(caplog) == [
        "batcher 'first' was not drained within 1.5 s: unfinished items: 1, handler calls: 1",
        "batcher 'second' was not drained within 1.5 s: unfinished items: 1, handler calls: 1",
    ]
    await asyncio.gather(*(each.drain() for each in batchers))


async def test_without_a_timeout_all_is_waited_for() -> None:
    batcher = Batcher(slow, max_batch_size=1)
    async with living(Starlette(lifespan=lifespan(batcher, timeout=None))):
        ticket = batcher.submit_many(range(100))
    assert ticket.result() == [*range(100)]


async def test_what_one_handler_submits_to_the_next_batcher_is_finished(
    caplog: pytest.LogCaptureFixture,
) -> None:
    second = Batcher(slow)

    async def ask_second(items: list[Any]) -> list[Any]:
        await asyncio.sleep(1.0)
        return await second.submit_many(items)

    first = Batcher(ask_second)
    async with living(Starlette(lifespan=lifespan(first, second))):
        ticket = first.submit("in turn")
    assert ticket.result() == "in turn"
    third = Batcher(ask_second)
    async with closing(third, second):
        ticket = third.submit("in turn")
    assert ticket.result() == "in turn"
    assert messages(caplog) == []


async def test_a_lifespan_that_fails_finishes_first() -> None:
    batcher = Batcher(slow)
    with contextlib.suppress(ZeroDivisionError):
        async with lifespan(batcher)(None):
            ticket = batcher.submit(1)
            raise ZeroDivisionError
    assert ticket.result() == 1


@pytest.mark.parametrize("kind", ["lifespan", "closing"])
async def test_an_app_that_is_cancelled_waits_for_nothing(kind: str) -> None:
    batcher = Batcher(slow)
    start = now()

    async def live() -> None:
        async with closing(batcher) if kind == "closing" else lifespan(batcher)(None):
            batcher.submit(1)
            await asyncio.get_running_loop().create_future()

    life = asyncio.create_task(live())
    await turns()
    life.cancel()
    await asyncio.wait([life])
    assert life.cancelled()
    assert now() == start
    await batcher.drain()


# ---------------------------------------------------------------------- batchers that the app makes
@pytest.mark.every_loop
async def test_batchers_of_the_app_are_closed(
    make_app: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    events = []

    @contextlib.asynccontextmanager
    async def own(app: Any) -> AsyncIterator[dict[str, Any]]:
        batcher = Batcher(RecordingHandler(lambda items: events.append("handled") or items))
        async with closing(batcher):
            yield {"batcher": batcher}
        events.append("ended")

    async with living(make_app(lifespan=own)) as state:
        ticket = state["batcher"].submit(1)
    assert ticket.result() == 1
    with pytest.raises(BatcherClosedError):
        state["batcher"].submit(2)
    assert events == ["handled", "ended"]
    assert messages(caplog) == []


async def test_what_is_given_up_after_the_timeout_is_counted_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    batchers = [Batcher(slow, name=name, max_batch_size=2) for name in ("first", "second")]
    start = now()
    async with closing(*batchers, timeout=2.5):
        tickets = [batchers[0].submit(item) for item in range(7)]
        quick = batchers[1].submit(1)
    assert (quick.result(), now() - start) == (1, 2.5)
    assert [ticket.exception() is None for ticket in tickets] == [True] * 4 + [False] * 3
    assert isinstance(tickets[-1].exception(), BatcherClosedError)
    assert messages(caplog) == ["batcher 'first' did not finish within 2.5 s: items given up: 3"]
    assert caplog.records[-1].levelno == logging.WARNING


async def test_without_a_timeout_nothing_is_given_up() -> None:
    batcher = Batcher(slow, max_batch_size=1)
    async with closing(batcher, timeout=None):
        ticket = batcher.submit_many(range(100))
    assert ticket.result() == [*range(100)]


async def test_a_block_that_fails_closes_them() -> None:
    batcher = Batcher(slow)
    with contextlib.suppress(ZeroDivisionError):
        async with closing(batcher):
            ticket = batcher.submit(1)
            raise ZeroDivisionError
    assert ticket.result() == 1
    with pytest.raises(BatcherClosedError):
        batcher.submit(2)


@pytest.mark.every_loop
async def test_a_blocking_batcher_is_closed_too(caplog: pytest.LogCaptureFixture) -> None:
    never = asyncio.Event()

    async def stuck(items: list[Any]) -> list[Any]:
        await never.wait()
        return items

    batcher = BlockingBatcher.attached(Batcher(stuck, name="stuck"))
    async with closing(batcher, timeout=0.01):
        future = batcher.submit(1)
        await turns()
    assert isinstance(future.exception(), BatcherClosedError)
    assert messages(caplog) == ["batcher 'stuck' did not finish within 0.01 s: items given up: 1"]
    await batcher.batcher.aclose(timeout=0)


# ------------------------------------------------------------------------------------ what is wrong
class Model:
    @batched()
    async def embed(self, items: list[int]) -> list[int]:
        return items


async def generate(app: Any) -> AsyncIterator[None]:
    yield


METHOD = (
    "'Model.embed' is a method: use it through an instance; "
    "a class method needs @batched() above @classmethod"
)
AROUND = (
    "around must be a function of the app that gives an async context manager, "
    "such as @asynccontextmanager makes, got "
)


@pytest.mark.parametrize("function", [lifespan, closing])
@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ([slow], {}, TypeError, f"batchers must be Batchers or @batched functions, got {slow!r}"),
        ([None], {}, TypeError, "batchers must be Batchers or @batched functions, got None"),
        (
            [Model.embed],
            {},
            TypeError,
            METHOD,
        ),
        ([], {"timeout": -1}, ValueError, "timeout must be >= 0 and finite, got -1"),
        ([], {"timeout": float("inf")}, ValueError, "timeout must be >= 0 and finite, got inf"),
        ([], {"timeout": float("nan")}, ValueError, "timeout must be >= 0 and finite, got nan"),
        (
            [],
            {"timeout": "10"},
            TypeError,
            "timeout must be a number of seconds or None, got '10'",
        ),
        ([], {"timeout": True}, TypeError, "timeout must be a number of seconds or None, got True"),
    ],
)
def test_what_is_wrong_is_said_at_once(
    function: Any, arguments: Any, options: Any, error: Any, message: str
) -> None:
    with pytest.raises(error) as caught:
        function(*arguments, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize("around", [generate, contextlib.nullcontext()])
def test_what_can_be_no_lifespan_is_refused(around: Any) -> None:
    with pytest.raises(TypeError) as caught:
        lifespan(around=around)
    assert str(caught.value) == f"{AROUND}{around!r}"


async def test_a_blocking_batcher_cannot_be_drained_by_an_app() -> None:
    blocking = BlockingBatcher(slow)
    with pytest.raises(TypeError) as caught:
        lifespan(blocking)  # type: ignore[arg-type]
    expected = (
        "batchers must be Batchers or @batched functions, and closing() takes a BlockingBatcher, "
        f"got {blocking!r}"
    )
    assert str(caught.value) == expected
