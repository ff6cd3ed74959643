"""Other sizes and times while a batcher is in use."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch import Batcher, BatchTimeoutError
from microbatch.testing import RecordingHandler, run

HOUR = 3600.0


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def items_of(handler: RecordingHandler[Any, Any]) -> list[tuple[Any, ...]]:
    return [call.items for call in handler.calls]


async def test_queued_items_go_in_batches_of_the_new_size() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler, max_batch_size=10, max_latency=HOUR)
    tickets = [batcher.submit(number) for number in range(5)]
    batcher.reconfigure(max_batch_size=2)
    await asyncio.gather(*tickets[:4])
    assert items_of(handler) == [(0, 1), (2, 3)]
    assert batcher.options.max_batch_size == 2
    batcher.reconfigure(max_batch_size=1)
    assert await tickets[4] == 4


async def test_queued_items_wait_as_long_as_the_new_latency() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler, max_latency=HOUR)
    ticket = batcher.submit(1)
    await asyncio.sleep(1.0)
    batcher.reconfigure(max_latency=3.0)
    await ticket
    assert handler.calls[0].started == 3.0


async def test_a_longer_latency_holds_too() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler, max_latency=1.0)
    ticket = batcher.submit(1)
    batcher.reconfigure(max_latency=3.0)
    await ticket
    assert handler.calls[0].started == 3.0


async def test_more_slots_are_used_at_once() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, max_batch_size=1)
    tickets = [batcher.submit(number) for number in range(3)]
    batcher.reconfigure(max_concurrent_batches=3)
    await asyncio.gather(*tickets)
    assert [call.started for call in handler.calls] == [0.0, 0.0, 0.0]


async def test_with_fewer_slots_calls_under_way_run_on() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, max_batch_size=1, max_concurrent_batches=3)
    tickets = [batcher.submit(number) for number in range(5)]
    batcher.reconfigure(max_concurrent_batches=1)
    assert batcher.statistics().slots_busy == 3
    await asyncio.gather(*tickets)
    assert [call.started for call in handler.calls] == [0.0, 0.0, 0.0, 1.0, 2.0]


async def test_more_capacity_admits_those_who_wait() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, capacity=1)
    tickets = [batcher.submit(number) for number in range(5)]
    assert batcher.statistics().waiting == 4
    batcher.reconfigure(capacity=None)
    assert batcher.statistics().waiting == 0
    await asyncio.gather(*tickets)
    assert items_of(handler) == [(0,), (1, 2, 3, 4)]


@pytest.mark.parametrize("options", [{}, {"key": bool}, {"dedupe": str}, {"priority": float}])
async def test_the_new_timeout_counts_from_submission(options: dict[str, Any]) -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    handler.hold()
    batcher = Batcher(handler, max_batch_size=1, **options)
    in_flight, queued = batcher.submit(1), batcher.submit(2)
    own, never = batcher.submit(3, timeout=7.0), batcher.submit(4, timeout=None)
    await asyncio.sleep(1.0)
    batcher.reconfigure(timeout=3.0)
    outcomes = []
    for ticket in (in_flight, queued, own):
        with pytest.raises(BatchTimeoutError) as caught:
            await ticket
        outcomes.append((asyncio.get_running_loop().time(), str(caught.value).split("timeout ")[1]))
    assert outcomes == [
        (3.0, "of 3 s while it was in flight"),
        (3.0, "of 3 s while it was queued"),
        (7.0, "of 7 s while it was in flight"),
    ]
    handler.release()
    await never


async def test_without_a_timeout_nothing_is_late() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=10.0)
    batcher = Batcher(handler, timeout=5.0)
    ticket = batcher.submit(1)
    batcher.reconfigure(timeout=None)
    assert await ticket == 1


async def test_queued_items_obey_the_new_weight() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher = Batcher(handler, max_batch_weight=10, weigh=len, max_latency=HOUR)
    tickets = [batcher.submit(item) for item in ("aa", "bb", "cc")]
    batcher.reconfigure(max_batch_weight=4)
    await asyncio.gather(*tickets[:2])
    assert items_of(handler) == [("aa", "bb")]
    batcher.flush()
    await tickets[2]


async def test_a_bound_on_the_weight_may_come_later() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher = Batcher(handler, max_latency=HOUR)
    early = batcher.submit("a")
    batcher.reconfigure(max_batch_weight=3)
    tickets = [batcher.submit("b", weight=2), batcher.submit("c", weight=2)]
    await asyncio.gather(early, tickets[0])
    assert items_of(handler) == [("a", "b")]
    batcher.flush()
    await tickets[1]


async def test_a_bound_on_the_weight_that_comes_later_holds_for_what_is_queued() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler)
    tickets = [batcher.submit(item) for item in range(5)]
    batcher.reconfigure(max_batch_weight=2)
    await asyncio.gather(*tickets, *map(batcher.submit, range(5, 9)))
    assert handler.sizes == [2, 2, 2, 2, 1]
    assert batcher.statistics().batches == {"weight": 4, "natural": 1}


async def test_a_wrong_value_changes_nothing() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(), max_latency=1.0)
    before = batcher.options
    with pytest.raises(ValueError, match=r"^timeout must be > max_latency \(1\.0\)"):
        batcher.reconfigure(max_batch_size=3, timeout=0.5)
    assert batcher.options is before


async def test_what_cannot_be_changed_is_named() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler())
    with pytest.raises(TypeError) as caught:
        batcher.reconfigure(ordering="ordered")  # type: ignore[call-arg]
    assert str(caught.value) == (
        "'ordering' cannot be changed while in use; these can: max_batch_size, max_latency, "
        "max_auto_latency, max_concurrent_batches, capacity, timeout, max_batch_weight"
    )


async def test_those_who_drain_are_not_kept_waiting_by_a_new_latency() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=1.0)
    batcher = Batcher(handler, max_latency=HOUR)
    tickets = [batcher.submit(1)]
    draining = asyncio.create_task(batcher.drain())
    await turns()
    batcher.reconfigure(max_latency=2 * HOUR)
    tickets.append(batcher.submit(2))
    await draining
    assert asyncio.get_running_loop().time() == 2.0
    await asyncio.gather(*tickets)


def test_other_loops_follow() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler, max_latency=HOUR)
    submitted, changed = threading.Event(), threading.Event()

    async def elsewhere() -> int:
        ticket = batcher.submit(1)
        submitted.set()
        await asyncio.to_thread(changed.wait)
        return await asyncio.wait_for(ticket, 10.0)

    async def here() -> None:
        assert await batcher.submit_many([]) == []
        batcher.reconfigure(max_batch_size=1)
        changed.set()

    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(asyncio.run(elsewhere())))
    thread.start()
    assert submitted.wait(10.0)
    asyncio.run(here())
    thread.join()
    assert answers == [1]
    batcher.reconfigure(max_batch_size=2)  # both loops are closed


changes = st.fixed_dictionaries(
    {},
    optional={
        "max_batch_size": st.integers(1, 5),
        "max_latency": st.sampled_from([0.0, 0.5, 1.5, "auto"]),
        "max_auto_latency": st.none() | st.sampled_from([0.0, 1.0]),
        "max_concurrent_batches": st.integers(1, 3),
        "capacity": st.none() | st.integers(1, 8),
        "timeout": st.none() | st.sampled_from([2.0, 5.0]),
        "max_batch_weight": st.none() | st.integers(1, 4),
    },
)
steps = st.lists(st.tuples(st.integers(0, 4), changes, st.integers(0, 3)), max_size=30)


@given(steps=steps, keyed=st.booleans())
def test_whatever_changes_every_item_comes_to_its_end(
    steps: list[tuple[int, Any, int]], keyed: bool
) -> None:
    """Each step submits some items, changes some options, and pauses for halves of a second."""

    async def handler(items: list[int]) -> list[int]:
        await asyncio.sleep(0.75)
        return items

    async def main() -> None:
        batcher = Batcher(handler, key=(lambda item: item % 2) if keyed else None)
        tickets = []
        for count, change, pause in steps:
            tickets += [batcher.submit(len(tickets) + number) for number in range(count)]
            batcher.reconfigure(**change)
            await asyncio.sleep(pause / 2)
        outcomes = await asyncio.gather(*tickets, return_exceptions=True)
        for number, outcome in enumerate(outcomes):
            assert outcome == number or isinstance(outcome, BatchTimeoutError)
        await batcher.aclose()
        end = batcher.statistics()
        assert end.submitted == end.completed + end.late

    run(main)
