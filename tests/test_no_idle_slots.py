"""Whatever the options, no item waits for a slot that is free, and none is left at the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from microbatch import END, Batcher, CapacityError, current_batch
from microbatch.testing import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STEP = 0.5
"""Seconds; whatever happens, happens at a multiple of it, and between two of these one looks."""


async def whole(items: list[int]) -> list[int]:
    await asyncio.sleep(2 * STEP)
    return items


async def one_by_one(items: list[int]) -> AsyncIterator[tuple[int, int]]:
    for place, item in enumerate(items):
        await asyncio.sleep(STEP)
        yield place, item


async def in_chunks(items: list[int]) -> AsyncIterator[list[Any]]:
    for step in range(3):
        await asyncio.sleep(STEP)
        yield [END if (items[place] + step) % 3 == 0 else step for place in current_batch().alive]


async def answers(late: list[int]) -> list[int]:
    await asyncio.sleep(STEP)
    return late


HANDLERS = {"whole": whole, "one by one": one_by_one, "in chunks": in_chunks}

options = st.fixed_dictionaries(
    {
        "max_batch_size": st.integers(1, 3),
        "max_concurrent_batches": st.integers(1, 3),
        "capacity": st.integers(1, 5),
        "overflow": st.sampled_from(["wait", "wait", "drop_oldest"]),
        "timeout": st.sampled_from([None, None, 2 * STEP, 5 * STEP]),
        "timeout_policy": st.sampled_from(["partial", "fail", answers]),
        "cancel_abandoned": st.booleans(),
        "key": st.sampled_from([None, lambda item: item % 2]),
        "priority": st.sampled_from([None, lambda item: item % 3]),
        "dedupe": st.sampled_from([None, lambda item: item // 2]),
    }
)
arrivals = st.lists(
    st.tuples(st.integers(0, 12), st.booleans(), st.sampled_from([None, None, 1, 3])), max_size=25
)


def fitting(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Leave out what streams refuse."""
    if name != "in chunks":
        return given
    policy = "partial" if callable(given["timeout_policy"]) else given["timeout_policy"]
    return {**given, "stream": True, "dedupe": None, "timeout_policy": policy}


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*HANDLERS]), options, arrivals)
def test_no_item_waits_for_a_slot_that_is_free(
    name: str, given: dict[str, Any], arriving: list[tuple[int, bool, int | None]]
) -> None:
    batcher: Batcher[int, Any] = Batcher(HANDLERS[name], **fitting(name, given))

    async def caller(item: int, start: int, waits: bool, patience: int | None) -> None:
        await asyncio.sleep(start * STEP)
        try:
            ticket = batcher._submit_waiting(item) if waits else batcher.submit(item)
        except CapacityError:  # nothing is queued that could be dropped for it
            return
        if patience is not None:
            asyncio.get_running_loop().call_later(patience * STEP, ticket.cancel)
        await asyncio.gather(ticket, return_exceptions=True)

    async def watch() -> None:
        await asyncio.sleep(STEP / 2)
        while True:
            now = batcher.statistics()
            assert not now.queued or now.slots_busy >= given["max_concurrent_batches"]
            await asyncio.sleep(STEP)

    async def main() -> None:
        watching = asyncio.create_task(watch())
        callers = [
            caller(item, start, waits, patience)
            for item, (start, waits, patience) in enumerate(arriving)
        ]
        await asyncio.gather(*callers)
        await batcher.drain()
        if watching.done():
            await watching
        watching.cancel()
        left = batcher.statistics()
        ends = left.completed + left.failed + left.cancelled + left.late + left.dropped
        assert (left.submitted, left.slots_busy) == (ends, 0)

    run(main)
