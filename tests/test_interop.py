"""A ticket is awaited as any future is, by asyncio's tools and by anyio's."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import sys
from collections.abc import Awaitable
from typing import Any

import anyio
import pytest

from microbatch import Batcher, Ticket
from microbatch.testing import RecordingHandler

pytestmark = pytest.mark.every_loop

SOON = 0.001


class Trouble(Exception):
    """What an item's place in an answer may hold."""


def answer(items: list[Any]) -> list[Any]:
    return [Trouble(item) if item == "bad" else item for item in items]


@pytest.fixture
def handler() -> RecordingHandler[Any, Any]:
    return RecordingHandler(answer)


@pytest.fixture
def batcher(handler: RecordingHandler[Any, Any]) -> Batcher[Any, Any]:
    return Batcher(handler)


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# -------------------------------------------------------------------------------------------- await
async def test_await_gives_the_result(batcher: Any) -> None:
    assert await batcher.submit(1) == 1


async def test_await_raises_the_exception(batcher: Any) -> None:
    with pytest.raises(Trouble, match=r"^bad$"):
        await batcher.submit("bad")


@pytest.mark.parametrize(
    "result", [None, (), (1, 2), StopIteration, Exception, [], "x", float("nan"), NotImplemented]
)
async def test_await_gives_any_result_as_it_is(batcher: Any, result: Any) -> None:
    assert await batcher.submit(result) is result


async def test_a_ticket_can_be_awaited_again_and_by_several(batcher: Any) -> None:
    ticket = batcher.submit(1)

    async def wait() -> Any:
        return await ticket

    assert await asyncio.gather(*(wait() for _ in range(3))) == [1, 1, 1]
    assert await ticket == 1


async def test_a_task_that_awaits_a_ticket_can_be_cancelled(batcher: Any, handler: Any) -> None:
    handler.hold()

    async def wait() -> Any:
        return await batcher.submit(1)

    task = asyncio.create_task(wait())
    await turns()
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await task
    await turns()
    assert batcher.statistics().cancelled == 1


async def test_a_coroutine_that_awaits_a_ticket_handles_its_own_cancellation(
    batcher: Any, handler: Any
) -> None:
    handler.hold()
    seen = []

    async def wait() -> str:
        try:
            await batcher.submit(1)
        except asyncio.CancelledError:
            seen.append("cancelled")
        handler.release()
        return await batcher.submit("again")  # type: ignore[no-any-return]

    task = asyncio.create_task(wait())
    await turns()
    task.cancel()
    assert await task == "again"
    assert seen == ["cancelled"]


# --------------------------------------------------------------------------------- what a ticket is
async def test_a_ticket_is_a_future_to_asyncio_and_no_coroutine(batcher: Any) -> None:
    ticket = batcher.submit(1)
    assert asyncio.isfuture(ticket)
    assert isinstance(ticket, Ticket)
    assert isinstance(ticket, Awaitable)
    assert inspect.isawaitable(ticket)
    assert not asyncio.iscoroutine(ticket)
    assert not inspect.iscoroutine(ticket)
    assert asyncio.ensure_future(ticket) is ticket
    assert ticket.get_loop() is asyncio.get_running_loop()
    await ticket


async def test_a_ticket_tells_how_it_stands(batcher: Any, handler: Any) -> None:
    handler.hold()
    ticket = batcher.submit(1)
    assert (ticket.done(), ticket.cancelled()) == (False, False)
    for ask in (ticket.result, ticket.exception):
        with pytest.raises(asyncio.InvalidStateError):
            ask()
    handler.release()
    await ticket
    assert (ticket.done(), ticket.cancelled(), ticket.result()) == (True, False, 1)
    assert ticket.exception() is None
    assert ticket.cancel() is False


async def test_a_ticket_tells_of_its_exception(batcher: Any) -> None:
    ticket = batcher.submit("bad")
    await asyncio.wait([ticket])
    assert isinstance(ticket.exception(), Trouble)
    with pytest.raises(Trouble):
        ticket.result()


async def test_a_ticket_tells_of_its_cancellation(batcher: Any) -> None:
    ticket = batcher.submit(1)
    assert ticket.cancel("enough")
    assert (ticket.done(), ticket.cancelled()) == (True, True)
    assert ticket.cancel() is False
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await ticket
    with pytest.raises(asyncio.CancelledError):
        ticket.exception()


async def test_callbacks_are_called_soon_and_never_at_once(batcher: Any) -> None:
    ticket = batcher.submit(1)
    calls: list[tuple[str, Any]] = []
    ticket.add_done_callback(lambda done: calls.append(("before", done)))
    ticket.add_done_callback(lambda done: calls.append(("second", done)))
    await ticket
    await turns()
    ticket.add_done_callback(lambda done: calls.append(("after", done)))
    assert [name for name, _ in calls] == ["before", "second"]
    await turns()
    assert [name for name, _ in calls] == ["before", "second", "after"]
    assert all(done is ticket for _, done in calls)


async def test_a_callback_can_be_taken_back(batcher: Any) -> None:
    ticket = batcher.submit(1)
    calls: list[Any] = []
    for _ in range(2):
        ticket.add_done_callback(calls.append)
    assert ticket.remove_done_callback(calls.append) == 2
    assert ticket.remove_done_callback(print) == 0
    await ticket
    await turns()
    assert calls == []


async def test_a_callback_that_raises_is_reported_and_harms_nobody(batcher: Any) -> None:
    reports: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, report: reports.append(report))

    def fail(_: Any) -> None:
        raise Trouble("callback")

    first, second = batcher.submit(1), batcher.submit(2)
    first.add_done_callback(fail)
    assert await asyncio.gather(first, second) == [1, 2]
    (report,) = reports
    assert isinstance(report["exception"], Trouble)
    assert report["message"].startswith("Exception in callback <function ")
    assert report["message"].endswith("of <Ticket of 'recording': returned>")


# ----------------------------------------------------------------------------- wait_for and timeout
async def test_wait_for_gives_the_result(batcher: Any) -> None:
    assert await asyncio.wait_for(batcher.submit(1), 60) == 1
    assert await asyncio.wait_for(batcher.submit(2), None) == 2


async def test_wait_for_raises_the_exception(batcher: Any) -> None:
    with pytest.raises(Trouble):
        await asyncio.wait_for(batcher.submit("bad"), 60)


@pytest.mark.parametrize("timeout", [0, SOON])
async def test_wait_for_gives_the_item_up_when_its_time_is_over(
    batcher: Any, handler: Any, timeout: float
) -> None:
    handler.hold()
    ticket = batcher.submit(1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ticket, timeout)
    assert ticket.cancelled()
    await turns()
    assert batcher.statistics().cancelled == 1


async def test_timeout_leaves_an_item_in_time_alone(batcher: Any) -> None:
    async with asyncio.timeout(60):
        assert await batcher.submit(1) == 1


async def test_timeout_gives_the_item_up_when_its_time_is_over(batcher: Any, handler: Any) -> None:
    handler.hold()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SOON):
            await batcher.submit(1)
    assert batcher.statistics().cancelled == 1
    await turns()


# ------------------------------------------------------------------------------------------- shield
async def test_shield_gives_the_result(batcher: Any) -> None:
    assert await asyncio.shield(batcher.submit(1)) == 1


async def test_shield_keeps_a_ticket_from_its_waiters_cancellation(
    batcher: Any, handler: Any
) -> None:
    handler.hold()
    ticket = batcher.submit(1)

    async def wait() -> None:
        await asyncio.shield(ticket)

    task = asyncio.create_task(wait())
    await turns()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert not ticket.done()
    handler.release()
    assert await ticket == 1


# ------------------------------------------------------------------------------------------- gather
async def test_gather_gives_the_results_in_order(batcher: Any) -> None:
    assert await asyncio.gather(*map(batcher.submit, range(5))) == list(range(5))


async def test_gather_makes_no_task_for_a_ticket(batcher: Any, handler: Any) -> None:
    handler.hold()
    before = len(asyncio.all_tasks())
    gathered = asyncio.gather(*map(batcher.submit, range(5)))
    assert len(asyncio.all_tasks()) == before
    handler.release()
    await gathered


async def test_gather_raises_the_first_exception(batcher: Any) -> None:
    with pytest.raises(Trouble):
        await asyncio.gather(*map(batcher.submit, [1, "bad", 3]))


async def test_gather_gives_exceptions_among_the_results(batcher: Any) -> None:
    first, bad, third = await asyncio.gather(
        *map(batcher.submit, [1, "bad", 3]), return_exceptions=True
    )
    assert (first, third) == (1, 3)
    assert isinstance(bad, Trouble)


async def test_a_cancelled_gather_cancels_its_tickets(batcher: Any, handler: Any) -> None:
    handler.hold()
    tickets = [batcher.submit(item) for item in range(3)]
    gathered = asyncio.gather(*tickets)
    await turns()
    gathered.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gathered
    assert all(each.cancelled() for each in tickets)
    await turns()


# ------------------------------------------------------------------------------- as_completed, wait
async def test_as_completed_gives_each_result(batcher: Any) -> None:
    tickets = [batcher.submit(item) for item in range(5)]
    assert sorted([await each for each in asyncio.as_completed(tickets)]) == list(range(5))


async def test_as_completed_times_out(batcher: Any, handler: Any) -> None:
    handler.hold()
    ticket = batcher.submit(1)
    (only,) = asyncio.as_completed([ticket], timeout=SOON)
    with pytest.raises(TimeoutError):
        await only
    handler.release()
    assert await ticket == 1


@pytest.mark.skipif(sys.version_info < (3, 13), reason="as_completed is no async iterator before")
async def test_as_completed_gives_the_tickets_themselves(batcher: Any) -> None:
    tickets = [batcher.submit(item) for item in range(5)]
    done = [each async for each in asyncio.as_completed(tickets)]  # type: ignore[attr-defined]
    assert set(done) == set(tickets)


async def test_wait_gives_the_tickets_that_are_done(batcher: Any, handler: Any) -> None:
    first = batcher.submit(1)
    await first
    handler.hold()
    second = batcher.submit(2)
    done, pending = await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
    assert (done, pending) == ({first}, {second})
    done, pending = await asyncio.wait([second], timeout=SOON)
    assert (done, pending) == (set(), {second})
    handler.release()
    done, pending = await asyncio.wait([first, second])
    assert (done, pending) == ({first, second}, set())


async def test_wait_returns_at_the_first_exception(batcher: Any, handler: Any) -> None:
    bad = batcher.submit("bad")
    await turns()
    handler.hold()
    other = batcher.submit(1)
    done, pending = await asyncio.wait([bad, other], return_when=asyncio.FIRST_EXCEPTION)
    assert (done, pending) == ({bad}, {other})
    handler.release()
    await other


# ---------------------------------------------------------------------------------------- TaskGroup
async def call(batcher: Any, item: Any) -> Any:
    return await batcher.submit(item)


async def test_a_task_group_gathers_one_batch(batcher: Any, handler: Any) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(call(batcher, item)) for item in range(5)]
    assert [task.result() for task in tasks] == list(range(5))
    assert handler.sizes == [5]


async def test_a_failed_task_group_gives_up_its_other_items(batcher: Any, handler: Any) -> None:
    handler.hold()

    async def fail() -> None:
        await turns()
        raise Trouble

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with asyncio.TaskGroup() as group:
            group.create_task(call(batcher, 1))
            group.create_task(call(batcher, 2))
            group.create_task(fail())
    assert caught.group_contains(Trouble)
    await turns()
    assert batcher.statistics().cancelled == 2
    assert handler.calls[0].outcome == "cancelled"


async def test_a_failed_item_fails_its_task_group(batcher: Any) -> None:
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with asyncio.TaskGroup() as group:
            group.create_task(call(batcher, "bad"))
            group.create_task(call(batcher, 1))
    assert caught.group_contains(Trouble)


# -------------------------------------------------------------------------------------- eager tasks
async def test_tasks_of_whatever_factory_share_a_batch(batcher: Any, handler: Any) -> None:
    tasks = [asyncio.create_task(call(batcher, item)) for item in range(5)]
    assert await asyncio.gather(*tasks) == list(range(5))
    assert handler.sizes == [5]


async def test_a_batch_that_an_eager_task_fills_answers_it(handler: Any) -> None:
    batcher: Batcher[Any, Any] = Batcher(handler, max_batch_size=1)
    tasks = [asyncio.create_task(call(batcher, item)) for item in range(3)]
    assert await asyncio.gather(*tasks) == [0, 1, 2]
    assert handler.sizes == [1, 1, 1]


# -------------------------------------------------------------------------------------------- anyio
async def test_move_on_after_leaves_an_item_in_time_alone(batcher: Any) -> None:
    with anyio.move_on_after(60) as scope:
        assert await batcher.submit(1) == 1
    assert not scope.cancelled_caught


async def test_move_on_after_gives_the_item_up_and_moves_on(batcher: Any, handler: Any) -> None:
    handler.hold()
    ticket = batcher.submit(1)
    await turns()
    with anyio.move_on_after(SOON) as scope:
        await ticket
    assert scope.cancelled_caught
    await turns()
    assert batcher.statistics().cancelled == 1
    assert handler.calls[0].outcome == "cancelled"


async def test_fail_after_leaves_an_item_in_time_alone(batcher: Any) -> None:
    with anyio.fail_after(60):
        assert await batcher.submit(1) == 1


async def test_fail_after_gives_the_item_up_and_raises(batcher: Any, handler: Any) -> None:
    handler.hold()
    with pytest.raises(TimeoutError):
        with anyio.fail_after(SOON):
            await batcher.submit(1)
    await turns()
    assert batcher.statistics().cancelled == 1


async def test_a_cancelled_scope_gives_up_an_item_that_it_waits_for_later(batcher: Any) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await batcher.submit(1)
    assert scope.cancelled_caught
    await turns()


async def test_a_shielded_scope_waits_for_the_item(batcher: Any, handler: Any) -> None:
    handler.hold()
    got = []
    with anyio.move_on_after(SOON) as outer:
        with anyio.CancelScope(shield=True):
            ticket = batcher.submit(1)
            asyncio.get_running_loop().call_later(5 * SOON, handler.release)
            got.append(await ticket)
        await anyio.sleep(60)
    assert outer.cancelled_caught
    assert got == [1]


async def test_an_anyio_task_group_gathers_one_batch(batcher: Any, handler: Any) -> None:
    got = []

    async def one(item: int) -> None:
        got.append(await batcher.submit(item))

    async with anyio.create_task_group() as group:
        for item in range(5):
            group.start_soon(one, item)
    assert sorted(got) == list(range(5))
    assert handler.sizes == [5]


async def test_a_cancelled_anyio_task_group_gives_up_its_items(batcher: Any, handler: Any) -> None:
    handler.hold()
    async with anyio.create_task_group() as group:
        group.start_soon(call, batcher, 1)
        group.start_soon(call, batcher, 2)
        await turns()
        group.cancel_scope.cancel()
    await turns()
    assert batcher.statistics().cancelled == 2
    assert handler.calls[0].outcome == "cancelled"


async def test_a_failed_item_fails_its_anyio_task_group(batcher: Any) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            group.start_soon(call, batcher, "bad")
    assert caught.group_contains(Trouble)


async def test_a_handler_may_use_anyio(batcher: Any) -> None:
    async def handler(items: list[int]) -> list[int]:
        with anyio.move_on_after(SOON):
            await anyio.sleep(60)
        async with anyio.create_task_group() as group:
            group.start_soon(turns)
        return items

    assert await Batcher(handler).submit(1) == 1


# ----------------------------------------------------------------------------------- a smoke of all
async def test_thousands_of_callers_get_their_own_results(handler: Any) -> None:
    batcher: Batcher[Any, Any] = Batcher(handler, max_concurrent_batches=4, max_latency=SOON / 2)
    tasks = [asyncio.create_task(call(batcher, item)) for item in range(2000)]
    assert await asyncio.gather(*tasks) == list(range(2000))
    assert await batcher.aclose() == 0
    assert batcher.statistics().completed == 2000


async def test_a_timeout_is_told_on_every_loop(handler: Any) -> None:
    handler.hold()
    batcher: Batcher[Any, Any] = Batcher(handler, timeout=SOON)
    with pytest.raises(TimeoutError, match=r"passed its timeout of 0\.001 s"):
        await batcher.submit(1)
    handler.release()
    await batcher.aclose()


# ------------------------------------------------------------------------------- tickets that fail
async def test_gather_returns_the_cancellation_of_a_ticket(batcher: Any, handler: Any) -> None:
    handler.hold()
    tickets = [batcher.submit(1), batcher.submit(2)]
    gathered = asyncio.gather(*tickets, return_exceptions=True)
    await turns()
    tickets[0].cancel("why")
    handler.release()
    cancelled, result = await gathered
    assert (type(cancelled), cancelled.args) == (asyncio.CancelledError, ("why",))
    assert result == await tickets[1]


async def test_an_awaitable_that_yields_the_ticket_is_thrown_its_failure(batcher: Any) -> None:
    class Yielding:
        def __await__(self) -> Any:
            ticket = batcher.submit("bad")
            ticket._asyncio_future_blocking = True
            yield ticket
            raise AssertionError("asyncio throws a future's failure where it was yielded")

    with pytest.raises(Trouble):
        await Yielding()


@pytest.mark.parametrize("copying", [copy.copy, copy.deepcopy, pickle.dumps])
async def test_a_ticket_cannot_be_copied(batcher: Any, copying: Any) -> None:
    ticket = batcher.submit(1)
    with pytest.raises(TypeError):
        copying(ticket)
    await ticket
