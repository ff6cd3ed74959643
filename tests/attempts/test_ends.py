"""Attempts go on for those who still wait, and end when they are cancelled or told to."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from contextvars import ContextVar
from typing import Any

import pytest
import tenacity

from microbatch import (
    Batcher,
    BatcherClosedError,
    BatchTimeoutError,
    HandlerCancelledError,
    current_batch,
)
from microbatch._core import InFlightBatch
from microbatch.testing import VirtualClockEventLoop
from tests.attempts.trying import Trouble, failing, now, outcomes, policy, retrying, turns


# ----------------------------------------------------------------------------- who is still awaited
async def test_an_items_own_deadline_stands() -> None:
    handler = failing(9, delay=1.0)
    batcher = retrying(handler, attempts=99, wait=3.0, timeout=6.0)
    ticket = batcher.submit("a")
    with pytest.raises(BatchTimeoutError, match=r"its timeout of 6 s while it was in flight$"):
        await ticket
    assert now() == 6.0
    assert [call.started for call in handler.calls] == [0.0, 4.0]
    await batcher.drain()
    assert now() == 6.0  # the wait for the third attempt ended with its last item


async def test_only_items_that_are_still_awaited_are_sent_again() -> None:
    handler = failing(2, delay=1.0)
    batcher = retrying(handler, wait=1.0)
    a, b, c = batcher.submit("a"), batcher.submit("b", timeout=1.5), batcher.submit("c")
    await asyncio.sleep(2.5)
    a.cancel()
    _, late, result = await outcomes(a, b, c)
    assert (type(late), result) == (BatchTimeoutError, "c")
    assert [call.items for call in handler.calls] == [("a", "b", "c"), ("a", "c"), ("c",)]
    assert batcher.statistics().retried == 3


async def test_current_batch_describes_each_attempt() -> None:
    seen = []

    async def handler(items: list[str]) -> list[str]:
        await asyncio.sleep(1.0)
        batch = current_batch()
        seen.append((batch.size, batch.attempt, batch.abandoned, batch.waits, batch.reason))
        if batch.attempt < 3:
            raise Trouble
        return items

    batcher: Batcher[str, str] = Batcher(handler, retry=policy(3, 1.0), max_latency=0.25)
    a, b, c = map(batcher.submit, "abc")
    await asyncio.sleep(0.5)
    a.cancel()
    await asyncio.sleep(2.0)
    b.cancel()
    await outcomes(a, b, c)
    assert seen == [
        (3, 1, (0,), (0.25,) * 3, "latency"),
        (2, 2, (0,), (0.25,) * 2, "latency"),
        (1, 3, (), (0.25,), "latency"),
    ]


async def test_each_attempt_has_a_context_of_its_own() -> None:
    variable = ContextVar("variable", default="nobody's")
    seen = []

    async def handler(items: list[str]) -> list[str]:
        seen.append(variable.get())
        variable.set("an attempt's")
        if len(seen) < 3:
            raise Trouble
        return items

    batcher = retrying(handler)
    variable.set("the caller's")
    assert await batcher.submit("a") == "a"
    assert seen == ["nobody's"] * 3


@pytest.mark.every_loop
@pytest.mark.parametrize("cancel_abandoned", [False, True])
async def test_nothing_is_sent_again_once_nobody_waits(cancel_abandoned: bool) -> None:
    handler = failing(9)
    handler.hold()
    batcher = retrying(handler, cancel_abandoned=cancel_abandoned)
    ticket = batcher.submit("a")
    await turns()
    ticket.cancel()
    await turns()
    handler.release()
    await batcher.drain()
    assert [call.outcome for call in handler.calls] == [
        "cancelled" if cancel_abandoned else "raised"
    ]


async def test_nobody_is_waited_for_after_the_call_that_everybody_left() -> None:
    handler = failing(9, delay=1.0)
    batcher = retrying(handler, wait=60.0, cancel_abandoned=False)
    ticket = batcher.submit("a")
    await asyncio.sleep(0.5)
    ticket.cancel()
    await batcher.drain()
    assert (now(), len(handler.calls)) == (1.0, 1)


@pytest.mark.parametrize("cancel_abandoned", [False, True])
async def test_a_wait_ends_at_once_when_nobody_waits(cancel_abandoned: bool) -> None:
    handler = failing(9, delay=1.0)
    batcher = retrying(handler, wait=60.0, cancel_abandoned=cancel_abandoned)
    ticket = batcher.submit("a")
    await asyncio.sleep(5.0)
    ticket.cancel()
    await batcher.drain()
    assert (now(), len(handler.calls)) == (5.0, 1)


async def test_the_call_of_an_attempt_is_cancelled_once_nobody_waits() -> None:
    handler = failing(1, delay=1.0)
    batcher = retrying(handler)
    tickets = [batcher.submit("a"), batcher.submit("b")]
    await asyncio.sleep(1.5)
    tickets[0].cancel()
    await turns()
    assert handler.calls[1].outcome is None
    tickets[1].cancel()
    await batcher.drain()
    assert (handler.calls[1].outcome, handler.calls[1].ended) == ("cancelled", 1.5)


async def test_a_call_that_has_not_begun_is_cancelled_once_nobody_waits(loop_kind: Any) -> None:
    def give_up(state: tenacity.RetryCallState) -> None:
        if state.attempt_number > 1:
            asyncio.get_running_loop().call_soon(ticket.cancel)

    handler = failing(1, delay=1.0)
    batcher = retrying(handler, retry=policy(before=give_up))
    ticket = batcher.submit("a")
    await batcher.drain()
    assert now() == 1.0
    begun = ["cancelled"] if loop_kind.eager else []
    assert [call.outcome for call in handler.calls] == ["raised", *begun]


async def test_items_given_up_before_the_first_attempt_are_not_sent() -> None:
    handler = failing(0)
    batcher = retrying(handler, max_batch_size=2)
    a, b = batcher.submit("a"), batcher.submit("b")
    a.cancel()
    await b
    assert handler.items == ["b"]
    a, b = batcher.submit("a"), batcher.submit("b")
    a.cancel()
    b.cancel()
    await batcher.drain()
    assert handler.items == ["b"]


async def test_a_late_item_takes_its_batch_with_it_under_the_policy_fail() -> None:
    handler = failing(9, delay=2.0)
    batcher = retrying(handler, wait=1.0, timeout_policy="fail")
    for timeout, calls, outcome in ((1.0, 1, "cancelled"), (2.5, 2, "raised")):
        errors = await outcomes(batcher.submit("a", timeout=timeout), batcher.submit("b"))
        assert [type(each) for each in errors] == [BatchTimeoutError] * 2
        await batcher.drain()
        assert (len(handler.calls), handler.calls[-1].outcome) == (calls, outcome)
    assert now() == 3.5


async def test_a_policy_for_late_items_answers_for_them_alone() -> None:
    handler = failing(1, delay=1.0)
    batcher = retrying(
        handler, wait=1.0, timeout_policy=lambda items: [f"late {item}" for item in items]
    )
    tickets = [batcher.submit("a", timeout=1.5), batcher.submit("b")]
    assert await outcomes(*tickets) == ["late a", "b"]


async def test_ordered_results_wait_for_the_attempts_of_earlier_batches() -> None:
    handler = failing(1, delay=1.0)
    batcher = retrying(
        handler, wait=5.0, max_batch_size=1, max_concurrent_batches=2, ordering="ordered"
    )
    done: list[tuple[Any, float]] = []

    async def one(item: str) -> None:
        await batcher.submit(item)
        done.append((item, now()))

    await asyncio.gather(*map(one, "abc"))
    assert done == [("a", 7.0), ("b", 7.0), ("c", 7.0)]


# --------------------------------------------------------------------------- cancellation and exits
@pytest.mark.every_loop
async def test_a_handler_that_cancels_itself_is_not_retried() -> None:
    handler = failing(9, asyncio.CancelledError)
    batcher = retrying(handler, retry=policy(retry=tenacity.retry_if_exception(lambda _: True)))
    errors = await outcomes(*map(batcher.submit, "ab"))
    assert [type(each) for each in errors] == [HandlerCancelledError] * 2
    assert {str(each) for each in errors} == {"the handler of batcher 'recording' was cancelled"}
    assert handler.sizes == [2]


@pytest.mark.parametrize("exit_request", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("attempt", [1, 2])
@pytest.mark.every_loop
def test_an_exit_request_propagates_once_and_settles_every_caller(
    loop_kind: Any, exit_request: Any, attempt: int, caplog: pytest.LogCaptureFixture
) -> None:
    raised = iter([Trouble() for _ in range(attempt - 1)] + [exit_request()])
    handler = failing(9, raised.__next__)
    batcher = retrying(handler, max_batch_size=2)
    tickets: list[Any] = []

    async def start() -> None:
        tickets.extend(map(batcher.submit, "ab"))
        await turns(20)

    with loop_kind.open() as loop:
        with pytest.raises(exit_request):
            loop.run_until_complete(start())
        loop.run_until_complete(turns())
        loop.run_until_complete(batcher.aclose())
    errors = [each.exception() for each in tickets]
    assert [type(each) for each in errors] == [HandlerCancelledError] * 2
    assert {str(each) for each in errors} == {f"the handler was stopped by {exit_request.__name__}"}
    assert len(handler.calls) == attempt
    if loop_kind.eager:  # asyncio misses somebody who asks the task that never came to be
        del errors
        tickets.clear()
        gc.collect()
        caplog.clear()


@pytest.mark.parametrize("when", [0.5, 1.5], ids=["call", "wait"])
async def test_closing_with_a_timeout_ends_calls_and_waits(when: float) -> None:
    handler = failing(9, delay=1.0)
    batcher = retrying(handler, wait=60.0)
    ticket = batcher.submit("a")
    await asyncio.sleep(0)
    assert await batcher.aclose(timeout=when) == 1
    assert now() == when
    assert type(ticket.exception()) is BatcherClosedError
    assert len(handler.calls) == 1


@pytest.mark.parametrize("answer", [Trouble, None], ids=["raises", "answers"])
async def test_a_call_that_resists_its_cancellation_is_awaited_and_not_repeated(
    answer: type[Exception] | None,
) -> None:
    calls = 0

    async def stubborn(items: list[str]) -> None:
        nonlocal calls
        calls += 1
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
            if answer is not None:
                raise answer from None

    batcher = retrying(stubborn)
    batcher.submit("a")
    assert await batcher.aclose(timeout=2.0) == 1
    assert (now(), calls, batcher.statistics().slots_busy) == (3.0, 1, 0)


async def cancel_all(batcher: Batcher[Any, Any]) -> None:
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def test_a_batch_whose_task_is_cancelled_from_outside_never_cancels_its_callers() -> None:
    for delay in (0.5, 1.5):
        batcher = retrying(failing(9, delay=1.0), wait=1.0)
        ticket = batcher.submit("a")
        await asyncio.sleep(delay)
        await cancel_all(batcher)
        (error,) = await outcomes(ticket)
        assert type(error) is HandlerCancelledError
        assert str(error) == "the handler of batcher 'recording' was cancelled"


async def test_a_batch_that_is_cancelled_before_it_began_tells_its_callers() -> None:
    batcher = retrying(failing(0), max_batch_size=1)
    ticket = batcher.submit("a")
    await cancel_all(batcher)
    assert type((await outcomes(ticket))[0]) is HandlerCancelledError


def stubborn(calls: list[str], error: Exception | None = None) -> Any:
    """Answer, or raise, when cancelled."""

    async def handler(items: list[str]) -> list[str]:
        calls.append("".join(items))
        if len(items) == 4:
            raise Trouble
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        if error is not None:
            raise error
        return [item.upper() for item in items]

    return handler


async def test_what_a_cancelled_call_still_answers_is_handed_out_and_no_call_follows() -> None:
    calls: list[str] = []
    batcher: Batcher[str, str] = Batcher(stubborn(calls), on_error="bisect")
    tickets = [*map(batcher.submit, "abcd")]
    await asyncio.sleep(1)
    await cancel_all(batcher)
    results = await outcomes(*tickets)
    assert results[:2] == ["A", "B"]
    assert [type(each) for each in results[2:]] == [HandlerCancelledError] * 2
    assert calls == ["abcd", "ab"]


async def test_after_a_cancelled_call_there_is_no_wait() -> None:
    calls: list[str] = []
    batcher = retrying(stubborn(calls, Trouble()), wait=60.0)
    ticket = batcher.submit("a")
    await asyncio.sleep(1)
    await cancel_all(batcher)
    assert type((await outcomes(ticket))[0]) is HandlerCancelledError
    assert (now(), calls) == (1.0, ["a"])


@pytest.mark.parametrize("delay", [0.5, 1.5], ids=["call", "wait"])
def test_no_handler_call_begins_when_a_loop_ends(loop_kind: Any, delay: float) -> None:
    handler = failing(1, delay=1.0)
    batcher = retrying(handler, wait=1.0, max_batch_size=1)

    async def main() -> None:
        batcher.submit("a")
        batcher.submit("b")
        await asyncio.sleep(delay)

    with pytest.warns(ResourceWarning, match="unsettled items"):
        loop_kind.run(main)
    assert handler.items == ["a"]
    loop_kind.run(batcher.aclose)


@pytest.mark.every_loop
async def test_no_attempt_may_drain_or_close_its_own_batcher() -> None:
    seen = []

    async def handler(items: list[str]) -> list[str]:
        for finish in (batcher.drain, batcher.aclose):
            with pytest.raises(RuntimeError, match="must not be drained or closed by its own"):
                await finish()
            seen.append(current_batch().attempt)
        if len(seen) < 4:
            raise Trouble
        other = asyncio.get_running_loop().create_task(batcher.drain())
        await asyncio.sleep(0)
        others.append(other)
        return items

    others: list[asyncio.Task[None]] = []
    batcher = retrying(handler)
    assert await batcher.submit("a") == "a"
    assert seen == [1, 1, 2, 2]
    await others[0]  # a task of its own may


async def test_a_policys_callback_may_not_drain_its_batcher() -> None:
    async def drain(state: tenacity.RetryCallState) -> None:
        await batcher.drain()

    batcher = retrying(failing(1), retry=policy(before_sleep=drain))
    (error,) = await outcomes(batcher.submit("a"))
    assert type(error) is RuntimeError


def test_a_loop_that_closes_between_attempts_tells_of_the_loss() -> None:
    handler = failing(9, delay=1.0)

    for delay in (0.5, 1.5):
        batcher = retrying(handler, wait=60.0)
        loop = VirtualClockEventLoop()

        async def start(batcher: Batcher[Any, Any] = batcher, delay: float = delay) -> Any:
            ticket = batcher.submit("a")
            await asyncio.sleep(delay)
            return ticket

        ticket = loop.run_until_complete(start())
        tasks = asyncio.all_tasks(loop)
        with pytest.warns(ResourceWarning, match="unsettled items of batcher 'recording': 1;"):
            loop.close()
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        asyncio.run(batcher.aclose())
        del ticket, tasks


@pytest.mark.parametrize(
    "options",
    [{}, {"on_error": "bisect"}, {"retry": policy(2)}],
    ids=["plain", "bisect", "retry"],
)
async def test_nothing_is_kept_of_a_batch_that_has_ended(options: Any) -> None:
    failures = iter([Trouble()] + [None] * 99)

    async def handler(items: list[str]) -> list[str]:
        await asyncio.sleep(1.0)
        if failure := next(failures):
            raise failure
        return items

    batcher: Batcher[str, str] = Batcher(handler, **options)

    async def use() -> int:
        await asyncio.gather(*map(batcher.submit, "abc"), return_exceptions=True)
        await turns()
        gc.collect()
        return sum(type(each) is InFlightBatch for each in gc.get_objects())

    before = await use()
    assert [await use() for _ in range(3)] == [before] * 3
