"""What a handler may answer, and what each caller gets of that."""

from __future__ import annotations

import array
import asyncio
from collections import deque
from typing import Any

import pytest

from microbatch import BatchError, HandlerCancelledError, ResultCountError
from tests.handlers.asking import answering, outcomes


class Sized:
    """What numpy arrays and tensors have in common: a length, and rows by number."""

    def __init__(self, rows: list[Any], length: int | None = None) -> None:
        self.rows = rows
        self.length = len(rows) if length is None else length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    def __eq__(self, other: object) -> Any:
        return Sized([row == other for row in self.rows])

    __hash__ = object.__hash__


@pytest.mark.parametrize(
    "answer",
    [[3, 4], (3, 4), range(3, 5), deque([3, 4]), array.array("i", [3, 4]), Sized([3, 4])],
    ids=lambda answer: type(answer).__name__,
)
async def test_any_sized_sequence_is_an_answer(answer: Any) -> None:
    assert await outcomes(answering(answer)) == [3, 4]


async def test_rows_of_arrays_are_results() -> None:
    rows = [Sized([1, 2]), Sized([3, 4])]
    first, second = await outcomes(answering(Sized(rows)))
    assert first is rows[0]
    assert second is rows[1]


async def test_numpy_arrays_are_answers() -> None:
    numpy = pytest.importorskip("numpy")
    assert await outcomes(answering(numpy.array([3, 4]))) == [3, 4]
    first, second = await outcomes(answering(numpy.eye(2)))
    assert (list(first), list(second)) == ([1.0, 0.0], [0.0, 1.0])


async def test_none_answers_none_to_each() -> None:
    assert await outcomes(answering(None)) == [None, None]


async def test_an_empty_answer_is_a_wrong_count() -> None:
    errors = await outcomes(answering([]))
    assert [type(each) for each in errors] == [ResultCountError] * 2


A_LIST = "return a list with one result for each item"
LIST_OF_IT = "which has no places: return a list of what it gives"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("ab", f"str: {A_LIST}"),
        (b"ab", f"bytes: {A_LIST}"),
        (bytearray(b"ab"), f"bytearray: {A_LIST}"),
        (
            {1: 2, 3: 4},
            (f"dict: {A_LIST}, or set columnar=True to hand out its columns row by row"),
        ),
        ({1, 2}, "set, which has no order: return a list in the order of the items"),
        (7, f"int: {A_LIST}"),
        (iter([1, 2]), f"list_iterator, {LIST_OF_IT}"),
        ((item for item in (1, 2)), f"generator, {LIST_OF_IT}"),
        ({1: 2, 3: 4}.values(), f"dict_values, {LIST_OF_IT}"),
        (Exception("returned"), f"Exception: {A_LIST}"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_is_no_sequence_of_results_is_refused(answer: Any, kind: str) -> None:
    errors = await outcomes(answering(answer))
    assert [type(each) for each in errors] == [BatchError] * 2
    assert str(errors[0]) == (
        f"handler 'handler' must return a sequence of results or None, got {kind}"
    )


async def test_a_sequence_that_is_shorter_than_it_says_is_a_wrong_count() -> None:
    errors = await outcomes(answering(Sized([5], length=2)))
    assert [type(each) for each in errors] == [ResultCountError] * 2
    assert (errors[0].expected, errors[0].received) == (2, 1)


async def test_results_are_what_stands_at_the_places_not_what_iterating_gives() -> None:
    class Frame(Sized):
        def __iter__(self) -> Any:
            return iter(["label", "score"])  # its columns, as data frames have it

    assert await outcomes(answering(Frame([5, 6]))) == [5, 6]


async def test_an_endless_sequence_is_read_as_far_as_it_says() -> None:
    class Endless:
        def __len__(self) -> int:
            return 2

        def __getitem__(self, place: int) -> int:
            return place

    assert await outcomes(answering(Endless())) == [0, 1]


async def test_a_sequence_that_raises_fails_each_caller() -> None:
    class Broken(Sized):
        def __getitem__(self, index: int) -> Any:
            raise ZeroDivisionError

    errors = await outcomes(answering(Broken([1, 2])))
    assert [type(each) for each in errors] == [ZeroDivisionError] * 2


async def test_an_interrupt_while_the_answer_is_read_leaves_nobody_waiting(loop_kind: Any) -> None:
    class Interrupting(Sized):
        def __len__(self) -> int:
            raise KeyboardInterrupt

    batcher = answering(Interrupting([1]))
    raised: list[BaseException] = []
    asyncio.get_running_loop().call_soon = catching(raised)  # type: ignore[method-assign]
    assert [type(each) for each in await outcomes(batcher)] == [HandlerCancelledError] * 2
    assert [type(each) for each in raised] == [KeyboardInterrupt]


def catching(raised: list[BaseException]) -> Any:
    """Give a call_soon() of the running loop whose callbacks keep exit requests to themselves."""
    call_soon = asyncio.get_running_loop().call_soon

    def careful(callback: Any, *args: Any, context: Any = None) -> Any:
        def call() -> None:
            try:
                callback(*args)
            except KeyboardInterrupt as error:
                raised.append(error)

        return call_soon(call, context=context)

    return careful
