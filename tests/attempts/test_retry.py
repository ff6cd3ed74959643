"""A failed batch is handed to the handler again, as a tenacity policy says."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import tenacity
from tenacity import AsyncRetrying, stop_after_delay, wait_fixed

from microbatch import (
    Batcher,
    BatchTimeoutError,
    ResultCountError,
    batched,
    current_batch,
)
from microbatch.testing import RecordingHandler
from tests.attempts.trying import Trouble, failing, now, outcomes, policy, retrying

if TYPE_CHECKING:
    from collections.abc import Callable


# --------------------------------------------------------------------------------- failing, at last
@pytest.mark.every_loop
async def test_a_batch_that_fails_is_handed_to_the_handler_again() -> None:
    handler = failing(2)
    batcher = retrying(handler)
    assert await outcomes(*map(batcher.submit, "ab")) == ["a", "b"]
    assert [call.items for call in handler.calls] == [("a", "b")] * 3
    counts = batcher.statistics()
    assert (counts.batched, counts.retried, counts.calls, counts.completed) == (2, 4, 1, 2)


@pytest.mark.every_loop
async def test_callers_get_copies_of_what_the_last_attempt_raised() -> None:
    raised = [Trouble(number) for number in range(3)]
    source = iter(raised)
    batcher = retrying(failing(3, lambda: next(source)))
    errors = await outcomes(*map(batcher.submit, "ab"))
    assert [(type(each), each.args) for each in errors] == [(Trouble, (2,))] * 2
    assert len({id(each) for each in [*raised, *errors]}) == 5
    assert [each.__cause__ for each in errors] == [raised[2]] * 2
    assert raised[2].__cause__ is raised[2].__context__ is None


async def test_reraise_makes_no_difference_to_callers() -> None:
    batcher = retrying(failing(9), retry=policy(2, reraise=True))
    (error,) = await outcomes(batcher.submit("a"))
    assert type(error) is Trouble


async def test_an_error_class_of_the_policys_own_is_what_callers_get() -> None:
    class GaveUp(tenacity.RetryError):
        pass

    batcher = retrying(failing(9), retry=policy(2, retry_error_cls=GaveUp))
    (error,) = await outcomes(batcher.submit("a"))
    assert type(error) is GaveUp
    assert type(error.last_attempt.exception()) is Trouble


async def test_what_the_policy_does_not_retry_fails_at_once() -> None:
    handler = failing(9)
    once = AsyncRetrying(retry=tenacity.retry_if_exception_type(OSError))
    (error,) = await outcomes(retrying(handler, retry=once).submit("a"))
    assert (type(error), handler.sizes) == (Trouble, [1])


async def test_try_again_is_always_retried() -> None:
    handler = failing(1, tenacity.TryAgain)
    once = AsyncRetrying(retry=tenacity.retry_if_exception_type(OSError))
    assert await retrying(handler, retry=once).submit("a") == "a"


async def test_try_again_stands_for_what_it_was_raised_from() -> None:
    async def handler(items: list[str]) -> None:
        try:
            raise Trouble("root")
        except Trouble as root:
            raise tenacity.TryAgain from root

    (error,) = await outcomes(retrying(handler).submit("a"))
    assert (type(error), error.args) == (Trouble, ("root",))
    (error,) = await outcomes(retrying(failing(9, tenacity.TryAgain)).submit("a"))
    assert type(error) is tenacity.TryAgain


async def test_exceptions_that_are_results_are_not_retried() -> None:
    error = Trouble("mine")
    handler: RecordingHandler[Any, Any] = RecordingHandler(lambda items: ["A", error])
    batcher = retrying(handler)
    result, own = await outcomes(*map(batcher.submit, "ab"))
    assert (result, type(own), own.__cause__) == ("A", Trouble, error)
    assert (handler.sizes, batcher.statistics().retried) == ([2], 0)


async def test_a_wrong_number_of_results_is_a_failure_like_others() -> None:
    answers = iter([["one"], None, 7])
    handler: RecordingHandler[Any, Any] = RecordingHandler(lambda items: next(answers))
    batcher = retrying(handler)
    assert await outcomes(*map(batcher.submit, "ab")) == [None, None]
    errors = await outcomes(*map(retrying(RecordingHandler(lambda items: [1])).submit, "ab"))
    assert [type(each) for each in errors] == [ResultCountError] * 2
    assert handler.sizes == [2, 2]


async def test_a_handler_in_a_thread_is_retried() -> None:
    count = itertools.count()

    def handler(items: list[str]) -> list[str]:
        if next(count) < 2:
            raise Trouble
        return items

    assert await retrying(handler).submit("a") == "a"


async def test_the_decorator_retries() -> None:
    class Model:
        calls = 0

        @batched(retry=policy(2))
        async def pair(self, ones: list[int], others: list[int]) -> list[tuple[int, int]]:
            self.calls += 1
            if self.calls == 1:
                raise Trouble
            return list(zip(ones, others, strict=True))

    model = Model()
    assert await asyncio.gather(model.pair(1, 2), model.pair(3, 4)) == [(1, 2), (3, 4)]
    assert model.calls == 2


# ------------------------------------------------------------------------------ results to retry on
async def test_a_policy_may_ask_for_better_results() -> None:
    answers = iter([["bad"], ["good"]])
    handler: RecordingHandler[Any, Any] = RecordingHandler(lambda items: next(answers))
    picky = policy(retry=tenacity.retry_if_result(lambda results: results == ["bad"]))
    assert await retrying(handler, retry=picky).submit("a") == "good"


async def test_results_that_never_please_the_policy_are_a_retry_error() -> None:
    handler: RecordingHandler[Any, Any] = RecordingHandler()
    picky = policy(2, retry=tenacity.retry_if_result(lambda results: True))
    (error,) = await outcomes(retrying(handler, retry=picky).submit("a"))
    assert type(error) is tenacity.RetryError
    assert error.last_attempt.result() == ["a"]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_what_retry_error_callback_returns_is_the_answer(asynchronous: bool) -> None:
    def answer(state: tenacity.RetryCallState) -> list[str]:
        return [f"no {item}" for item in state.args[0]]

    async def answer_later(state: tenacity.RetryCallState) -> list[str]:
        await asyncio.sleep(1)
        return answer(state)

    callback = answer_later if asynchronous else answer
    batcher = retrying(failing(9), retry=policy(2, retry_error_callback=callback))
    assert await outcomes(*map(batcher.submit, "ab")) == ["no a", "no b"]


async def test_retry_error_callback_may_return_the_last_results_or_nothing() -> None:
    never = tenacity.retry_if_result(lambda results: True)
    for returned, expected in (("last", "a"), (None, None)):

        def callback(state: Any, returned: Any = returned) -> Any:
            return state.outcome.result() if returned == "last" else returned

        lenient = policy(2, retry=never, retry_error_callback=callback)
        assert await retrying(RecordingHandler(), retry=lenient).submit("a") == expected


async def test_a_wrong_number_of_results_from_retry_error_callback_is_an_error() -> None:
    batcher = retrying(failing(9), retry=policy(2, retry_error_callback=lambda state: [1, 2, 3]))
    errors = await outcomes(*map(batcher.submit, "ab"))
    assert [(type(each), each.received) for each in errors] == [(ResultCountError, 3)] * 2


async def test_an_answer_of_an_earlier_attempt_is_never_taken_for_the_last_one() -> None:
    answers = iter([None, Trouble()])

    def function(items: list[Any]) -> Any:
        answer = next(answers)
        if answer is not None:
            raise answer

    handler: RecordingHandler[Any, Any] = RecordingHandler(function, delay=1)
    again = tenacity.retry_if_result(lambda results: True) | tenacity.retry_if_exception_type()
    lenient = policy(2, wait=1, retry=again, retry_error_callback=lambda state: None)
    batcher = retrying(handler, retry=lenient)
    late, other = await outcomes(batcher.submit("a", timeout=1.5), batcher.submit("b"))
    assert (type(late), other, handler.sizes) == (BatchTimeoutError, None, [2, 1])


# ---------------------------------------------------------------------------------------- callbacks
async def test_the_callbacks_of_the_policy_are_called_in_turn() -> None:
    seen: list[Any] = []

    def note(what: str) -> Callable[[tenacity.RetryCallState], None]:
        def callback(state: tenacity.RetryCallState) -> None:
            batch = current_batch()
            seen.append((what, state.attempt_number, state.get_fn_name(), state.args, batch.size))

        return callback

    async def sleeping(state: tenacity.RetryCallState) -> None:
        seen.append(("before_sleep", state.upcoming_sleep, state.fn, state.idle_for, now()))

    handler = failing(1)
    talking = policy(3, 2.0, before=note("before"), after=note("after"), before_sleep=sleeping)
    assert await retrying(handler, retry=talking, name="mine").submit("a") == "a"
    assert seen == [
        ("before", 1, "mine", (), 1),
        ("after", 1, "mine", (["a"],), 1),
        ("before_sleep", 2.0, handler, 2.0, 0.0),
        ("before", 2, "mine", (["a"],), 1),
    ]


@pytest.mark.parametrize("name", ["before", "after", "before_sleep", "wait", "stop", "retry"])
async def test_a_callback_that_raises_fails_the_batch(name: str) -> None:
    def broken(state: tenacity.RetryCallState) -> Any:
        raise Trouble(name)

    batcher = retrying(failing(9, OSError), retry=AsyncRetrying(**{name: broken}))  # type: ignore[arg-type]
    (error,) = await outcomes(batcher.submit("a"))
    assert (type(error), error.args) == (Trouble, (name,))


async def test_batches_do_not_share_the_state_of_a_policy() -> None:
    async def handler(items: list[int]) -> list[int]:
        await asyncio.sleep(items[0])
        if current_batch().attempt < 3:
            raise Trouble
        return [current_batch().attempt]

    one = policy(3, 0.5)
    batchers = [
        Batcher(handler, max_batch_size=1, max_concurrent_batches=3, retry=one) for _ in range(2)
    ]
    tickets = [batcher.submit(item) for batcher in batchers for item in (1, 2, 3)]
    assert await outcomes(*tickets) == [3] * 6
    assert one.statistics == {}


async def test_a_policy_that_is_not_enabled_changes_nothing() -> None:
    handler = failing(1)
    off = policy()
    off.enabled = False
    (error,) = await outcomes(retrying(handler, retry=off).submit("a"))
    assert (type(error), handler.sizes) == (Trouble, [1])


# --------------------------------------------------------------------------------------------- time
async def test_waits_go_by_the_clock_of_the_loop() -> None:
    handler = failing(2, delay=1.0)
    assert await retrying(handler, wait=3600.0).submit("a") == "a"
    assert [call.started for call in handler.calls] == [0.0, 3601.0, 7202.0]


async def test_stop_after_delay_goes_by_the_clock_of_the_loop() -> None:
    handler = failing(99, delay=1.0)
    patient = AsyncRetrying(stop=stop_after_delay(10), wait=wait_fixed(2))
    (error,) = await outcomes(retrying(handler, retry=patient).submit("a"))
    assert type(error) is Trouble
    assert [call.started for call in handler.calls] == [0.0, 3.0, 6.0, 9.0]
    handler = failing(2, delay=6.0)
    assert type((await outcomes(retrying(handler, retry=patient).submit("a")))[0]) is Trouble
    picky = AsyncRetrying(stop=stop_after_delay(5), retry=tenacity.retry_if_result(lambda _: True))
    handler, start = RecordingHandler(delay=3.0), now()
    await outcomes(retrying(handler, retry=picky).submit("a"))
    assert [call.started - start for call in handler.calls] == [0.0, 3.0]


async def test_a_policys_own_sleep_is_used() -> None:
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(float(seconds))
        await asyncio.sleep(1.0)

    assert await retrying(failing(2), retry=policy(3, 60.0, sleep=sleep)).submit("a") == "a"
    assert (slept, now()) == ([60.0, 60.0], 2.0)


async def test_a_sleep_that_raises_fails_the_batch() -> None:
    def sleep(seconds: float) -> Any:
        raise Trouble("no sleep")

    (error,) = await outcomes(retrying(failing(9), retry=policy(sleep=sleep)).submit("a"))
    assert (type(error), error.args) == (Trouble, ("no sleep",))


async def test_a_slot_is_taken_until_the_last_attempt_has_ended() -> None:
    handler = failing(1, delay=1.0)
    batcher = retrying(handler, wait=5.0, max_batch_size=1)
    first, second = batcher.submit("a"), batcher.submit("b")
    await asyncio.sleep(3.0)
    assert (batcher.statistics().slots_busy, batcher.statistics().in_flight) == (1, 1)
    await outcomes(first, second)
    assert [(call.items, call.started) for call in handler.calls] == [
        (("a",), 0.0),
        (("a",), 6.0),
        (("b",), 7.0),
    ]


# --------------------------------------------------------------------------------------- the option
def test_only_a_batcher_that_retries_imports_tenacity() -> None:
    program = """if True:
        import sys, microbatch, asyncio
        async def handler(items):
            return items
        async def main():
            batcher = microbatch.Batcher(handler, on_error="bisect")
            await batcher.submit(1)
        asyncio.run(main())
        try:
            microbatch.Batcher(handler, retry=3)
        except TypeError as error:
            print(error, "tenacity" in sys.modules)
        """
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "retry must be a tenacity.AsyncRetrying or None, got 3 False"
