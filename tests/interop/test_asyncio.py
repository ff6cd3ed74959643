"""asyncio's tools take a ticket as any future."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from microbatch import Batcher
from tests.interop.trouble import Trouble

pytestmark = pytest.mark.every_loop

SOON = 0.001


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


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
