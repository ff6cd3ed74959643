"""What is one item, or a table of columns, is not taken for several items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from microbatch import Batcher, BlockingBatcher, batched
from microbatch.testing import RecordingHandler, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


class DataFrame:
    """What passes for a data frame of pandas, as far as anybody asks."""

    __module__ = "pandas.core.frame"

    def to_dict(self, orient: str) -> list[Any]:
        raise NotImplementedError


class GeoDataFrame(DataFrame):
    __module__ = "geopandas.geodataframe"


class PolarsFrame:
    __module__ = "polars.dataframe.frame"
    to_dicts = DataFrame.to_dict


class LazyFrame:
    __module__ = "polars.lazyframe.frame"
    collect = DataFrame.to_dict


class Table:
    __module__ = "pyarrow.lib"
    to_pylist = DataFrame.to_dict


PolarsFrame.__name__ = "DataFrame"

ONE = "{name} must be several items, and a {kind} is one, got {got}: submit() takes it; "
COLUMNS = "{name} must be several items, and iterating over a table gives its columns, got a "
UNORDERED = (
    "{name} must have an order, which the results are in, and a set has none, "
    "got {got}: {use}(list({name})) gives it one"
)
NO_ITERABLE = (
    "{name} must be several items, in what can be iterated over, got {got}: submit() takes one item"
)

REFUSED = [
    ("abc", "str", "'abc'", ONE + "for each character {use}(list({name}))"),
    (b"abc", "bytes", "b'abc'", ONE + "for each byte {use}(list({name}))"),
    (bytearray(b"a"), "bytearray", "bytearray(b'a')", ONE + "for each byte {use}(list({name}))"),
    ({"a": 1}, "dict", "{'a': 1}", ONE + "for each value {use}(list({name}.values()))"),
    ("x" * 99, "str", "'xxxxxxxxxxxx...xxxxxxxxxxxxx'", ONE + "for each character "),
    ({7}, "", "{7}", UNORDERED),
    (frozenset([7]), "", "frozenset({7})", UNORDERED),
    (
        DataFrame(),
        "",
        "",
        COLUMNS + "pandas DataFrame: for each row {use}({name}.to_dict('records'",
    ),
    (GeoDataFrame(), "", "", COLUMNS + "pandas DataFrame: for each row "),
    (PolarsFrame(), "", "", COLUMNS + "polars DataFrame: for each row {use}({name}.to_dicts())"),
    (
        LazyFrame(),
        "",
        "",
        COLUMNS + "polars LazyFrame: for each row {use}({name}.collect().to_dicts())",
    ),
    (
        7,
        "",
        "7",
        NO_ITERABLE,
    ),
    (Table(), "", "", COLUMNS + "pyarrow Table: for each row {use}({name}.to_pylist())"),
]


def check(use: Callable[[Any], Any], given: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        use(given)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("given", "kind", "got", "rule"), REFUSED)
async def test_submit_many_and_map_refuse_what_is_not_several_items(
    given: Any, kind: str, got: str, rule: str
) -> None:
    handler: RecordingHandler[Any, Any] = RecordingHandler()
    batcher: Batcher[Any, Any] = Batcher(handler)
    words = {"kind": kind, "got": got}
    message = rule.format(name="items", use="submit_many", **words)
    check(batcher.submit_many, given, message)
    check(batched()(handler).submit_many, given, message)
    check(batcher.map, given, rule.format(name="source", use="map", **words))
    assert batcher.statistics().submitted == 0


@pytest.mark.parametrize(("given", "kind", "got", "rule"), REFUSED)
def test_a_blocking_batcher_refuses_it_in_the_callers_thread(
    given: Any, kind: str, got: str, rule: str
) -> None:
    batcher: BlockingBatcher[Any, Any] = BlockingBatcher(RecordingHandler())
    words = {"kind": kind, "got": got}
    check(batcher.submit_many, given, rule.format(name="items", use="submit_many", **words))
    check(batcher.map, given, rule.format(name="source", use="map", **words))
    assert batcher._inbox is None


def generated() -> Iterator[int]:
    yield from (1, 2)


async def arriving() -> AsyncIterator[int]:
    for each in generated():
        yield each


class Rows(list[int]):
    """A list of one's own."""


@pytest.mark.parametrize(
    "given",
    [
        [1, 2],
        (1, 2),
        Rows([1, 2]),
        range(1, 3),
        generated,
        {1: 1, 2: 2}.keys(),
        {1: 1, 2: 2}.values(),
    ],
    ids=lambda given: type(given).__name__,
)
async def test_other_iterables_are_several_items(given: Any) -> None:
    give = given if callable(given) else lambda: given
    batcher: Batcher[Any, Any] = Batcher(RecordingHandler())
    assert await batcher.submit_many(give()) == [1, 2]
    assert [each async for each in batcher.map(give())] == [1, 2]


async def test_many_have_to_be_there_at_once_and_a_source_has_not() -> None:
    class Later:
        def __repr__(self) -> str:
            return "Later()"

        def __aiter__(self) -> AsyncIterator[int]:
            return arriving()

    batcher: Batcher[Any, Any] = Batcher(RecordingHandler())
    check(
        batcher.submit_many,
        Later(),
        "items must be there at once, and those of an async iterable are not, got Later(): "
        "the map() of a Batcher takes it",
    )
    assert [each async for each in batcher.map(Later())] == [1, 2]


async def test_what_has_places_alone_is_several_items() -> None:
    class Places:
        def __getitem__(self, place: int) -> int:
            return (1, 2)[place]

    given: Any = Places()
    assert await Batcher(RecordingHandler()).submit_many(given) == [1, 2]


async def test_real_tables_are_refused_and_their_rows_are_not() -> None:
    pandas, pyarrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    batcher: Batcher[Any, Any] = Batcher(RecordingHandler())
    rows = [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    frame, table = pandas.DataFrame(rows), pyarrow.Table.from_pylist(rows)
    for given, kind in [(frame, "pandas DataFrame"), (table, "pyarrow Table")]:
        check(batcher.submit_many, given, COLUMNS.format(name="items") + kind)
    check(batcher.submit_many, table.to_batches()[0], "items must be several items, and iterating")
    assert await batcher.submit_many(frame.to_dict("records")) == rows
    assert await batcher.submit_many(table.to_pylist()) == rows
    assert await batcher.submit_many(frame["a"]) == [1, 2]


def test_polars_tables_are_refused_and_their_rows_are_not() -> None:
    polars = pytest.importorskip("polars")
    rows = [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    frame = polars.DataFrame(rows)

    async def main() -> None:
        batcher: Batcher[Any, Any] = Batcher(RecordingHandler())
        for given, kind in [(frame, "polars DataFrame"), (frame.lazy(), "polars LazyFrame")]:
            check(batcher.submit_many, given, COLUMNS.format(name="items") + kind)
        assert await batcher.submit_many(frame.to_dicts()) == rows
        assert await batcher.submit_many(frame.lazy().collect().to_dicts()) == rows
        assert await batcher.submit_many(frame["a"]) == [1, 2]

    run(main)  # and let the descriptors be that polars keeps
