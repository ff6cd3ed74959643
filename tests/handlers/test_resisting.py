"""Exceptions that resist copying: the only caller gets the original, several get it wrapped."""

from __future__ import annotations

import asyncio
import gc
import pickle
import weakref
from typing import TYPE_CHECKING, Any

import pytest
import tenacity

from microbatch import Batcher, BatchError, BlockingBatcher
from tests.handlers.asking import answering, outcomes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Moody(Exception):
    """One that no copy is like."""

    def __str__(self) -> str:
        return f"I am {id(self)}"


class Stubborn(Exception):
    def __str__(self) -> str:
        raise ValueError("cannot be described")


class Sealed(Exception):
    """One that cannot be copied, nor marked."""

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise AttributeError("sealed")


def raising(error: BaseException, **options: Any) -> Batcher[Any, Any]:
    async def handler(items: list[Any]) -> Any:
        raise error

    return Batcher(handler, **options)


def are_wrapped(errors: list[Any], error: BaseException) -> bool:
    return (
        [type(each) for each in errors] == [BatchError] * len(errors)
        and all(each.__cause__ is error for each in errors)
        and len({id(each) for each in errors}) == len(errors)
    )


# --------------------------------------------------------------------------------- the only caller
async def test_the_only_caller_of_a_batch_gets_the_original() -> None:
    error = Moody()
    assert await outcomes(raising(error), [1]) == [error]
    assert error.__cause__ is None


async def test_the_only_caller_that_is_left_gets_the_original() -> None:
    error = Moody()

    def leave(event: Any) -> None:
        gone.cancel()

    batcher = raising(error, observer=leave)
    gone, ticket = batcher.submit(1), batcher.submit(2)
    with pytest.raises(Moody) as caught:
        await ticket
    assert caught.value is error


async def test_whose_exception_is_at_a_place_of_the_results_gets_the_original() -> None:
    errors = [Moody(), Moody()]
    assert await outcomes(answering([1, *errors]), range(3)) == [1, *errors]


async def test_an_original_keeps_its_own_cause() -> None:
    error = Moody()
    error.__cause__ = cause = KeyError("why")
    assert await outcomes(raising(error), [1]) == [error]
    assert error.__cause__ is cause


async def test_an_exception_that_cannot_be_described_reaches_its_only_caller() -> None:
    error = Stubborn("quiet")
    assert await outcomes(raising(error), [1]) == [error]


async def test_the_one_bad_item_that_bisecting_finds_gets_the_original() -> None:
    raised: list[Moody] = []

    async def handler(items: list[int]) -> list[int]:
        if 3 in items:
            raised.append(Moody())
            raise raised[-1]
        return items

    for ordering in ("unordered", "ordered"):
        batcher: Batcher[int, int] = Batcher(handler, on_error="bisect", ordering=ordering)  # type: ignore[arg-type]
        assert await outcomes(batcher, range(5)) == [0, 1, 2, raised[-1], 4]


async def test_what_retrying_fails_with_is_the_original_of_the_last_attempt() -> None:
    raised: list[Moody] = []

    async def handler(items: list[int]) -> list[int]:
        raised.append(Moody())
        raise raised[-1]

    policy = tenacity.AsyncRetrying(stop=tenacity.stop_after_attempt(3))
    assert await outcomes(Batcher(handler, retry=policy), [1]) == [raised[2]]
    assert are_wrapped(await outcomes(Batcher(handler, retry=policy)), raised[-1])


@pytest.mark.parametrize("ordering", ["unordered", "ordered"])
async def test_an_exception_that_is_yielded_for_one_item_is_the_original(ordering: Any) -> None:
    error = Moody()

    async def handler(items: list[int]) -> AsyncIterator[tuple[int, Any]]:
        yield 1, error
        yield 0, "one"

    assert await outcomes(Batcher(handler, ordering=ordering)) == ["one", error]


async def test_an_exception_that_is_one_stream_s_chunk_is_the_original() -> None:
    errors = [Moody(), Moody(), Moody()]

    async def handler(items: list[int]) -> AsyncIterator[Any]:
        yield [errors[0], errors[1], 3, errors[2], errors[2]]

    first, second, third, *others = await outcomes(Batcher(handler, stream=True), range(5))
    assert [first, second, third] == [*errors[:2], [3]]
    assert are_wrapped(others, errors[2])


def test_a_thread_gets_the_original() -> None:
    error = Moody()

    def handler(items: list[int]) -> list[int]:
        raise error

    with BlockingBatcher(handler) as batcher:
        future = batcher.submit(1)
        with pytest.raises(Moody) as caught:
            future.result()
    assert caught.value is error


# ------------------------------------------------------------------------------------------ several
async def test_several_callers_get_it_wrapped() -> None:
    error = Moody()
    errors = await outcomes(raising(error))
    assert are_wrapped(errors, error)
    assert str(errors[0]) == f"Moody: {error}"
    errors = await outcomes(raising(stubborn := Stubborn()))
    assert are_wrapped(errors, stubborn)
    assert str(errors[0]) == "Stubborn"


async def test_one_exception_at_several_places_is_wrapped_for_each() -> None:
    error, other = Moody(), Moody()
    first, second, third = await outcomes(answering([error, other, error]), range(3))
    assert are_wrapped([first, third], error)
    assert second is other


async def test_with_dedupe_nobody_is_known_to_be_the_only_caller() -> None:
    error = Moody()
    assert are_wrapped(await outcomes(raising(error, dedupe=str), [1, 1]), error)
    assert are_wrapped(await outcomes(raising(error, dedupe=str), [1]), error)


async def test_an_original_goes_to_one_caller_once() -> None:
    error = Moody()
    batcher = answering([error])
    assert await outcomes(batcher, [1]) == [error]
    for _ in range(2):
        assert are_wrapped(await outcomes(batcher, [1]), error)
    assert are_wrapped(await outcomes(raising(error), [1]), error)


async def test_what_was_an_original_elsewhere_may_be_one_again() -> None:
    error = Moody()
    await outcomes(raising(error), [1])
    sent = pickle.loads(pickle.dumps(error))
    assert await outcomes(raising(sent), [1]) == [sent]


async def test_an_original_that_cannot_be_marked_comes_wrapped() -> None:
    error = Sealed()
    assert are_wrapped(await outcomes(raising(error), [1]), error)


# --------------------------------------------------------------------------------------- tracebacks
def frames(error: BaseException) -> list[str]:
    names = []
    traceback = error.__traceback__
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    return names


async def test_the_traceback_of_an_original_leads_into_the_handler_and_does_not_grow() -> None:
    async def caller() -> list[str]:
        try:
            await ticket
        except Moody as raised:
            return frames(raised)
        raise AssertionError

    ticket = raising(Moody()).submit(1)
    seen = [await caller() for _ in range(3)]
    assert (seen[0][0], seen[0][-1]) == ("caller", "handler")  # perhaps through its wake-up
    assert seen[1:] == [["caller", "handler"]] * 2


async def test_an_original_is_let_go_with_its_caller() -> None:
    async def handler(items: list[Any]) -> Any:
        await asyncio.sleep(0)  # else an eager task's frame knows the frames that made the task
        raise Moody

    async def caller(batcher: Batcher[Any, Any]) -> weakref.ref[Any]:
        try:
            await batcher.submit(1)
        except Moody as error:
            return weakref.ref(error)
        raise AssertionError

    batcher: Batcher[Any, Any] = Batcher(handler)
    gc.disable()
    try:
        original = await caller(batcher)
        await asyncio.sleep(0)
        assert original() is None
    finally:
        gc.enable()
