"""A handler that awaits items of its own batcher is told where no slot could ever be free."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tenacity import AsyncRetrying, stop_after_attempt, wait_fixed

from microbatch import Batcher, BatchTimeoutError, batched
from microbatch.testing import DeadlockError

MESSAGE = (
    "the handler of batcher 'recurse' awaits an item of its own batcher, for which no slot could "
    "ever be free: call the function itself, or give the batcher more slots "
    "(max_concurrent_batches)"
)
IN_ORDER = (
    "the handler of batcher 'recurse' awaits an item of its own batcher, whose result is held "
    "until the handler has ended: call the function itself, or give the batcher "
    "ordering='unordered' and more slots (max_concurrent_batches)"
)


class Recursing:
    """A handler that asks its own batcher for the half of an item, until that is 0."""

    def __init__(self, how: Any = None, **options: Any) -> None:
        self.batcher: Batcher[int, int] = Batcher(self.handle, name="recurse", **options)
        self._how = how or self.submit

    async def submit(self, item: int) -> int:
        return await self.batcher.submit(item)

    async def handle(self, items: list[int]) -> list[Any]:
        (item,) = items
        return [0 if item == 0 else 1 + await self._how(item // 2)]


async def told(batcher: Batcher[int, int], item: int = 1, message: str = MESSAGE) -> None:
    with pytest.raises(RuntimeError) as caught:
        await batcher.submit(item)
    assert str(caught.value) == message
    now = batcher.statistics()
    assert (now.queued, now.in_flight) == (0, 0)


@pytest.mark.every_loop
async def test_a_handler_that_awaits_its_own_item_with_one_slot_is_told() -> None:
    recursing = Recursing(max_batch_size=1)
    assert await recursing.batcher.submit(0) == 0
    await told(recursing.batcher)
    assert await recursing.batcher.submit(0) == 0


async def test_what_a_handler_gathers_is_told_too() -> None:
    async def gathered(item: int) -> int:
        first, _ = await asyncio.gather(*map(recursing.batcher.submit, (item, 0)))
        return first

    recursing = Recursing(gathered, max_batch_size=1)
    await told(recursing.batcher)


async def test_what_a_handler_submits_as_many_is_told_too() -> None:
    async def recurse(items: list[int]) -> list[int]:
        return [sum(await batcher.submit_many([0, 0])) if item else 0 for item in items]

    batcher: Batcher[int, int] = Batcher(recurse)
    assert await batcher.submit_many([0, 0]) == [0, 0]
    with pytest.raises(RuntimeError, match="its own batcher"):
        await batcher.submit_many([0, 1])
    now = batcher.statistics()
    assert (now.queued, now.in_flight) == (0, 0)


async def test_a_decorated_function_that_awaits_itself_is_told() -> None:
    @batched(name="recurse")
    async def factorial(numbers: list[int]) -> list[int]:
        return [1 if number == 0 else number * await factorial(number - 1) for number in numbers]

    assert await factorial(0) == 1
    with pytest.raises(RuntimeError) as caught:
        await factorial(3)
    assert str(caught.value) == MESSAGE


@pytest.mark.parametrize("slots", [2, 3, 5])
async def test_with_more_slots_a_handler_goes_as_deep_as_they_let_it(slots: int) -> None:
    recursing = Recursing(max_batch_size=1, max_concurrent_batches=slots)
    deepest = 2 ** (slots - 1) - 1
    assert await recursing.batcher.submit(deepest) == slots - 1
    await told(recursing.batcher, deepest + 1)
    assert await recursing.batcher.submit(deepest) == slots - 1


async def test_a_handler_waits_while_another_may_free_its_slot() -> None:
    gate = asyncio.Event()

    async def handle(items: list[str]) -> list[str]:
        if items == ["other"]:
            await gate.wait()
        elif items == ["asks"]:
            return [await batcher.submit("own")]
        return items

    batcher: Batcher[str, str] = Batcher(handle, max_batch_size=1, max_concurrent_batches=2)
    other, asks = batcher.submit("other"), batcher.submit("asks")
    await asyncio.sleep(1.0)
    assert not asks.done()
    gate.set()
    assert await asyncio.gather(other, asks) == ["other", "own"]


async def test_two_handlers_that_wait_for_each_others_slots_are_told_until_one_can_go_on() -> None:
    asked = asyncio.Barrier(2)

    async def recurse(items: list[int]) -> list[int]:
        if items == [0]:
            return items
        await asked.wait()
        return [1 + await batcher.submit(0)]

    batcher: Batcher[int, int] = Batcher(
        recurse, max_batch_size=1, max_concurrent_batches=2, name="recurse"
    )
    outcomes = await asyncio.gather(*map(batcher.submit, (1, 2)), return_exceptions=True)
    assert [outcome for outcome in outcomes if outcome == 1]
    assert [str(outcome) for outcome in outcomes if outcome != 1] == [MESSAGE]


async def test_a_timeout_tells_by_itself() -> None:
    recursing = Recursing(max_batch_size=1, timeout=5.0)
    with pytest.raises(BatchTimeoutError):
        await recursing.batcher.submit(1)
    await recursing.batcher.drain()


async def test_results_in_order_are_never_there_before_the_handler_that_awaits_them() -> None:
    recursing = Recursing(max_batch_size=1, max_concurrent_batches=3, ordering="ordered")
    await told(recursing.batcher, message=IN_ORDER)
    assert await recursing.batcher.submit(0) == 0


async def test_results_in_order_are_told_to_a_handler_whose_items_are_queued_behind_it() -> None:
    async def recurse(items: list[int]) -> list[int]:
        return [1 + await batcher.submit(item - 1) if item else 0 for item in items]

    batcher: Batcher[int, int] = Batcher(
        recurse, max_concurrent_batches=3, max_latency=60.0, ordering="ordered", name="recurse"
    )
    await told(batcher, message=IN_ORDER)
    assert asyncio.get_running_loop().time() < 61.0


async def test_of_other_keys_results_in_order_may_be_awaited() -> None:
    recursing = Recursing(
        max_batch_size=1, max_concurrent_batches=3, ordering="ordered", key=lambda item: item
    )
    assert await recursing.batcher.submit(3) == 2
    await told(recursing.batcher, 7, IN_ORDER)


async def test_a_key_that_has_all_its_slots_is_waited_for_in_vain() -> None:
    async def recurse(items: list[tuple[str, int]]) -> list[int]:
        ((key, depth),) = items
        return [depth and 1 + await batcher.submit((key, depth - 1))]

    batcher: Batcher[tuple[str, int], int] = Batcher(
        recurse,
        max_batch_size=1,
        max_concurrent_batches=5,
        max_concurrent_batches_per_key=2,
        key=lambda item: item[0],
    )
    assert await batcher.submit(("a", 1)) == 1
    with pytest.raises(RuntimeError) as caught:
        await batcher.submit(("a", 2))
    assert str(caught.value) == (
        "the handler of batcher 'recurse' awaits an item of its own batcher, for which no slot "
        "could ever be free: call the function itself, or give the batcher more slots "
        "(max_concurrent_batches, max_concurrent_batches_per_key)"
    )
    assert await batcher.submit(("b", 1)) == 1


@pytest.mark.parametrize("options", [{"dedupe": str}, {"key": str}, {"priority": abs}], ids=str)
async def test_items_of_any_kind_are_told(options: Any) -> None:
    await told(Recursing(max_batch_size=1, **options).batcher)


async def test_a_handler_that_joins_what_it_works_on_itself_is_told() -> None:
    async def recurse(items: list[int]) -> list[int]:
        return [await batcher.submit(item) for item in items]

    batcher: Batcher[int, int] = Batcher(
        recurse, dedupe=str, dedupe_in_flight=True, max_concurrent_batches=9, name="recurse"
    )
    await told(
        batcher,
        message="the handler of batcher 'recurse' awaits an item of its own batcher, for which no "
        "slot could ever be free, or which is the one that it works on: call the function itself, "
        "or give the batcher dedupe_in_flight=False and more slots (max_concurrent_batches)",
    )


async def test_shared_items_in_a_submission_of_many_are_told() -> None:
    async def recurse(items: list[int]) -> list[int]:
        return [sum(await batcher.submit_many([0, 0])) if item else 0 for item in items]

    batcher: Batcher[int, int] = Batcher(recurse, dedupe=str)
    with pytest.raises(RuntimeError, match="its own batcher"):
        await batcher.submit(1)


async def test_a_handler_that_is_called_again_is_told_each_time() -> None:
    retry = AsyncRetrying(stop=stop_after_attempt(2), wait=wait_fixed(1.0), reraise=True)
    recursing = Recursing(max_batch_size=1, retry=retry)
    await told(recursing.batcher)
    assert recursing.batcher.statistics().retried == 1


async def test_a_batch_that_pauses_between_attempts_may_yet_free_its_slot() -> None:
    attempts = iter([ValueError(), None])

    async def handle(items: list[str]) -> list[str]:
        if items == ["flaky"] and (error := next(attempts)):
            raise error
        if items == ["asks"]:
            return [await batcher.submit("own")]
        return items

    retry = AsyncRetrying(stop=stop_after_attempt(2), wait=wait_fixed(9.0), reraise=True)
    batcher: Batcher[str, str] = Batcher(
        handle, max_batch_size=1, max_concurrent_batches=2, retry=retry
    )
    flaky = batcher.submit("flaky")
    await asyncio.sleep(1.0)
    assert await asyncio.gather(flaky, batcher.submit("asks")) == ["flaky", "own"]


async def test_a_handler_may_submit_to_its_own_batcher_and_not_wait() -> None:
    later: list[Any] = []

    async def handle(items: list[int]) -> list[int]:
        for item in items:
            if item:
                later.append(batcher.submit(item - 1))
                later[-1].add_done_callback(lambda _: None)
        return items

    batcher: Batcher[int, int] = Batcher(handle)
    assert await batcher.submit(3) == 3
    await batcher.drain()
    assert [ticket.result() for ticket in later] == [2, 1, 0]


async def test_a_handler_may_await_another_batcher() -> None:
    async def double(items: list[int]) -> list[int]:
        return [2 * item for item in items]

    async def handle(items: list[int]) -> list[int]:
        return await inner.submit_many(items)

    inner: Batcher[int, int] = Batcher(double)
    assert await Batcher(handle).submit(21) == 42


async def test_a_partly_answered_batch_is_told_as_any() -> None:
    async def recurse(items: list[int]) -> Any:
        for place, item in enumerate(items):
            yield place, item and await batcher.submit(0)

    batcher: Batcher[int, int] = Batcher(recurse, name="recurse")
    first, second = await asyncio.gather(
        batcher.submit(0), batcher.submit(1), return_exceptions=True
    )
    assert (first, str(second)) == (0, MESSAGE)


def test_what_a_handler_awaits_in_ways_that_cannot_be_known_waits_in_vain(loop_kind: Any) -> None:
    async def in_group(item: int) -> int:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(recursing.submit(item))
        return task.result()

    recursing = Recursing(in_group, max_batch_size=1)

    async def main() -> None:
        await recursing.batcher.submit(1)

    with pytest.raises(DeadlockError):
        loop_kind.run(main)
