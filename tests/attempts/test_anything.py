"""Whatever fails, is late or given up: each item comes to one end, in time, and to its own."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from microbatch import (
    Batcher,
    BatchTimeoutError,
    HandlerCancelledError,
    ResultCountError,
    current_batch,
)
from microbatch.testing import run
from tests.attempts.trying import Trouble, now, policy, turns

FINE, POISON, OWN = "fine", "poison", "an error of its own"
SOON = st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.5, 6.0, 10.0])


@dataclass(frozen=True)
class Item:
    """What comes of an item, and how long somebody waits for it."""

    number: int
    kind: str
    timeout: float | None
    given_up: float | None
    many: bool


@dataclass
class World:
    """A handler to which things happen, in turn, call by call."""

    events: list[str]
    calls: list[list[Item]] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0

    async def __call__(self, items: list[Item]) -> list[Any]:
        self.calls.append(items)
        event = self.events.pop() if self.events else "handle"
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            assert current_batch().size == len(items) > 0
            if event != "at once":
                await asyncio.sleep(1.0)
        finally:
            self.under_way -= 1
        return self.answer(event, items)

    def answer(self, event: str, items: list[Item]) -> list[Any]:
        if event == "cancel itself":
            raise asyncio.CancelledError
        if event == "time out":
            raise TimeoutError
        if event == "fail once" or any(item.kind == POISON for item in items):
            raise Trouble("batch")
        if event == "say too little":
            return items[1:]
        return [Trouble(item.number) if item.kind == OWN else item.number for item in items]


def items_of(draws: list[tuple[str, float | None, float | None, bool]]) -> list[Item]:
    return [Item(number, *draw) for number, draw in enumerate(draws)]


ITEMS = st.lists(
    st.tuples(
        st.sampled_from([FINE, FINE, FINE, POISON, OWN]),
        st.none() | SOON,
        st.none() | st.none() | SOON,
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
).map(items_of)
EVENTS = st.lists(
    st.sampled_from(
        ["handle", "at once", "fail once", "time out", "cancel itself", "say too little"]
    ),
    max_size=8,
)
OPTIONS = st.fixed_dictionaries(
    {
        "retry": st.none() | st.builds(policy, st.integers(1, 3), st.sampled_from([0.0, 0.75])),
        "on_error": st.sampled_from(["fail", "bisect"]),
        "ordering": st.sampled_from(["unordered", "ordered"]),
        "timeout_policy": st.sampled_from(["partial", "fail", len]),
        "cancel_abandoned": st.booleans(),
        "max_batch_size": st.integers(1, 8),
        "max_concurrent_batches": st.integers(1, 3),
    }
)
EAGER = st.booleans() if sys.version_info >= (3, 12) else st.just(False)


async def live(items: list[Item], events: list[str], options: dict[str, Any]) -> None:
    world = World(events)
    if callable(options["timeout_policy"]):
        options = {**options, "timeout_policy": lambda late: [("late", i.number) for i in late]}
    batcher: Batcher[Item, Any] = Batcher(world, **options)
    ends: dict[int, tuple[Any, float]] = {}

    async def one(item: Item) -> None:
        timeout = item.timeout if item.timeout is not None else 30.0
        try:
            if item.many:
                (end,) = await batcher.submit_many([item], timeout=timeout)
            else:
                end = await batcher.submit(item, timeout=timeout)
        except BaseException as error:
            end = error
        assert item.number not in ends
        ends[item.number] = (end, now())

    tasks = [asyncio.create_task(one(item)) for item in items]
    for item, task in zip(items, tasks, strict=True):
        if item.given_up is not None:
            asyncio.get_running_loop().call_later(item.given_up, task.cancel)
    await asyncio.wait(tasks)
    await batcher.aclose()
    await turns()
    check(items, ends, world, options)
    counts = batcher.statistics()
    assert counts.submitted == len(items)
    assert counts.in_flight == counts.queued == counts.slots_busy == world.under_way == 0
    ways = (counts.completed, counts.failed, counts.cancelled, counts.late)
    assert sum(ways) == len(items)
    assert sum(map(len, world.calls)) == counts.batched + counts.retried
    assert world.most_under_way <= options["max_concurrent_batches"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


def check(
    items: list[Item], ends: dict[int, tuple[Any, float]], world: World, options: dict[str, Any]
) -> None:
    for item in items:
        end, when = ends[item.number]
        limits = [each for each in (item.timeout, item.given_up, 30.0) if each is not None]
        assert when <= min(limits)
        if isinstance(end, asyncio.CancelledError):
            assert item.given_up == when
        elif isinstance(end, BatchTimeoutError):
            assert options["timeout_policy"] == "fail" or when == (item.timeout or 30.0)
        elif isinstance(end, tuple):
            assert end == ("late", item.number)
        elif isinstance(end, Trouble):
            assert end.args in (("batch",), (item.number,))
            assert item.kind != FINE or end.args == ("batch",)
        elif isinstance(end, Exception):
            assert isinstance(end, (TimeoutError, HandlerCancelledError, ResultCountError))
            assert item.number in {each.number for call in world.calls for each in call}
        else:
            assert (item.kind, end) == (FINE, item.number)


@settings(max_examples=400, deadline=None)
@given(ITEMS, EVENTS, OPTIONS, EAGER)
def test_each_item_comes_to_one_end_in_time(
    items: list[Item], events: list[str], options: dict[str, Any], eager: bool
) -> None:
    run(live, items, events, options, debug=False, eager=eager)


@settings(max_examples=150, deadline=None)
@given(ITEMS, OPTIONS)
def test_bisecting_leaves_nobody_to_fail_for_another(
    items: list[Item], options: dict[str, Any]
) -> None:
    async def main() -> None:
        world = World([])
        batcher: Batcher[Item, Any] = Batcher(world, **{**options, "on_error": "bisect"})
        tickets = [batcher.submit(item) for item in items]
        ends = await asyncio.gather(*tickets, return_exceptions=True)
        for item, end in zip(items, ends, strict=True):
            if item.kind == FINE:
                assert end == item.number
            else:
                assert isinstance(end, Trouble)
                assert end.args == (("batch",) if item.kind == POISON else (item.number,))
        await batcher.drain()

    run(main, debug=False)


@settings(max_examples=150, deadline=None)
@given(ITEMS, EVENTS, OPTIONS)
def test_ordered_results_stay_in_order(
    items: list[Item], events: list[str], options: dict[str, Any]
) -> None:
    async def main() -> None:
        batcher: Batcher[Item, Any] = Batcher(World(events), **{**options, "ordering": "ordered"})
        done: list[int] = []
        tickets = [batcher.submit(item) for item in items]
        for number, ticket in enumerate(tickets):
            ticket.add_done_callback(lambda _, number=number: done.append(number))
        await asyncio.wait(tickets)
        await turns()
        assert done == sorted(done)
        await batcher.drain()

    run(main, debug=False)
