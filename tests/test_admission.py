"""What happens at capacity, and the other ways to submit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import END, Batcher, BatcherClosedError, BatchTimeoutError, CapacityError
from microbatch.testing import RecordingHandler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def items_of(handler: RecordingHandler[Any, Any]) -> list[tuple[Any, ...]]:
    return [call.items for call in handler.calls]


@pytest.fixture
def held() -> RecordingHandler[Any, Any]:
    handler: RecordingHandler[Any, Any] = RecordingHandler()
    handler.hold()
    return handler


# --------------------------------------------------------------------------------------------- wait
async def test_items_beyond_capacity_wait_for_admission_in_order() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, max_batch_size=2, capacity=3)
    done: list[int] = []

    async def one(item: int) -> None:
        done.append(await batcher.submit(item))

    await asyncio.gather(*map(one, range(7)))
    assert done == list(range(7))
    assert handler.items == list(range(7))


async def test_waiting_items_are_not_counted_as_queued(held: Any) -> None:
    batcher: Batcher[int, int] = Batcher(held, max_batch_size=4, capacity=2)
    tickets = [batcher.submit(item) for item in range(5)]
    await turns()
    now = batcher.statistics()
    assert (now.in_flight, now.queued, now.waiting) == (2, 0, 3)
    held.release()
    await asyncio.gather(*tickets)
    assert items_of(held) == [(0, 1), (2, 3), (4,)]


async def test_a_cancelled_item_lets_the_next_waiting_one_in(held: Any) -> None:
    batcher: Batcher[int, int] = Batcher(held, max_batch_size=1, capacity=2)
    tickets = [batcher.submit(item) for item in range(3)]
    await turns()
    assert batcher.statistics().waiting == 1
    tickets[1].cancel()
    assert batcher.statistics().waiting == 0
    held.release()
    await asyncio.gather(tickets[0], tickets[2])
    assert held.items == [0, 2]


async def test_an_item_waiting_for_admission_beside_a_free_slot_costs_no_time(held: Any) -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, capacity=1, max_concurrent_batches=2)
    assert await asyncio.gather(batcher.submit(1), batcher.submit(2)) == [1, 2]
    assert [call.started for call in handler.calls] == [0.0, 1.0]


async def test_an_item_waiting_for_admission_beside_a_free_slot_waits_no_latency_again() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, capacity=2, max_latency=0.3, max_concurrent_batches=2)
    assert await batcher.submit_many(range(3)) == [0, 1, 2]
    assert [call.started for call in handler.calls] == [0.0, 1.0]


async def test_a_capacity_below_the_batch_size_bounds_the_batches() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler, max_batch_size=64, capacity=3, max_latency=3600.0)
    await batcher.submit_many(range(9))
    assert handler.sizes == [3, 3, 3]
    assert asyncio.get_running_loop().time() == 0.0


async def test_without_capacity_nothing_waits_for_admission(held: Any) -> None:
    batcher: Batcher[int, int] = Batcher(held, capacity=None, max_batch_size=1)
    many = batcher.submit_many(range(20_000))
    await turns()
    now = batcher.statistics()
    assert (now.queued, now.waiting) == (19_999, 0)
    many.cancel()
    await turns()


async def test_a_timeout_includes_the_wait_for_admission(held: Any) -> None:
    batcher: Batcher[int, int] = Batcher(held, max_batch_size=1, capacity=1)
    first = batcher.submit(1)
    with pytest.raises(BatchTimeoutError):
        await batcher.submit(2, timeout=0.5)
    assert asyncio.get_running_loop().time() == 0.5
    held.release()
    assert await first == 1
    assert held.items == [1]


async def test_the_timeout_of_an_admitted_item_still_runs_from_its_submission() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, max_batch_size=1, capacity=1, timeout=1.5)
    first, second = batcher.submit(1), batcher.submit(2)
    assert await first == 1
    with pytest.raises(BatchTimeoutError):
        await second
    assert asyncio.get_running_loop().time() == 1.5
    assert handler.items == [1, 2]


# ------------------------------------------------------------------------------------------- reject
async def test_reject_refuses_at_capacity_at_once(held: Any) -> None:
    batcher: Batcher[int, int] = Batcher(held, capacity=2, overflow="reject")
    tickets = [batcher.submit(1), batcher.submit(2)]
    message = (
        r"^batcher 'recording' has no room for 1 more: "
        r"capacity is 2, 2 items are unsettled$"
    )
    with pytest.raises(CapacityError, match=message):
        batcher.submit(3)
    assert batcher.statistics().rejected == 1
    held.release()
    await asyncio.gather(*tickets)
    assert await batcher.submit(4) == 4
    assert batcher.statistics().submitted == 3


async def test_reject_refuses_a_submit_many_as_a_whole(held: Any) -> None:
    batcher: Batcher[int, int] = Batcher(held, capacity=3, overflow="reject")
    first = batcher.submit(1)
    with pytest.raises(CapacityError, match="has no room for 3 more: capacity is 3, 1 items"):
        batcher.submit_many([2, 3, 4])
    assert batcher.statistics().rejected == 3
    many = batcher.submit_many([5, 6])
    held.release()
    assert await first == 1
    assert await many == [5, 6]


# -------------------------------------------------------------------------------------- drop_oldest
async def test_drop_oldest_fails_the_oldest_queued_item(held: Any) -> None:
    batcher: Batcher[int, int] = Batcher(held, max_batch_size=1, capacity=3, overflow="drop_oldest")
    flying, oldest, newer = (batcher.submit(item) for item in (1, 2, 3))
    await turns()
    newest = batcher.submit(4)
    message = r"^batcher 'recording' dropped its oldest queued item: capacity is 3$"
    with pytest.raises(CapacityError, match=message):
        await oldest
    held.release()
    assert await asyncio.gather(flying, newer, newest) == [1, 3, 4]
    assert held.items == [1, 3, 4]
    now = batcher.statistics()
    assert (now.dropped, now.rejected, now.submitted) == (1, 0, 4)


async def test_drop_oldest_refuses_when_everything_is_in_flight(held: Any) -> None:
    batcher: Batcher[int, int] = Batcher(held, capacity=2, overflow="drop_oldest")
    tickets = [batcher.submit(1), batcher.submit(2)]
    await turns()
    with pytest.raises(CapacityError, match="has no room for 1 more"):
        batcher.submit(3)
    held.release()
    await asyncio.gather(*tickets)


async def test_drop_oldest_makes_room_for_as_many_as_come(held: Any) -> None:
    batcher: Batcher[int, int] = Batcher(held, max_batch_size=1, capacity=4, overflow="drop_oldest")
    tickets = [batcher.submit(item) for item in range(4)]
    await turns()
    many = batcher.submit_many([4, 5])
    held.release()
    outcomes = await asyncio.gather(*tickets, return_exceptions=True)
    assert [type(each) for each in outcomes] == [int, CapacityError, CapacityError, int]
    assert await many == [4, 5]


async def test_a_dropped_item_of_submit_many_fails_it(held: Any) -> None:
    batcher: Batcher[int, int] = Batcher(held, max_batch_size=1, capacity=3, overflow="drop_oldest")
    flying = batcher.submit(0)
    await turns()
    many = batcher.submit_many([1, 2], return_exceptions=True)
    newest = batcher.submit(3)
    held.release()
    assert await asyncio.gather(flying, newest) == [0, 3]
    dropped, result = await many
    assert isinstance(dropped, CapacityError)
    assert result == 2


# ------------------------------------------------------------------------------------ submit_nowait
async def test_submit_nowait_gives_a_ticket_while_there_is_room() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler())
    assert await batcher.submit_nowait(1) == 1
    assert await batcher.submit_nowait(2, timeout=1.0) == 2


@pytest.mark.parametrize("overflow", ["wait", "reject"])
async def test_submit_nowait_never_waits_for_admission(held: Any, overflow: Any) -> None:
    batcher: Batcher[int, int] = Batcher(held, capacity=1, overflow=overflow)
    first = batcher.submit_nowait(1)
    with pytest.raises(CapacityError, match=r"has no room for 1 more: capacity is 1, 1 items are"):
        batcher.submit_nowait(2)
    held.release()
    assert await first == 1
    assert batcher.statistics().rejected == 1


async def test_submit_nowait_drops_the_oldest_where_that_is_the_policy(held: Any) -> None:
    batcher: Batcher[int, int] = Batcher(held, max_batch_size=1, capacity=2, overflow="drop_oldest")
    tickets = [batcher.submit_nowait(item) for item in range(3)]
    held.release()
    flying, oldest, newest = await asyncio.gather(*tickets, return_exceptions=True)
    assert (flying, newest) == (0, 2)
    assert isinstance(oldest, CapacityError)


async def test_submit_nowait_to_a_closed_batcher_says_that_it_is_closed() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(), capacity=1)
    await batcher.aclose()
    with pytest.raises(BatcherClosedError, match=r"^batcher 'recording' is closed$"):
        batcher.submit_nowait(1)
    assert batcher.statistics().rejected == 1


# -------------------------------------------------------------------------------------- submit_many
async def test_submit_many_gives_the_results_in_the_order_of_the_items() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(lambda items: [i * 10 for i in items])
    batcher = Batcher(handler, max_batch_size=3, max_concurrent_batches=2)
    assert await batcher.submit_many(iter(range(8))) == [item * 10 for item in range(8)]
    assert handler.sizes == [3, 3, 2]


async def test_submit_many_of_nothing_is_done_at_once() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    ticket = Batcher(handler).submit_many([])
    assert ticket.done()
    assert await ticket == []
    assert handler.calls == []


async def test_submit_many_shares_batches_with_others() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler, max_batch_size=4)
    many, one = batcher.submit_many([1, 2, 3]), batcher.submit(4)
    assert await asyncio.gather(many, one) == [[1, 2, 3], 4]
    assert items_of(handler) == [(1, 2, 3, 4)]


def odd_ones_fail(items: list[int]) -> list[Any]:
    return [ValueError(item) if item % 2 else item for item in items]


async def test_submit_many_raises_the_first_failure_in_the_order_of_the_items() -> None:
    handler: RecordingHandler[int, Any] = RecordingHandler(
        odd_ones_fail, delay=lambda items: 1.0 / (1 + items[0])
    )
    batcher = Batcher(handler, max_batch_size=2, max_concurrent_batches=9)
    with pytest.raises(ValueError, match=r"^1$"):
        await batcher.submit_many(range(6))
    assert handler.calls[-1].items == (4, 5)
    assert batcher.statistics().failed == 3


async def test_submit_many_with_return_exceptions_gives_each_outcome() -> None:
    batcher = Batcher(RecordingHandler(odd_ones_fail))
    zero, one, two = await batcher.submit_many(range(3), return_exceptions=True)
    assert (zero, two) == (0, 2)
    assert isinstance(one, ValueError)


async def test_submit_many_takes_no_async_iterable() -> None:
    async def source() -> Any:
        yield 1

    batcher: Batcher[Any, Any] = Batcher(RecordingHandler())
    with pytest.raises(TypeError, match=r"^items must be there at once"):
        batcher.submit_many(source())  # type: ignore[arg-type]


async def test_a_source_that_raises_leaves_nothing_submitted() -> None:
    def source() -> Any:
        yield 1
        raise ZeroDivisionError

    batcher: Batcher[Any, Any] = Batcher(RecordingHandler())
    with pytest.raises(ZeroDivisionError):
        batcher.submit_many(source())
    assert batcher.statistics().submitted == 0


# ---------------------------------------------------------- capacity that comes free within a batch
@pytest.mark.parametrize(
    "options", [{}, {"key": len}, {"max_latency": 1.0}, {"key": len, "max_latency": 1.0}], ids=str
)
async def test_an_answered_item_lets_the_next_one_go_where_a_slot_is_free(options: Any) -> None:
    started: list[tuple[float, list[str]]] = []

    async def handler(items: list[str]) -> AsyncIterator[tuple[int, str]]:
        started.append((asyncio.get_running_loop().time() - start, items))
        for place, item in enumerate(items):
            await asyncio.sleep(10.0)
            yield place, item

    batcher: Batcher[str, str] = Batcher(
        handler, max_batch_size=2, max_concurrent_batches=2, capacity=2, **options
    )
    start = asyncio.get_running_loop().time()
    assert await asyncio.gather(*map(batcher.submit, "ABCD")) == [*"ABCD"]
    last = 20.0 + options.get("max_latency", 0.0)
    assert started == [(0.0, ["A", "B"]), (10.0, ["C"]), (last, ["D"])]


async def test_a_stream_that_ends_lets_the_next_item_go_where_a_slot_is_free() -> None:
    started: list[float] = []

    async def handler(items: list[str]) -> AsyncIterator[list[Any]]:
        started.append(asyncio.get_running_loop().time() - start)
        await asyncio.sleep(10.0)
        yield [END, *["chunk"] * (len(items) - 1)]
        await asyncio.sleep(10.0)

    batcher: Batcher[str, Any] = Batcher(
        handler, stream=True, max_batch_size=2, max_concurrent_batches=2, capacity=2
    )
    start = asyncio.get_running_loop().time()
    await asyncio.gather(*map(batcher.submit, "ABC"))
    assert started == [0.0, 10.0]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_late_items_that_are_answered_let_the_next_one_go(asynchronous: bool) -> None:
    handler: RecordingHandler[str, str] = RecordingHandler(delay=30.0)

    async def policy(items: list[str]) -> list[str]:
        await asyncio.sleep(2.0)
        return ["late"] * len(items)

    def at_once(items: list[str]) -> list[str]:
        return ["late"] * len(items)

    batcher: Batcher[str, str] = Batcher(
        handler,
        max_batch_size=2,
        max_concurrent_batches=2,
        capacity=2,
        timeout_policy=policy if asynchronous else at_once,
        cancel_abandoned=False,
    )
    start = asyncio.get_running_loop().time()
    first = [batcher.submit(item, timeout=10.0) for item in "AB"]
    assert await asyncio.gather(*first, batcher.submit("C")) == ["late", "late", "C"]
    assert [call.started - start for call in handler.calls] == [0.0, 12.0 if asynchronous else 10.0]


async def test_what_is_dropped_lets_go_what_waits_although_it_overflows() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler(delay=30.0)
    batcher: Batcher[str, str] = Batcher(
        handler, max_batch_size=2, max_latency=5.0, capacity=2, overflow="drop_oldest"
    )
    start = asyncio.get_running_loop().time()
    tickets = [batcher._submit_waiting(item) for item in "ABC"]
    last = batcher.submit("D")
    await asyncio.gather(*tickets, last, return_exceptions=True)
    assert handler.calls[0].started - start == 0.0
