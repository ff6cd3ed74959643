"""``max_latency="auto"``: a free slot waits for those who come back, where that has paid."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from typing import Any

import pytest

from microbatch import Batcher, BatcherStatistics, BlockingBatcher, batched
from microbatch.testing import RecordingHandler, run

HANDLING = 0.02
EACH = 0.00005
"""Seconds of a handler call, and for each of its items."""
NETWORK = (0.001, 0.004)
"""Seconds from an answer to the next item of the same caller."""
ROUND = HANDLING + 64 * EACH + NETWORK[1]


async def handler(items: list[Any]) -> list[Any]:
    await asyncio.sleep(HANDLING + EACH * len(items))
    return items


def auto(**options: Any) -> Batcher[Any, Any]:
    return Batcher(handler, max_latency="auto", **options)


async def closed_loop(
    batcher: Any, callers: int, seconds: float, network: tuple[float, float] = NETWORK, **own: Any
) -> list[float]:
    """Have each caller submit again when its answer has come back; give how long they waited."""
    time = asyncio.get_running_loop().time
    until, waited = time() + seconds, list[float]()

    async def caller(number: int) -> None:
        dice = random.Random(f"caller {number}")
        await asyncio.sleep(dice.uniform(0, HANDLING))
        while time() < until:
            began = time()
            await batcher.submit(number, **own)
            waited.append(time() - began)
            await asyncio.sleep(dice.uniform(*network))

    async with asyncio.TaskGroup() as group:
        for number in range(callers):
            group.create_task(caller(number))
    return waited


async def steady(batcher: Any, rate: float, seconds: float) -> None:
    """Submit at random times, whatever is answered."""
    dice, tickets = random.Random("steady"), []
    until = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < until:
        await asyncio.sleep(dice.expovariate(rate))
        tickets.append(batcher.submit(len(tickets)))
    await asyncio.gather(*tickets)


class Since:
    """What a batcher has done since."""

    def __init__(self, batcher: Any) -> None:
        self.batcher, self.before = batcher, batcher.statistics()

    @property
    def mean(self) -> float:
        now = self.batcher.statistics()
        return float(now.batched - self.before.batched) / (now.calls - self.before.calls)

    def calls(self, *reasons: str) -> int:
        now = self.batcher.statistics().batches
        before = self.before.batches
        return sum(now.get(reason, 0) - before.get(reason, 0) for reason in reasons)


async def settle(batcher: Any, callers: int, rounds: int = 40, **own: Any) -> None:
    """Have it learn."""
    await closed_loop(batcher, callers, rounds * ROUND, **own)


async def mean_batch(batcher: Any, callers: int, rounds: int = 20, **own: Any) -> float:
    since = Since(batcher)
    await closed_loop(batcher, callers, rounds * ROUND, **own)
    return since.mean


# ------------------------------------------------------------------------------------- closed loops
async def test_callers_who_come_back_a_little_later_leave_half_batches_within_tens_of_them() -> (
    None
):
    natural, batcher = Batcher(handler), auto()
    assert await mean_batch(natural, 32) < 0.6 * 32
    async with asyncio.TaskGroup() as group:
        group.create_task(closed_loop(batcher, 32, 50 * ROUND))
        await asyncio.sleep(25 * ROUND)
        since = Since(batcher)
        assert since.before.calls < 50
        await asyncio.sleep(20 * ROUND)
        assert since.mean > 0.9 * 32


async def test_the_wait_raises_the_throughput() -> None:
    answered = []
    for batcher in (Batcher(handler), auto()):
        await settle(batcher, 32)
        answered.append(len(await closed_loop(batcher, 32, 1.0)))
    assert answered[1] > 1.4 * answered[0]


def test_one_caller_never_waits() -> None:
    async def scene(max_latency: Any) -> list[float]:
        batcher = Batcher(handler, max_latency=max_latency)
        waited = await closed_loop(batcher, 1, 2.0)
        assert set(batcher.statistics().batches) == {"natural"}
        assert batcher.statistics().learned_latency == 0.0
        return waited

    assert run(scene, "auto") == run(scene, 0.0)


async def test_callers_who_come_back_in_the_same_turn_need_no_wait() -> None:
    batcher = auto()

    async def caller(number: int) -> None:
        for _ in range(100):
            await batcher.submit(number)

    await asyncio.gather(*map(caller, range(32)))
    now = batcher.statistics()
    assert now.batches == {"natural": 100}
    assert (now.learned_latency, now.batches_saved, now.seconds_saved) == (0.0, 0, 0.0)


async def test_callers_who_come_back_a_turn_later_are_waited_for() -> None:
    batcher = auto()
    await closed_loop(batcher, 32, 30 * ROUND, network=(0.0, 0.0))
    assert await mean_batch(batcher, 32, network=(0.0, 0.0)) > 0.9 * 32


# --------------------------------------------------------------------------------------- open loops
@pytest.mark.parametrize("rate", [50.0, 300.0, 1500.0, 2500.0])
async def test_steady_arrivals_earn_no_wait(rate: float) -> None:
    batcher = auto()
    await steady(batcher, rate, 2.0)
    assert set(batcher.statistics().batches) <= {"natural", "size"}
    assert batcher.statistics().learned_latency == 0.0


# ------------------------------------------------------------------------------- changes of traffic
async def test_fewer_and_more_callers_are_waited_for_as_they_are() -> None:
    batcher = auto()
    for callers in (64, 16, 64):
        await settle(batcher, callers, rounds=50)
        assert await mean_batch(batcher, callers) > 0.9 * callers


async def test_a_closed_loop_that_becomes_steady_arrivals_is_waited_for_no_more() -> None:
    batcher = auto()
    await settle(batcher, 32)
    assert batcher.statistics().learned_latency > 0.0
    await steady(batcher, 1500.0, 50 * ROUND)
    since = Since(batcher)
    await steady(batcher, 1500.0, 1.0)
    assert batcher.statistics().learned_latency == 0.0
    assert since.calls("latency", "expected") == 0
    await settle(batcher, 32)
    assert await mean_batch(batcher, 32) > 0.9 * 32


# ------------------------------------------------------------------------------------------- bounds
async def test_a_wait_is_never_longer_than_its_bound() -> None:
    bounded = auto(max_auto_latency=0.001)
    await settle(bounded, 32)
    assert bounded.statistics().learned_latency <= 0.001
    assert await mean_batch(bounded, 32) < 0.6 * 32
    unbounded = auto()
    await settle(unbounded, 32)
    assert unbounded.statistics().learned_latency > 0.001


async def test_a_bound_that_suffices_is_as_good_as_none() -> None:
    batcher = auto(max_auto_latency=0.006)
    await settle(batcher, 32)
    assert 0.0 < batcher.statistics().learned_latency <= 0.006
    assert await mean_batch(batcher, 32) > 0.9 * 32


async def test_no_bound_at_all_is_no_wait_at_all() -> None:
    batcher = auto(max_auto_latency=0.0)
    await settle(batcher, 32)
    assert set(batcher.statistics().batches) == {"natural"}


async def test_a_wait_is_never_longer_than_a_quarter_of_the_timeout() -> None:
    batcher = auto(timeout=0.06)
    await settle(batcher, 32)
    assert 0.0 < batcher.statistics().learned_latency <= 0.06 / 4
    assert batcher.statistics().late == 0


async def test_nobody_in_a_hurry_is_late_because_of_the_wait() -> None:
    batcher = auto()
    await settle(batcher, 32)
    async with asyncio.TaskGroup() as group:
        group.create_task(closed_loop(batcher, 24, 1.0))
        hurried = group.create_task(closed_loop(batcher, 8, 1.0, timeout=0.0475))
    assert len(hurried.result()) > 100
    assert batcher.statistics().late == 0


# ------------------------------------------------------------------------------ whatever else is on
@pytest.mark.parametrize("slots", [2, 3])
async def test_several_slots_form_no_smaller_batches_than_without_it(slots: int) -> None:
    means = []
    for batcher in (
        Batcher(handler, max_concurrent_batches=slots),
        auto(max_concurrent_batches=slots),
    ):
        await settle(batcher, 32)
        means.append(await mean_batch(batcher, 32))
    assert means[1] > 0.95 * means[0]


@pytest.mark.parametrize(
    "options",
    [
        {"key": lambda item: "all"},
        {"priority": lambda item: item % 3},
        {"dedupe": lambda item: item},
        {"ordering": "ordered"},
        {"on_error": "bisect"},
        {"max_batch_weight": 100.0, "weigh": lambda item: 2.0},
        {"timeout": 1.0, "timeout_policy": "fail"},
        {"capacity": 40},
        {"observer": lambda event: None},
    ],
    ids=lambda options: next(iter(options)),
)
async def test_callers_are_waited_for_with_every_other_option(options: dict[str, Any]) -> None:
    batcher = auto(**options)
    await settle(batcher, 32)
    assert await mean_batch(batcher, 32) > 0.9 * 32


async def test_each_key_is_answered_where_several_take_turns() -> None:
    batcher = auto(key=lambda item: item % 4)
    natural = Batcher(handler, key=lambda item: item % 4)
    answered = []
    for each in (natural, batcher):
        await settle(each, 32)
        answered.append(len(await closed_loop(each, 32, 2.0)))
    assert answered[1] > 0.98 * answered[0]


async def test_a_decorated_function_waits_too() -> None:
    @batched(max_latency="auto")
    async def double(items: list[int]) -> list[int]:
        await asyncio.sleep(HANDLING)
        return [2 * item for item in items]

    await settle(double, 32)
    assert await mean_batch(double, 32) > 0.9 * 32
    assert await double(4) == 8


async def test_streams_are_waited_for() -> None:
    async def count(items: list[int]) -> Any:
        for _ in range(2):
            await asyncio.sleep(HANDLING / 2)
            yield items

    batcher = Batcher(count, max_latency="auto", stream=True)

    class Streams:
        @staticmethod
        async def submit(item: int) -> list[int]:
            return [chunk async for chunk in batcher.stream(item)]

    await closed_loop(Streams, 32, 40 * ROUND)
    since = Since(batcher)
    await closed_loop(Streams, 32, 20 * ROUND)
    assert since.mean > 0.9 * 32


def test_threads_are_answered() -> None:
    async def plain(items: list[int]) -> list[int]:
        await asyncio.sleep(0)
        return items

    with BlockingBatcher(plain, max_latency="auto") as batcher:

        def work(number: int) -> None:
            for _ in range(50):
                assert batcher.submit(number).result(10.0) == number

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert batcher.statistics().completed == 200


# ------------------------------------------------------------------------------ flush, drain, close
@pytest.mark.parametrize("how", ["flush", "drain", "aclose"])
async def test_nobody_who_flushes_drains_or_closes_waits(how: str) -> None:
    batcher = auto()
    await settle(batcher, 32)
    tickets = [batcher.submit(number) for number in range(32)]
    await tickets[0]
    began = asyncio.get_running_loop().time()
    late = batcher.submit(33)
    await asyncio.sleep(0)
    assert batcher.statistics().queued == 1  # it waits for the others
    ending = getattr(batcher, how)()
    if how != "flush":
        await ending
    await late
    took = asyncio.get_running_loop().time() - began
    assert took == pytest.approx(HANDLING + EACH)
    await asyncio.gather(*tickets)


async def test_who_comes_while_somebody_drains_does_not_wait() -> None:
    batcher = auto()
    await settle(batcher, 32)
    tickets = [batcher.submit(number) for number in range(32)]
    draining = asyncio.create_task(batcher.drain())
    await tickets[0]
    began = asyncio.get_running_loop().time()
    await batcher.submit(33)
    assert asyncio.get_running_loop().time() - began == pytest.approx(HANDLING + EACH)
    await draining
    await asyncio.gather(*tickets)


# ------------------------------------------------------------------------------------- while in use
async def test_it_may_begin_and_end_while_in_use() -> None:
    batcher = Batcher(handler)
    async with asyncio.TaskGroup() as group:
        group.create_task(closed_loop(batcher, 32, 150 * ROUND))
        await asyncio.sleep(20 * ROUND)
        batcher.reconfigure(max_latency="auto")
        await asyncio.sleep(60 * ROUND)
        since = Since(batcher)
        await asyncio.sleep(40 * ROUND)
        assert since.mean > 0.9 * 32
        gained = batcher.statistics()
        assert gained.learned_latency > 0.0
        batcher.reconfigure(max_latency=0.0)
        now = batcher.statistics()
        assert (now.learned_latency, now.expected_arrivals) == (0.0, 0.0)
        assert now.batches_saved == gained.batches_saved > 0
        assert now.seconds_saved == gained.seconds_saved > 0
        since = Since(batcher)
        await asyncio.sleep(20 * ROUND)
        assert since.calls("expected", "latency") == 0


async def test_other_options_change_nothing_of_what_is_learned() -> None:
    batcher = auto()
    await settle(batcher, 32)
    before = batcher.statistics()
    batcher.reconfigure(capacity=500, max_auto_latency=None)
    assert batcher.statistics() == before


@pytest.mark.parametrize("change", [{"max_auto_latency": 0.01}, {"max_batch_size": 48}])
async def test_other_bounds_are_learned_anew_while_a_batch_is_handled(
    change: dict[str, Any],
) -> None:
    batcher = auto()
    async with asyncio.TaskGroup() as group:
        group.create_task(closed_loop(batcher, 32, 150 * ROUND))
        await asyncio.sleep(50 * ROUND)
        assert batcher.statistics().in_flight > 0
        batcher.reconfigure(**change)
        assert batcher.statistics().learned_latency == 0.0
        await asyncio.sleep(60 * ROUND)
        since = Since(batcher)
        await asyncio.sleep(30 * ROUND)
        assert since.mean > 0.9 * 32


async def test_with_fewer_slots_calls_under_way_run_on() -> None:
    batcher = auto(max_batch_size=1, max_concurrent_batches=4)
    tickets = [batcher.submit(number) for number in range(6)]
    await asyncio.sleep(0)
    batcher.reconfigure(max_concurrent_batches=1)
    assert await asyncio.gather(*tickets) == [*range(6)]
    assert asyncio.get_running_loop().time() == pytest.approx(3 * (HANDLING + EACH))


async def test_with_fewer_slots_callers_are_waited_for_again() -> None:
    batcher = auto(max_concurrent_batches=3)
    async with asyncio.TaskGroup() as group:
        group.create_task(closed_loop(batcher, 32, 200 * ROUND))
        await asyncio.sleep(50 * ROUND)
        batcher.reconfigure(max_concurrent_batches=1)
        await asyncio.sleep(70 * ROUND)
        since = Since(batcher)
        await asyncio.sleep(40 * ROUND)
        assert since.mean > 0.9 * 32
        batcher.reconfigure(max_concurrent_batches=3)
        await asyncio.sleep(20 * ROUND)
        assert batcher.statistics().slots_busy > 1


# --------------------------------------------------------------------------------- what can be seen
async def test_a_wait_that_others_have_taught_is_given_up_when_it_does_not_pay_any_more() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=0.02)
    batcher = Batcher(handler, max_latency="auto")
    chance = random.Random(1)

    async def call_again(times: int, most: int) -> None:
        for _ in range(times):
            await asyncio.sleep(0.001 + 0.003 * chance.random())
            await asyncio.gather(*map(batcher.submit, range(chance.randint(1, most))))

    await asyncio.gather(*(call_again(100, 1) for _ in range(12)))
    assert batcher.statistics().learned_latency > 0.0
    await call_again(700, 20)  # a lone caller, whose batches vary in size
    assert batcher.statistics().learned_latency == 0.0


async def test_what_goes_while_somebody_drains_teaches_nothing() -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=0.02)
    batcher = Batcher(handler, max_latency="auto", max_batch_size=1)
    tickets = [batcher.submit(item) for item in range(40)]
    await batcher.drain()
    assert await asyncio.gather(*tickets) == [*range(40)]
    assert batcher.statistics().learned_latency == 0.0


async def test_statistics_tell_what_was_learned_and_gained() -> None:
    batcher = auto()
    await settle(batcher, 32)
    now = batcher.statistics()
    assert 0.003 < now.learned_latency < 0.031
    assert now.expected_arrivals == pytest.approx(32, rel=0.1)
    assert now.batches_saved > 20
    assert now.seconds_saved > 20 * 16 * HANDLING / 2
    assert set(now.batches) <= {"natural", "latency", "expected"}
    assert now.batches["expected"] > now.batches["natural"]


async def test_without_it_nothing_is_learned_or_gained() -> None:
    batcher = Batcher(handler)
    await settle(batcher, 32, rounds=20)
    now = batcher.statistics()
    assert (now.learned_latency, now.expected_arrivals) == (0.0, 0.0)
    assert (now.batches_saved, now.seconds_saved) == (0, 0.0)


async def test_what_was_gained_never_falls() -> None:
    batcher = auto(key=lambda item: item % 3)
    seen: list[tuple[int, float]] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(closed_loop(batcher, 20, 100 * ROUND, network=(0.001, 0.02)))
        for _ in range(100):
            await asyncio.sleep(ROUND)
            now = batcher.statistics()
            seen.append((now.batches_saved, now.seconds_saved))
    for before, after in itertools.pairwise(seen):
        assert before[0] <= after[0]
        assert before[1] <= after[1]


def test_one_seed_is_one_run() -> None:
    async def scene() -> tuple[BatcherStatistics, list[float]]:
        batcher = auto(max_concurrent_batches=2, key=lambda item: item % 2)
        waited = await closed_loop(batcher, 24, 2.0)
        return batcher.statistics(), waited

    assert run(scene, debug=False) == run(scene, debug=False)
