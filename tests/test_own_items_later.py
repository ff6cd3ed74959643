"""A handler that awaits items of its own batcher is told too where it is in vain only later."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from microbatch import Batcher, BatchTimeoutError

SLOTS = (
    "the handler of batcher 'recurse' awaits an item of its own batcher, for which no slot could "
    "ever be free: call the function itself, or give the batcher more slots "
    "(max_concurrent_batches)"
)
ROOM = (
    "the handler of batcher 'recurse' awaits an item of its own batcher, for which there could "
    "never be room: call the function itself, or give the batcher more room (capacity)"
)


def asker(**options: Any) -> Batcher[str, str]:
    """Give a batcher whose handler asks it for "own", 2 s later, in place of upper-case letters."""

    async def handle(items: list[str]) -> list[str]:
        if items != ["own"]:
            await asyncio.sleep(2.0)
        return [await batcher.submit("own") if item.isupper() else item for item in items]

    batcher: Batcher[str, str] = Batcher(handle, name="recurse", **options)
    return batcher


@pytest.mark.parametrize(
    "policy", [{}, {"timeout_policy": "fail", "cancel_abandoned": False}], ids=str
)
async def test_the_handler_that_is_given_up_first_is_told(policy: Any) -> None:
    batcher = asker(max_batch_size=1, max_concurrent_batches=2, **policy)
    early = batcher.submit("A")
    await asyncio.sleep(1.0)
    late = batcher.submit("B", timeout=5.0)
    outcomes = await asyncio.gather(early, late, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["own", SLOTS]


async def test_where_no_timeout_ends_a_handler_the_youngest_is_told() -> None:
    batcher = asker(max_batch_size=1, max_concurrent_batches=2, cancel_abandoned=False)
    early = batcher.submit("A", timeout=9.0)
    await asyncio.sleep(1.0)
    outcomes = await asyncio.gather(early, batcher.submit("B"), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["own", SLOTS]


async def test_a_slot_that_a_timeout_frees_is_waited_for() -> None:
    batcher = asker(max_batch_size=1, max_concurrent_batches=2)
    early = batcher.submit("A", timeout=5.0)
    await asyncio.sleep(1.0)
    late = batcher.submit("B")
    outcomes = await asyncio.gather(early, late, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == [SLOTS, "own"]


@pytest.mark.parametrize("options", [{}, {"key": len}, {"dedupe": str}, {"on_error": "bisect"}])
async def test_a_handler_whose_item_can_never_be_let_in_is_told(options: Any) -> None:
    batcher = asker(max_batch_size=1, max_concurrent_batches=3, capacity=2, **options)
    assert await batcher.submit("A") == "own"
    outcomes = await asyncio.gather(*map(batcher.submit, ("A", "B")), return_exceptions=True)
    assert sorted(map(str, outcomes)) == ["own", ROOM]
    now = batcher.statistics()
    assert (now.waiting, now.in_flight) == (0, 0)


async def test_room_that_a_late_item_leaves_is_waited_for() -> None:
    batcher = asker(max_batch_size=2, max_concurrent_batches=2, capacity=2)
    asks, other = batcher.submit("A"), batcher.submit("b", timeout=5.0)
    with pytest.raises(BatchTimeoutError):
        await other
    assert await asks == "own"


async def test_a_handler_is_told_when_there_are_fewer_slots() -> None:
    batcher = asker(max_batch_size=2, max_concurrent_batches=2, max_latency=60.0)
    asks = batcher.submit("A")
    await asyncio.sleep(63.0)
    batcher.reconfigure(max_concurrent_batches=1)
    with pytest.raises(RuntimeError) as caught:
        await asks
    assert str(caught.value) == SLOTS
    assert asyncio.get_running_loop().time() < 64.0


async def test_a_handler_is_told_when_there_is_no_timeout_any_more() -> None:
    batcher = asker(max_batch_size=1, timeout=60.0)
    asks = batcher.submit("A")
    await asyncio.sleep(3.0)
    batcher.reconfigure(timeout=None)
    with pytest.raises(RuntimeError) as caught:
        await asks
    assert str(caught.value) == SLOTS
    assert asyncio.get_running_loop().time() < 4.0


@pytest.mark.parametrize("others_end", ["it is there", "it is late"])
async def test_a_handler_is_told_when_the_last_that_could_come_of_a_gather_came(
    others_end: str,
) -> None:
    async def recurse(items: list[str]) -> list[Any]:
        (item,) = items
        if item == "b ends":
            await asyncio.sleep(3.0)
        if item == "A":
            timeout = 2.0 if others_end == "it is late" else None
            asked = [batcher.submit("b ends", timeout=timeout), batcher.submit("Again")]
            _, own = await asyncio.gather(*asked, return_exceptions=True)
            return [own]
        return items

    batcher: Batcher[str, str] = Batcher(
        recurse,
        max_batch_size=1,
        max_concurrent_batches=3,
        max_concurrent_batches_per_key=1,
        key=lambda item: item[0],
        name="recurse",
    )
    with pytest.raises(RuntimeError) as caught:
        await batcher.submit("A")
    per_key = ", max_concurrent_batches_per_key)"
    assert str(caught.value) == SLOTS.removesuffix(")") + per_key


class FirstOf(asyncio.Future[str]):
    """A future that waits for the first of its children, which it calls as gather does."""

    def __init__(self, children: list[Any]) -> None:
        super().__init__()
        self._children = children
        for child in children:
            child.add_done_callback(self.take)

    def take(self, child: Any) -> None:
        if not self.done():
            self.set_result(child.result())


async def test_a_future_that_is_no_gather_may_come_though_its_children_do_not() -> None:
    async def recurse(items: list[str]) -> list[str]:
        if items == ["A"]:
            first = FirstOf([batcher.submit("own")])
            asyncio.get_running_loop().call_later(1.0, first.set_result, "something else")
            return [await first]
        return items

    batcher: Batcher[str, str] = Batcher(recurse, max_batch_size=1)
    assert await batcher.submit("A") == "something else"
    await batcher.drain()
