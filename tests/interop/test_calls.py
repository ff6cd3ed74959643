"""The call of a batched function is what an async function's call is, and a future besides."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import sys
import threading
import traceback
import warnings
from collections.abc import Coroutine
from typing import Any

import anyio
import pytest

from microbatch import BatchedCall, Ticket, batched
from tests.interop.trouble import Trouble

every_loop = pytest.mark.every_loop


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture(params=["plain", "shared"])
def embed(request: pytest.FixtureRequest, handler: Any) -> Any:
    """A batched function; where items are shared, calls are tickets of another kind."""

    async def embed(items: list[Any]) -> list[Any]:
        return await handler(items)

    return batched(dedupe=id if request.param == "shared" else None, name="embed")(embed)


# ---------------------------------------------------------------------------------------- as a task
@every_loop
async def test_a_call_can_be_made_a_task(embed: Any) -> None:
    task = asyncio.create_task(embed(1), name="one")
    assert await task == 1
    loop = asyncio.get_running_loop()
    assert await loop.create_task(embed(2)) == 2


@every_loop
async def test_tasks_of_calls_are_batched(embed: Any, handler: Any) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(embed(number)) for number in range(10)]
    assert [task.result() for task in tasks] == [*range(10)]
    assert handler.sizes == [10]


@every_loop
async def test_a_task_of_a_call_raises_its_exception(embed: Any) -> None:
    with pytest.raises(Trouble, match=r"^bad$"):
        await asyncio.create_task(embed("bad"))


@every_loop
async def test_a_task_that_is_cancelled_before_its_first_step_gives_the_item_up(embed: Any) -> None:
    task = asyncio.Task(embed(1))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await turns()
    ends = embed.statistics()
    assert (ends.cancelled, ends.completed) == (1, 0)


@every_loop
async def test_a_task_that_is_cancelled_while_it_waits_gives_the_item_up(
    embed: Any, handler: Any
) -> None:
    handler.hold()
    task = asyncio.create_task(embed(1))
    await turns()
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError):
        await task
    await turns()
    assert embed.statistics().cancelled == 1


async def test_asyncio_names_a_task_of_a_call_by_its_batcher(embed: Any) -> None:
    task = asyncio.create_task(embed(1))
    assert "coro=<embed()>" in repr(task)
    assert task.get_stack() == []
    await task


# -------------------------------------------------------------------------------------- as a future
@every_loop
async def test_gather_makes_no_tasks_of_calls(embed: Any) -> None:
    calls = [embed(number) for number in range(10)]
    gathered = asyncio.gather(*calls)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert await gathered == [*range(10)]


@every_loop
async def test_wait_for_shield_and_as_completed_take_a_call_as_a_future(embed: Any) -> None:
    assert asyncio.ensure_future(call := embed(1)) is call
    assert await asyncio.wait_for(call, 60) == 1
    assert await asyncio.shield(embed(2)) == 2
    assert [await each for each in asyncio.as_completed([embed(3)])] == [3]
    async with asyncio.timeout(60):
        assert await embed(4) == 4


@every_loop
async def test_asyncio_wait_wants_what_submit_gives(embed: Any) -> None:
    call = embed(1)
    with pytest.raises(TypeError, match="coroutines is forbidden"):
        await asyncio.wait([call])
    ticket = embed.submit(2)
    done, pending = await asyncio.wait([ticket])
    assert (done, pending) == ({ticket}, set())
    assert await call == 1


async def test_what_submit_gives_is_a_future_and_no_coroutine(embed: Any) -> None:
    ticket = embed.submit(1)
    assert asyncio.isfuture(ticket)
    assert not asyncio.iscoroutine(ticket)
    with pytest.raises(TypeError, match="coroutine was expected"):
        asyncio.create_task(ticket)  # noqa: RUF006
    assert await ticket == 1


async def test_a_call_is_a_coroutine_a_future_and_a_ticket(embed: Any) -> None:
    call = embed(1)
    assert isinstance(call, Coroutine)
    assert isinstance(call, Ticket)
    assert asyncio.iscoroutine(call)
    assert asyncio.isfuture(call)
    assert repr(call) == "<Call of 'embed': queued>"
    assert await call == 1
    assert await call == 1  # as a future's result, it can be had again


async def test_calls_are_of_one_public_type_where_items_are_not_shared(handler: Any) -> None:
    call = batched()(handler)(1)
    assert type(call) is BatchedCall
    with pytest.raises(TypeError):
        BatchedCall()
    with pytest.raises(TypeError):
        copy.copy(call)
    await call


# ------------------------------------------------------------------------------- other libraries
@every_loop
async def test_anyio_starts_batched_functions(embed: Any, handler: Any) -> None:
    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(embed, number)
    assert handler.sizes == [5]


@every_loop
async def test_anyio_cancels_what_it_has_started(embed: Any, handler: Any) -> None:
    handler.hold()
    async with anyio.create_task_group() as group:
        group.start_soon(embed, 1)
        group.start_soon(embed, 2)
        await turns()
        group.cancel_scope.cancel()
    await turns()
    assert embed.statistics().cancelled == 2


async def test_starlette_runs_a_batched_function_in_the_background(embed: Any) -> None:
    background = pytest.importorskip("starlette.background")
    tasks = background.BackgroundTasks()
    tasks.add_task(embed, 1)
    tasks.add_task(embed, 2)
    await tasks()
    assert embed.statistics().completed == 2


async def test_tenacity_goes_around_a_batched_function(embed: Any, handler: Any) -> None:
    tenacity = pytest.importorskip("tenacity")
    attempts = iter(["bad", "bad", "good"])

    @tenacity.retry(stop=tenacity.stop_after_attempt(3), retry=tenacity.retry_if_exception_type())
    @functools.wraps(embed)
    async def patient() -> Any:
        return await embed(next(attempts))

    assert await patient() == "good"
    around = tenacity.retry(stop=tenacity.stop_after_attempt(2), reraise=True)(embed)
    assert await around(1) == 1
    with pytest.raises(Trouble):
        await around("bad")


# ----------------------------------------------------------------------------- a coroutine function
async def handle(items: list[Any]) -> list[Any]:
    return items


def plain(items: list[Any]) -> list[Any]:
    return items


class Model:
    @batched()
    async def method(self, items: list[Any]) -> list[Any]:
        return items

    @batched()
    @classmethod
    async def of_class(cls, items: list[Any]) -> list[Any]:
        return items

    @batched()
    @staticmethod
    async def static(items: list[Any]) -> list[Any]:
        return items


@pytest.mark.parametrize(
    "function",
    [
        batched()(handle),
        batched()(plain),
        Model.method,
        Model().method,
        Model.of_class,
        Model().static,
        functools.partial(batched()(handle), 1),
    ],
    ids=["async", "plain", "unbound", "method", "classmethod", "staticmethod", "partial"],
)
def test_a_batched_function_counts_as_a_coroutine_function(function: Any) -> None:
    assert inspect.iscoroutinefunction(function)
    if sys.version_info < (3, 14):
        assert asyncio.iscoroutinefunction(function)


def test_to_count_as_one_changes_neither_signature_nor_source() -> None:
    function = batched()(handle)
    assert inspect.signature(function) == inspect.signature(handle)
    assert inspect.getsource(function) == inspect.getsource(handle)
    assert inspect.unwrap(function) is handle


def test_a_streaming_function_is_no_coroutine_function() -> None:
    @batched(stream=True)
    async def tokens(items: list[Any]) -> Any:
        yield items

    assert not inspect.iscoroutinefunction(tokens)


# -------------------------------------------------------------------------------- driven by hand
@every_loop
async def test_closing_a_call_gives_the_item_up(embed: Any, handler: Any) -> None:
    call = embed(1)
    call.close()
    assert call.cancelled()
    call.close()
    await turns()
    assert handler.calls == []


@every_loop
async def test_throwing_into_a_call_gives_the_item_up_and_raises(embed: Any) -> None:
    call = embed(1)
    error = ValueError("enough")
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        call.throw(error)
    assert caught.value is error
    assert call.cancelled()
    await turns()
    assert embed.statistics().cancelled == 1


async def test_throw_takes_what_a_generators_throw_takes(embed: Any) -> None:
    call = embed(1)
    for given in [(KeyError,), (KeyError, "key"), (KeyError, KeyError("key")), (KeyError("key"),)]:
        with pytest.raises(KeyError):
            call.throw(*given)
    try:
        raise LookupError
    except LookupError as error:
        somewhere = error.__traceback__
    with pytest.raises(KeyError) as caught:
        call.throw(KeyError, None, somewhere)
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == inspect.stack()[0].function
    for given, message in [
        ((), "throw() takes from 1 to 3 arguments, got 0"),
        ((1,), "exceptions must be classes or instances deriving from BaseException, not int"),
        ((KeyError("key"), 1), "instance exception may not have a separate value"),
        ((KeyError, None, 1), "throw() third argument must be a traceback"),
    ]:
        with pytest.raises(TypeError) as refused:
            call.throw(*given)
        assert str(refused.value) == message
    await turns()


async def test_a_failure_has_no_frame_of_ours_for_the_way_through_a_call(embed: Any) -> None:
    with pytest.raises(Trouble) as caught:
        await embed("bad")
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert [name for name in names if "throw" in name] == []


async def test_a_call_can_be_sent_to_by_hand(embed: Any) -> None:
    call = embed((1, 2))
    assert call.send(None) is call
    call._asyncio_future_blocking = False
    await call
    with pytest.raises(StopIteration) as stop:
        call.send(None)
    assert stop.value.value == (1, 2)
    failed = embed("bad")
    await asyncio.gather(failed, return_exceptions=True)
    with pytest.raises(Trouble):
        failed.send(None)


async def test_an_awaitable_may_hand_on_a_calls_own_awaiting(embed: Any) -> None:
    class Later:
        def __await__(self) -> Any:
            return embed(7).__await__()

    assert await Later() == 7


def test_a_call_that_is_closed_on_another_thread_is_given_up_on_its_loop(loop_kind: Any) -> None:
    @batched(name="embed")
    async def embed(items: list[Any]) -> list[Any]:
        return items

    async def main() -> None:
        call = embed(1)
        thread = threading.Thread(target=call.close)
        thread.start()
        thread.join()
        assert not call.done()
        await turns()
        assert call.cancelled()

    loop_kind.run(main)


def test_a_call_whose_loop_was_closed_is_closed_in_silence(loop_kind: Any) -> None:
    @batched(name="embed")
    async def embed(items: list[Any]) -> list[Any]:
        return items

    left: list[Any] = []
    loop = loop_kind.factory()
    loop.call_soon(lambda: left.append(embed(1)))
    loop.call_soon(loop.stop)
    with warnings.catch_warnings(category=ResourceWarning, action="ignore"):  # it says what is left
        loop.run_forever()
        loop.close()
        left[0].close()
        with pytest.raises(ValueError, match="enough"):
            left[0].throw(ValueError("enough"))
        assert not left[0].done()
        loop_kind.run(turns_of(embed))


def turns_of(embed: Any) -> Any:
    async def main() -> None:
        await embed(2)

    return main


# ------------------------------------------------------------------------------- not awaited at all
@every_loop
async def test_iterating_over_a_ticket_without_await_raises_as_a_future_does(batcher: Any) -> None:
    future = asyncio.get_running_loop().create_future()
    with pytest.raises(RuntimeError) as expected:
        list(future)
    ticket = batcher.submit(1)
    with pytest.raises(RuntimeError) as caught:
        list(ticket)
    assert str(caught.value) == str(expected.value) == "await wasn't used with future"
    future.cancel()
    ticket.cancel()
    await turns()


async def test_a_tickets_iterator_is_driven_as_that_of_a_future(batcher: Any) -> None:
    ticket = batcher.submit("x")
    iterator = ticket.__await__()
    assert iter(iterator) is iterator
    assert next(iterator) is ticket
    with pytest.raises(RuntimeError, match="await wasn't used with future"):
        iterator.send(None)
    with pytest.raises(StopIteration):
        next(iterator)  # it is over
    ticket._asyncio_future_blocking = False
    thrown = ticket.__await__()
    with pytest.raises(KeyError):
        thrown.throw(KeyError("key"))
    with pytest.raises(StopIteration):
        next(thrown)
    closed = ticket.__await__()
    closed.close()
    with pytest.raises(StopIteration):
        next(closed)
    assert not ticket.cancelled()  # as a future, it goes on
    assert await ticket == "x"
    with pytest.raises(StopIteration) as stop:
        ticket.__await__().send(None)
    assert stop.value.value == "x"
    failed = batcher.submit("bad")
    await asyncio.wait([failed])
    with pytest.raises(Trouble):
        next(failed.__await__())
