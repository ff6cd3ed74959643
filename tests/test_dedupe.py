"""Equal items that are queued together are handled once, for all their callers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch import Batcher, BatchTimeoutError, CapacityError
from microbatch.testing import RecordingHandler, run

HOUR = 3600.0


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def shouting(**options: Any) -> tuple[RecordingHandler[str, str], Batcher[str, str]]:
    handler: RecordingHandler[str, str] = RecordingHandler(lambda items: [i.upper() for i in items])
    return handler, Batcher(handler, dedupe=str.lower, **options)


@pytest.mark.every_loop
async def test_equal_items_are_handled_once_and_each_caller_gets_the_result() -> None:
    handler, batcher = shouting()
    answers = await asyncio.gather(*map(batcher.submit, ["a", "b", "A", "a"]))
    assert answers == ["A", "B", "A", "A"]
    assert [call.items for call in handler.calls] == [("a", "b")]
    done = batcher.statistics()
    assert (done.submitted, done.completed, done.batched, done.deduplicated) == (4, 4, 2, 2)


async def test_what_is_in_flight_is_joined_by_nobody() -> None:
    handler, batcher = shouting()
    handler.hold()
    first = batcher.submit("a")
    await turns()
    second = batcher.submit("a")
    handler.release()
    assert await asyncio.gather(first, second) == ["A", "A"]
    assert [call.items for call in handler.calls] == [("a",), ("a",)]


async def test_cancelling_one_caller_never_cancels_another() -> None:
    handler, batcher = shouting(max_latency=1.0)
    first, second = batcher.submit("a"), batcher.submit("a")
    first.cancel()
    assert await second == "A"
    handler.hold()
    third, fourth = batcher.submit("b"), batcher.submit("b")
    await asyncio.sleep(2.0)
    fourth.cancel()
    await turns()
    assert handler.calls[-1].outcome is None
    handler.release()
    assert await third == "B"
    assert batcher.statistics().cancelled == 2


async def test_an_item_goes_with_the_last_of_its_callers() -> None:
    handler, batcher = shouting(max_latency=1.0)
    for ticket in [batcher.submit("a"), batcher.submit("a")]:
        ticket.cancel()
    assert await batcher.submit("b") == "B"
    assert handler.items == ["b"]


async def test_a_handler_is_cancelled_when_all_callers_of_all_its_items_are() -> None:
    handler, batcher = shouting()
    handler.hold()
    tickets = [batcher.submit(item) for item in ("a", "a", "b")]
    await turns()
    for ticket in tickets:
        ticket.cancel()
    await turns()
    assert handler.calls[0].outcome == "cancelled"


async def test_each_caller_gets_an_exception_of_its_own() -> None:
    async def fail(items: list[str]) -> list[str]:
        raise ValueError("no")

    batcher = Batcher(fail, dedupe=str.lower)
    errors = await asyncio.gather(*map(batcher.submit, "aAa"), return_exceptions=True)
    assert [type(error) for error in errors] == [ValueError] * 3
    assert len({id(error) for error in errors}) == 3


async def test_an_exception_in_its_place_is_raised_to_all_callers_of_that_item() -> None:
    async def fail_one(items: list[str]) -> list[str | Exception]:
        return [ValueError(item) if item == "a" else item for item in items]

    batcher = Batcher(fail_one, dedupe=str.lower)
    a, b, c = await asyncio.gather(*map(batcher.submit, "abA"), return_exceptions=True)
    assert (repr(a), b, repr(c)) == ("ValueError('a')", "b", "ValueError('a')")
    assert a is not c


async def test_deadlines_are_each_callers_own() -> None:
    _handler, batcher = shouting(max_latency=1.0, timeout=10.0)
    patient, hasty = batcher.submit("a"), batcher.submit("a", timeout=0.5)
    with pytest.raises(BatchTimeoutError, match=r"timeout of 0\.5 s while it was queued"):
        await hasty
    assert await patient == "A"
    assert (batcher.statistics().late, batcher.statistics().completed) == (1, 1)


async def test_a_caller_is_late_while_another_still_waits_in_flight() -> None:
    handler, batcher = shouting()
    handler.hold()
    patient, hasty = batcher.submit("a"), batcher.submit("a", timeout=0.5)
    with pytest.raises(BatchTimeoutError, match="while it was in flight"):
        await hasty
    handler.release()
    assert await patient == "A"


async def test_submit_many_shares_within_itself_and_with_others() -> None:
    handler, batcher = shouting()
    one = batcher.submit("a")
    assert await batcher.submit_many(["a", "b", "B", "c"]) == ["A", "B", "B", "C"]
    assert await one == "A"
    assert handler.items == ["a", "b", "c"]


async def test_cancelling_submit_many_leaves_those_who_share_with_it() -> None:
    handler, batcher = shouting(max_latency=1.0)
    many, one = batcher.submit_many(["a", "a", "b"]), batcher.submit("a")
    many.cancel()
    assert await one == "A"
    assert handler.items == ["a"]
    assert batcher.statistics().cancelled == 3


async def test_items_of_different_keys_are_not_equal() -> None:
    handler, batcher = shouting(key=str.isupper)
    await asyncio.gather(*map(batcher.submit, "aAaA"))
    assert [call.items for call in handler.calls] == [("a",), ("A",)]


async def test_those_who_join_need_no_admission() -> None:
    _handler, batcher = shouting(capacity=1)
    tickets = [batcher.submit(item) for item in ("a", "b", "b")]
    now = batcher.statistics()
    assert (now.in_flight, now.queued, now.waiting, now.joined) == (1, 0, 1, 1)
    assert await asyncio.gather(*tickets) == ["A", "B", "B"]


async def test_those_who_join_count_where_items_are_rejected() -> None:
    _handler, batcher = shouting(capacity=2, overflow="reject")
    tickets = [batcher.submit("a"), batcher.submit("a")]
    with pytest.raises(CapacityError):
        batcher.submit("a")
    await asyncio.gather(*tickets)


async def test_dropping_an_item_fails_all_its_callers() -> None:
    handler, batcher = shouting(capacity=3, overflow="drop_oldest")
    handler.hold()
    busy = batcher.submit("x")
    await turns()
    first, second, third = (batcher.submit(item) for item in "aab")
    for ticket in (first, second):
        with pytest.raises(CapacityError):
            await ticket
    handler.release()
    assert await asyncio.gather(busy, third) == ["X", "B"]
    assert batcher.statistics().dropped == 2


async def test_what_dedupe_gives_must_be_hashable() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(), dedupe=lambda item: [item])
    with pytest.raises(TypeError, match=r"^dedupe must give what is hashable, got \[1\]$"):
        batcher.submit(1)
    assert batcher.statistics().submitted == 0


async def test_a_dedupe_that_raises_raises_in_submit_and_hurts_nobody_else() -> None:
    batcher: Batcher[Any, Any] = Batcher(RecordingHandler(), dedupe=lambda item: item.key)
    with pytest.raises(AttributeError):
        batcher.submit("a")
    assert batcher.statistics().submitted == 0


async def test_closing_in_time_gives_up_every_caller() -> None:
    handler, batcher = shouting()
    handler.hold()
    tickets = [batcher.submit(item) for item in "aab"]
    await turns()
    assert await batcher.aclose(timeout=1.0) == 3
    outcomes = await asyncio.gather(*tickets, return_exceptions=True)
    assert {type(outcome).__name__ for outcome in outcomes} == {"BatcherClosedError"}


actions = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from([None, 0.0, 0.5, 1.5]), st.integers(0, 3)),
    max_size=40,
)


@given(actions=actions, size=st.integers(1, 3), latency=st.sampled_from([0.0, 1.0]))
def test_every_caller_gets_its_own_answer_or_its_cancellation(
    actions: list[tuple[str, float | None, int]], size: int, latency: float
) -> None:
    """Each action is an item, when its caller gives up, and a pause in halves of a second."""

    async def handler(items: list[str]) -> list[str]:
        assert len(set(items)) == len(items) <= size
        await asyncio.sleep(0.75)
        return [item.upper() for item in items]

    async def call(batcher: Batcher[str, str], item: str, patience: float | None) -> str:
        try:
            async with asyncio.timeout(patience):
                return await batcher.submit(item)
        except TimeoutError:
            return "gone"

    async def main() -> None:
        batcher = Batcher(handler, dedupe=str, max_batch_size=size, max_latency=latency)
        tasks = []
        for item, patience, pause in actions:
            tasks.append(asyncio.create_task(call(batcher, item, patience)))
            await asyncio.sleep(pause / 2)
        for (item, patience, _), answer in zip(actions, await asyncio.gather(*tasks), strict=True):
            assert answer == item.upper() or (answer == "gone" and patience is not None)
        await batcher.aclose()
        end = batcher.statistics()
        assert end.submitted == end.completed + end.cancelled
        assert (end.queued, end.joined, end.in_flight) == (0, 0, 0)

    run(main)


class Touchy:
    """Compares itself with nobody, and yet can be hashed."""

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise TypeError("not comparable")


@pytest.mark.parametrize("name", ["key", "dedupe"])
async def test_what_comparing_raises_comes_out_of_submit(name: str) -> None:
    batcher: Batcher[Touchy, Touchy] = Batcher(
        RecordingHandler(), max_latency=1.0, **{name: lambda item: item}
    )
    first = batcher.submit(Touchy())
    with pytest.raises(TypeError, match=r"^not comparable$"):
        batcher.submit(Touchy())
    await first
    assert batcher.statistics().submitted == 1


# ----------------------------------------------------------------------- joining what is in flight
def joining(**options: Any) -> tuple[RecordingHandler[str, str], Batcher[str, str]]:
    return shouting(dedupe_in_flight=True, **options)


@pytest.mark.every_loop
async def test_what_is_in_flight_can_be_joined_and_each_caller_gets_the_result() -> None:
    handler, batcher = joining()
    handler.hold()
    first = batcher.submit("a")
    await turns()
    second, many = batcher.submit("A"), batcher.submit_many(["a", "b"])
    now = batcher.statistics()
    assert (now.in_flight, now.joined, now.deduplicated) == (1, 2, 2)
    handler.release()
    assert await asyncio.gather(first, second, many) == ["A", "A", ["A", "B"]]
    assert [call.items for call in handler.calls] == [("a",), ("b",)]
    assert await batcher.submit("a") == "A"
    assert [call.items for call in handler.calls] == [("a",), ("b",), ("a",)]


async def test_who_joins_in_flight_cancels_for_itself_alone() -> None:
    handler, batcher = joining()
    handler.hold()
    first = batcher.submit("a")
    await turns()
    second, third = batcher.submit("a"), batcher.submit("a")
    first.cancel()
    third.cancel()
    await turns()
    assert handler.calls[0].outcome is None
    handler.release()
    assert await second == "A"
    done = batcher.statistics()
    assert (done.completed, done.cancelled) == (1, 2)


async def test_the_handler_is_cancelled_with_the_last_who_joined() -> None:
    handler, batcher = joining()
    handler.hold()
    first = batcher.submit("a")
    await turns()
    second = batcher.submit("a")
    first.cancel()
    second.cancel()
    third = batcher.submit("a")
    await turns()
    assert handler.calls[0].outcome == "cancelled"
    handler.release()
    assert await third == "A"


async def test_who_joins_in_flight_has_a_timeout_of_its_own() -> None:
    handler, batcher = joining()
    handler.hold()
    first = batcher.submit("a", timeout=9.0)
    await asyncio.sleep(1.0)
    second, third = batcher.submit("a", timeout=2.0), batcher.submit("a", timeout=None)
    with pytest.raises(BatchTimeoutError, match=r"its timeout of 2 s while it was in flight"):
        await second
    with pytest.raises(BatchTimeoutError, match=r"its timeout of 9 s while it was in flight"):
        await first
    handler.release()
    assert await third == "A"
    done = batcher.statistics()
    assert (done.completed, done.late) == (1, 2)


async def test_those_who_joined_in_flight_fail_with_copies_of_their_own() -> None:
    gate = asyncio.Event()

    async def handler(items: list[str]) -> list[str]:
        await gate.wait()
        raise ValueError(items)

    batcher: Batcher[str, str] = Batcher(handler, dedupe=str, dedupe_in_flight=True)
    first = batcher.submit("a")
    await turns()
    second = batcher.submit("a")
    gate.set()
    one, other = await asyncio.gather(first, second, return_exceptions=True)
    assert (type(one), one is other, repr(one)) == (ValueError, False, repr(other))


async def test_what_is_answered_is_joined_by_nobody_though_its_batch_goes_on() -> None:
    async def handler(items: list[str]) -> Any:
        for place, item in enumerate(items):
            yield place, item.upper()
            await asyncio.sleep(1.0)

    batcher: Batcher[str, str] = Batcher(handler, dedupe=str, dedupe_in_flight=True)
    first, other = batcher.submit("a"), batcher.submit("b")
    assert await first == "A"
    again, joined = batcher.submit("a"), batcher.submit("b")
    assert await asyncio.gather(other, again, joined) == ["B", "A", "B"]
    assert batcher.statistics().deduplicated == 1


@pytest.mark.parametrize("options", [{"on_error": "bisect"}, {"ordering": "ordered"}], ids=str)
async def test_what_is_in_flight_can_be_joined_with_bisect_and_in_order(options: Any) -> None:
    async def handler(items: list[str]) -> list[str]:
        await asyncio.sleep(1.0)
        if "bad" in items:
            raise ValueError(items)
        return items

    batcher: Batcher[str, str] = Batcher(
        handler, dedupe=str, dedupe_in_flight=True, key=len, max_concurrent_batches=2, **options
    )
    first = [batcher.submit(item) for item in ["a", "bad", "b", "dab"]]
    await asyncio.sleep(0.5)
    joined = [batcher.submit(item) for item in ["a", "dab"]]
    assert await asyncio.gather(*joined, return_exceptions=True) == ["a", "dab"] or options == {
        "ordering": "ordered"
    }
    await asyncio.gather(*first, return_exceptions=True)
    assert batcher.statistics().deduplicated == 2
