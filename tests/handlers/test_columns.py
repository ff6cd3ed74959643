"""Answers in columns: with ``columnar=True`` each caller gets its row of them."""

from __future__ import annotations

import asyncio
import time
from collections import UserDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import tenacity

from microbatch import Batcher, BatchError, BlockingBatcher, ResultCountError, batched
from tests.handlers.asking import outcomes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


def library(name: str) -> Any:
    return pytest.importorskip(name, reason=f"has no wheel of {name} here")


def in_columns(answer: Any, **options: Any) -> Batcher[Any, Any]:
    async def handler(items: list[Any]) -> Any:
        return answer

    return Batcher(handler, columnar=True, **options)


class Scored(NamedTuple):
    score: Any
    label: Any


class Keyed:
    """A mapping that says so nowhere."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, key: Any) -> Any:
        return dict(self.items())[key]

    def keys(self) -> Any:
        return ["a", "b"]

    def items(self) -> Any:
        return [("a", [1, 2]), ("b", [3, 4])]


# -------------------------------------------------------------------------------------------- rows
COLUMNS = {"a": [1, 2], "b": [3, 4]}
DICTS = [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
TABLES: dict[str, Callable[[], Any]] = {
    "pandas": lambda: library("pandas").DataFrame(COLUMNS, index=[1, 0]),
    "polars": lambda: library("polars").DataFrame(COLUMNS),
    "pyarrow": lambda: library("pyarrow").table(COLUMNS),
    "pyarrow-batch": lambda: library("pyarrow").RecordBatch.from_pydict(COLUMNS),
    "xarray": lambda: library("xarray").Dataset({"a": ("x", [1, 2]), "b": ("x", [3, 4])}),
}


@pytest.mark.parametrize("answer", [COLUMNS, UserDict(COLUMNS), Keyed()], ids=type)
async def test_a_mapping_of_columns_gives_each_caller_a_dict(answer: Any) -> None:
    assert await outcomes(in_columns(answer)) == DICTS


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
async def test_a_table_gives_each_caller_a_dict(make: Callable[[], Any]) -> None:
    rows = await outcomes(in_columns(make()))
    assert [{key: plain(value) for key, value in row.items()} for row in rows] == DICTS
    assert all(type(row) is dict for row in rows)


def plain(value: Any) -> Any:
    return value.as_py() if hasattr(value, "as_py") else value


async def test_the_columns_of_a_frame_are_found_by_position_whatever_their_labels() -> None:
    frame = library("pandas").DataFrame([[1, 2], [3, 4]], columns=[1, 0], index=["y", "x"])
    assert await outcomes(in_columns(frame)) == [{1: 1, 0: 2}, {1: 3, 0: 4}]


@pytest.mark.parametrize("answer", [([1, 2], (3, 4)), [[1, 2], (3, 4)]], ids=type)
async def test_a_tuple_or_a_list_of_columns_gives_each_caller_a_tuple(answer: Any) -> None:
    rows = await outcomes(in_columns(answer))
    assert rows == [(1, 3), (2, 4)]
    assert [type(row) for row in rows] == [tuple, tuple]


async def test_a_named_tuple_of_columns_gives_each_caller_one_of_its_type() -> None:
    rows = await outcomes(in_columns(Scored([1, 2], ["x", "y"])))
    assert rows == [Scored(1, "x"), Scored(2, "y")]
    assert [type(row) for row in rows] == [Scored, Scored]


async def test_another_tuple_type_gives_plain_tuples() -> None:
    nine = time.struct_time([[place, -place] for place in range(9)])
    rows = await outcomes(in_columns(nine))
    assert rows == [tuple(range(9)), tuple(range(0, -9, -1))]
    assert type(rows[0]) is tuple


async def test_columns_are_read_by_position_as_results_are() -> None:
    numpy, pandas = library("numpy"), library("pandas")
    series = pandas.Series([10, 20], index=[1, 0])
    first, second = await outcomes(in_columns({"logits": numpy.eye(2), "label": series}))
    assert (list(first["logits"]), first["label"]) == ([1.0, 0.0], 10)
    assert (list(second["logits"]), second["label"]) == ([0.0, 1.0], 20)


async def test_none_is_none_for_each_as_an_answer_and_as_a_column() -> None:
    assert await outcomes(in_columns(None)) == [None, None]
    rows = await outcomes(in_columns({"a": [1, 2], "b": None}))
    assert rows == [{"a": 1, "b": None}, {"a": 2, "b": None}]


async def test_columns_are_never_guessed() -> None:
    async def handler(items: list[Any]) -> Any:
        return [1, 2], [3, 4]

    assert await outcomes(Batcher(handler)) == [[1, 2], [3, 4]]


# -------------------------------------------------------------------------------------- exceptions
async def test_an_exception_in_a_column_is_raised_to_its_row_s_caller_alone() -> None:
    first, second = KeyError("first"), KeyError("second")
    answer = {"a": [1, 2, first, first], "b": [3, second, second, 4]}
    one, two, three, four = await outcomes(in_columns(answer), range(4))
    assert one == {"a": 1, "b": 3}
    assert [type(each) for each in (two, three, four)] == [KeyError] * 3
    assert [each.__cause__ for each in (two, three, four)] == [second, first, first]


async def test_the_halves_of_a_batch_answer_columns_too() -> None:
    async def handler(items: list[int]) -> dict[str, list[int]]:
        if 2 in items:
            raise ValueError("bad")
        return {"x": items, "double": [2 * item for item in items]}

    batcher = Batcher(handler, columnar=True, on_error="bisect", ordering="ordered")
    *good, bad = await outcomes(batcher, [0, 1, 3, 2])
    assert good == [{"x": item, "double": 2 * item} for item in (0, 1, 3)]
    assert type(bad) is ValueError


async def test_what_is_called_again_answers_columns_too() -> None:
    calls: list[list[int]] = []

    async def handler(items: list[int]) -> Any:
        calls.append(items)
        return {"x": items, "y": items[: len(calls)]}

    policy = tenacity.AsyncRetrying(stop=tenacity.stop_after_attempt(3))
    batcher: Batcher[int, Any] = Batcher(handler, columnar=True, retry=policy)
    assert await outcomes(batcher) == [{"x": 1, "y": 1}, {"x": 2, "y": 2}]
    assert calls == [[1, 2], [1, 2]]


async def test_a_timeout_policy_answers_one_result_for_each_item() -> None:
    async def never(items: list[int]) -> Any:
        await asyncio.sleep(60)

    batcher: Batcher[int, Any] = Batcher(
        never, columnar=True, timeout=1, timeout_policy=lambda late: [{"a": item} for item in late]
    )
    assert await outcomes(batcher) == [{"a": 1}, {"a": 2}]


# ------------------------------------------------------------------------------------ in all places
def test_a_plain_function_in_an_executor_and_threads() -> None:
    def handler(items: list[int]) -> tuple[list[int], list[str]]:
        return items, list(map(str, items))

    with (
        ThreadPoolExecutor(1) as executor,
        BlockingBatcher(handler, columnar=True, executor=executor) as batcher,
    ):
        assert list(batcher.map(range(3))) == [(0, "0"), (1, "1"), (2, "2")]


async def test_decorated_functions_and_methods() -> None:
    @batched(columnar=True)
    async def of_two(numbers: list[int], words: list[str]) -> dict[str, list[Any]]:
        return {"number": numbers, "word": words}

    class Model:
        @batched(columnar=True, dedupe=str)
        async def score(self, numbers: list[int]) -> Scored:
            return Scored(numbers, [str(number) for number in numbers])

    assert await of_two(1, words="x") == {"number": 1, "word": "x"}
    assert await asyncio.gather(*map(Model().score, (1, 1, 2))) == [(1, "1"), (1, "1"), (2, "2")]
    assert await of_two.submit_many([(1, "x"), (2, "y")]) == [
        {"number": 1, "word": "x"},
        {"number": 2, "word": "y"},
    ]


# ---------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ({"a": [1, 2], "b": [3]}, "'b'"),
        (([1, 2], [3]), "1"),
        (Scored([1, 2], [3]), "'label'"),
        ({"a": [1, 2], 7: (3,)}, "7"),
    ],
    ids=["dict", "tuple", "named", "number"],
)
async def test_a_column_of_another_length_is_a_wrong_count_that_names_it(
    answer: Any, label: str
) -> None:
    errors = await outcomes(in_columns(answer))
    assert [type(each) for each in errors] == [ResultCountError] * 2
    assert (errors[0].expected, errors[0].received) == (2, 1)
    assert str(errors[0]) == (
        f"handler 'handler' must return one result for each of 2 items in column {label}, got 1"
    )


@pytest.mark.parametrize(
    ("column", "got"),
    [
        ("ab", "str: return a list with one result for each item"),
        ({"x": 1, "y": 2}, "dict: return a list with one result for each item"),
        (7, "int: return a list with one result for each item"),
    ],
    ids=type,
)
async def test_a_column_that_has_no_places_is_refused_by_name(column: Any, got: str) -> None:
    (error, _) = await outcomes(in_columns({"a": [1, 2], "b": column}))
    assert type(error) is BatchError
    assert str(error) == (
        f"handler 'handler' must return a sequence of results or None in column 'b', got {got}"
    )


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("ab", "str"),
        (range(2), "range"),
        ({1, 2}, "set"),
        (7, "int"),
    ],
    ids=["str", "range", "set", "int"],
)
async def test_what_has_no_columns_is_refused(answer: Any, kind: str) -> None:
    errors = await outcomes(in_columns(answer))
    assert [type(each) for each in errors] == [BatchError] * 2
    assert str(errors[0]) == (
        "handler 'handler' must return columns or None with columnar=True: a mapping, a table, "
        f"a tuple or a list of sequences that each have one result for each item, got {kind}"
    )


async def test_an_array_or_a_series_is_no_columns() -> None:
    for answer in (library("numpy").eye(2), library("pandas").Series([[1, 2], [3, 4]])):
        (error, _) = await outcomes(in_columns(answer))
        assert str(error).endswith(f"for each item, got {type(answer).__name__}")


@pytest.mark.parametrize("answer", [{}, (), []], ids=type)
async def test_no_columns_are_refused(answer: Any) -> None:
    (error, _) = await outcomes(in_columns(answer))
    assert type(error) is BatchError
    assert str(error) == f"handler 'handler' must return at least one column, got none: {answer!r}"


async def test_two_columns_of_one_name_are_refused() -> None:
    frame = library("pandas").DataFrame([[1, 2], [3, 4]], columns=["a", "a"])
    (error, _) = await outcomes(in_columns(frame))
    assert type(error) is BatchError
    assert str(error) == "handler 'handler' must return each column once, got two of 'a'"


async def pairs(items: list[int]) -> AsyncIterator[tuple[int, int]]:
    yield 0, 1


@pytest.mark.parametrize(
    "make", [Batcher, BlockingBatcher, lambda handler, **options: batched(**options)(handler)]
)
def test_columns_and_pairs_are_refused_together(make: Any) -> None:
    with pytest.raises(ValueError, match="columnar") as caught:
        make(pairs, columnar=True).statistics()
    assert str(caught.value) == (
        "columnar=True needs a handler that returns its columns, "
        "and 'pairs' is an async generator, which yields (index, result) pairs"
    )
