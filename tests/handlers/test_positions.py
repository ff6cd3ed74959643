"""Results go by position, never by label; what has no positions is refused, with what to do."""

from __future__ import annotations

import asyncio
from collections import UserDict
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import Batcher, BatchError, ResultCountError
from tests.handlers.asking import answering, outcomes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

COLUMNAR = ", or set columnar=True to hand out its columns row by row"


def library(name: str) -> Any:
    return pytest.importorskip(name, reason=f"has no wheel of {name} here")


async def refusals(answer: Any) -> str:
    """Give what every caller is told of an answer that is refused, as a result and as chunks."""
    errors = await outcomes(answering(answer))
    assert [type(each) for each in errors] == [BatchError] * 2
    assert str(errors[0]) == str(errors[1])
    rule, _, got = str(errors[0]).partition(", got ")
    assert rule == "handler 'handler' must return a sequence of results or None"
    assert await refused_chunks(answer) == got.removesuffix(COLUMNAR).replace(
        "return", "yield"
    ).replace("one result", "one chunk")
    return got


async def refused_chunks(answer: Any) -> str:
    async def streaming(items: list[Any]) -> AsyncIterator[Any]:
        yield answer

    errors = await outcomes(Batcher(streaming, stream=True))
    assert [type(each) for each in errors] == [BatchError] * 2
    rule, _, got = str(errors[0]).partition(", got ")
    assert rule == "handler 'streaming' must yield a sequence of chunks or None"
    return got


async def chunks(answer: Any) -> list[Any]:
    async def streaming(items: list[Any]) -> AsyncIterator[Any]:
        yield answer

    return [chunk for (chunk,) in await outcomes(Batcher(streaming, stream=True), (1, 2, 3))]


# --------------------------------------------------------------------------------------- positions
def labelled_series() -> Any:
    return library("pandas").Series([10, 20, 30], index=[2, 1, 0])


SERIES: dict[str, Callable[[], Any]] = {
    "pandas-series": labelled_series,
    "pandas-words": lambda: library("pandas").Series([10, 20, 30], index=["c", "b", "a"]),
    "pandas-same": lambda: library("pandas").Series([10, 20, 30], index=[0, 0, 0]),
    "pandas-levels": lambda: labelled_series().set_axis(
        library("pandas").MultiIndex.from_tuples([(1, 2), (1, 0), (0, 1)])
    ),
    "pandas-index": lambda: library("pandas").Index([10, 20, 30]),
    "pandas-array": lambda: library("pandas").array([10, 20, 30]),
    "pandas-categories": lambda: library("pandas").Categorical([10, 20, 30]),
    "polars-series": lambda: library("polars").Series("a", [10, 20, 30]),
    "xarray": lambda: library("xarray").DataArray([10, 20, 30], dims="x", coords={"x": [2, 1, 0]}),
    "numpy": lambda: library("numpy").array([10, 20, 30]),
    "torch": lambda: library("torch").tensor([10, 20, 30]),
    "memoryview": lambda: memoryview(b"\n\x14\x1e"),
}


@pytest.mark.parametrize("make", SERIES.values(), ids=SERIES)
async def test_results_and_chunks_go_by_position(make: Callable[[], Any]) -> None:
    assert await outcomes(answering(make()), (1, 2, 3)) == [10, 20, 30]
    assert await chunks(make()) == [10, 20, 30]


@pytest.mark.parametrize("kind", ["array", "chunked_array"])
async def test_pyarrow_arrays_give_scalars_by_position(kind: str) -> None:
    pyarrow = library("pyarrow")
    answer = getattr(pyarrow, kind)([[10, 20, 30]] if kind == "chunked_array" else [10, 20, 30])
    results = await outcomes(answering(answer), (1, 2, 3))
    assert results == [pyarrow.scalar(10), pyarrow.scalar(20), pyarrow.scalar(30)]


async def test_results_are_what_indexing_by_position_gives() -> None:
    numpy = library("numpy")
    (first, *_) = await outcomes(answering(numpy.arange(3)), range(3))
    assert type(first) is numpy.int64
    (first, *_) = await outcomes(answering(labelled_series()), range(3))
    assert type(first) is numpy.int64
    (first, *_) = await outcomes(answering(numpy.eye(3)), range(3))
    assert list(first) == [1.0, 0.0, 0.0]


async def test_an_exception_in_a_series_is_raised_to_that_caller_alone() -> None:
    error = ValueError("second")
    series = library("pandas").Series([10, error, 30], index=[2, 1, 0])
    first, second, third = await outcomes(answering(series), range(3))
    assert (first, third) == (10, 30)
    assert second.__cause__ is error


async def test_a_series_of_another_length_is_a_wrong_count() -> None:
    (error, _) = await outcomes(answering(labelled_series()))
    assert type(error) is ResultCountError
    assert str(error) == "handler 'handler' must return one result for each of 2 items, got 3"


async def test_what_is_registered_as_a_sequence_is_read_by_position() -> None:
    class Rows(list[Any]):
        columns = ("a", "b")

        def keys(self) -> Any: ...
        def items(self) -> Any: ...

    assert await outcomes(answering(Rows([3, 4]))) == [3, 4]


# ---------------------------------------------------------------------------------------- refusals
SQUARE = {"a": [1, 2], "b": [3, 4]}
TABLES: dict[str, tuple[Callable[[], Any], str]] = {
    "pandas": (
        lambda: library("pandas").DataFrame(SQUARE),
        "DataFrame, a table: return its rows, frame.to_dict('records')",
    ),
    "pandas-numbered": (
        lambda: library("pandas").DataFrame([[1, 2], [3, 4]]),
        "DataFrame, a table: return its rows, frame.to_dict('records')",
    ),
    "polars": (
        lambda: library("polars").DataFrame(SQUARE),
        "DataFrame, a table: return its rows, frame.to_dicts()",
    ),
    "pyarrow": (
        lambda: library("pyarrow").table(SQUARE),
        "Table, a table: return its rows, table.to_pylist()",
    ),
    "pyarrow-batch": (
        lambda: library("pyarrow").RecordBatch.from_pydict(SQUARE),
        "RecordBatch, a table: return its rows, table.to_pylist()",
    ),
}


class Grid:
    """A table of no library that is known."""

    columns = ("a", "b")

    def __len__(self) -> int:
        return 2

    def __getitem__(self, label: Any) -> list[int]:
        return SQUARE["ab"[label] if isinstance(label, int) else label]


class Keyed:
    """A mapping that says so nowhere."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, key: Any) -> Any:
        return {0: "wrong", 1: "results"}[key]

    def keys(self) -> Any: ...

    def items(self) -> Any:
        return [("a", [1, 2]), ("b", [3, 4])]


class Scalar:
    """What numpy arrays and tensors of 0 dimensions have in common."""

    ndim = 0

    def __len__(self) -> int:
        raise TypeError("len() of a 0-d tensor")

    def __getitem__(self, place: Any) -> Any:
        raise IndexError("invalid index of a 0-dim tensor")


class Sparse:
    ndim = 2

    def __len__(self) -> int:
        raise TypeError("sparse array length is ambiguous")

    def __getitem__(self, place: Any) -> Any: ...


@pytest.mark.parametrize(("make", "got"), TABLES.values(), ids=TABLES)
async def test_tables_are_refused_with_how_to_get_their_rows(
    make: Callable[[], Any], got: str
) -> None:
    assert await refusals(make()) == got + COLUMNAR


async def test_a_table_of_an_unknown_library_is_refused() -> None:
    assert await refusals(Grid()) == "Grid, a table: return a list of its rows" + COLUMNAR


@pytest.mark.parametrize("answer", [{0: 1, 1: 2}, UserDict({0: 1, 1: 2}), Keyed()], ids=type)
async def test_mappings_are_refused_with_what_to_return(answer: Any) -> None:
    kind = type(answer).__name__
    advice = f"{kind}: return a list with one result for each item"
    assert await refusals(answer) == advice + COLUMNAR


async def test_xarray_datasets_are_refused_as_mappings() -> None:
    dataset = library("xarray").Dataset({"a": ("x", [1, 2]), "b": ("x", [3, 4])})
    advice = "Dataset: return a list with one result for each item"
    assert await refusals(dataset) == advice + COLUMNAR


@pytest.mark.parametrize("answer", [{1, 2}, frozenset({1, 2}), {1: 2, 3: 4}.keys()], ids=type)
async def test_sets_are_refused_with_what_to_return(answer: Any) -> None:
    kind = type(answer).__name__
    assert await refusals(answer) == (
        f"{kind}, which has no order: return a list in the order of the items"
    )


ZERO = ": keep the one that counts the items, also where there is one item"
SCALARS: dict[str, tuple[Callable[[], Any], str]] = {
    "duck": (Scalar, "Scalar of 0 dimensions"),
    "numpy": (lambda: library("numpy").array(3), "ndarray of 0 dimensions"),
    "numpy-scalar": (lambda: library("numpy").float64(3), "float64 of 0 dimensions"),
    "xarray": (lambda: library("xarray").DataArray(3), "DataArray of 0 dimensions"),
    "torch": (lambda: library("torch").tensor(3), "Tensor of 0 dimensions"),
}


@pytest.mark.parametrize(("make", "got"), SCALARS.values(), ids=SCALARS)
async def test_arrays_of_no_dimension_are_refused(make: Callable[[], Any], got: str) -> None:
    assert await refusals(make()) == got + ZERO


async def test_an_array_of_no_dimension_is_refused_for_a_batch_of_one() -> None:
    (error,) = await outcomes(answering(Scalar()), [1])
    assert type(error) is BatchError
    assert str(error).endswith(f"got Scalar of 0 dimensions{ZERO}")


async def test_what_does_not_tell_its_length_is_refused_with_the_reason() -> None:
    assert await refusals(Sparse()) == (
        "Sparse, which does not tell its length: sparse array length is ambiguous"
    )
    (error, _) = await outcomes(answering(Sparse()))
    assert isinstance(error.__cause__, BatchError)
    assert isinstance(error.__cause__.__cause__, TypeError)


async def test_what_a_timeout_policy_answers_is_read_by_position(loop_kind: Any) -> None:
    async def never(items: list[Any]) -> Any:
        await asyncio.sleep(60)

    def answer(late: list[Any]) -> Any:
        return labelled_series()

    batcher: Batcher[Any, Any] = Batcher(never, timeout=1, timeout_policy=answer)
    assert await outcomes(batcher, range(3)) == [10, 20, 30]
    batcher = Batcher(never, timeout=1, timeout_policy=lambda late: {"a": 1})
    (error,) = await outcomes(batcher, [1])
    assert str(error) == (
        "handler 'timeout_policy of never' must return a sequence of results or None, "
        "got dict: return a list with one result for each item"
    )
