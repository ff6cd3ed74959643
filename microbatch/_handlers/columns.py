"""Make one row for each caller of an answer that is given in columns."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from microbatch._handlers.results import Expected, by_position, is_mapping, is_table
from microbatch.errors import BatchError

__all__ = ["rows_of"]

Column: TypeAlias = tuple[Any, Any]
"""The label of a column, and the column."""
MakeRow: TypeAlias = Callable[[Sequence[Any]], Any]


def rows_of(answer: Any, size: int, name: str) -> tuple[Any, ...]:
    """Give a columnar answer as one row for each of ``size`` items.

    A mapping or a table gives dicts, a named tuple others of its type, any other tuple and a list
    give tuples. None stands for a None for each, as an answer and as a column. An exception in a
    column takes the place of its row; of several it is the first.

    Raises ResultCountError for a column of another length, and BatchError for what has no columns.
    """
    if answer is None:
        return (None,) * size
    columns, make_row = columns_of(answer, name)
    if not columns:
        raise BatchError(f"handler {name!r} must return at least one column, got none: {answer!r}")
    values = [values_of(column, label, size, name) for label, column in columns]
    rows = [make_row(row) for row in zip(*values, strict=True)]
    for column in reversed(values):
        for place, value in enumerate(column):
            if isinstance(value, BaseException):
                rows[place] = value
    return tuple(rows)


def columns_of(answer: Any, name: str) -> tuple[list[Column], MakeRow]:
    """Give the columns of an answer, and what makes a row of their values."""
    if is_table(answer):
        return labelled(table_columns(answer), name)
    if is_mapping(answer):
        return labelled(list(answer.items()), name)
    kind = answer.__class__
    if isinstance(answer, (tuple, list)):
        columns: list[Any] = [*answer]
        labels = getattr(kind, "_fields", range(len(columns)))
        return list(zip(labels, columns, strict=True)), getattr(kind, "_make", tuple)
    raise BatchError(
        f"handler {name!r} must return columns or None with columnar=True: a mapping, a table, "
        f"a tuple or a list of sequences that each have one result for each item, "
        f"got {kind.__qualname__}"
    )


def labelled(columns: list[Column], name: str) -> tuple[list[Column], MakeRow]:
    """Make dicts of rows; BatchError for two columns of one label, one of which would be lost."""
    labels = [label for label, _ in columns]
    for place, label in enumerate(labels):
        if label in labels[:place]:
            raise BatchError(f"handler {name!r} must return each column once, got two of {label!r}")
    return columns, functools.partial(dict_of, labels)


def dict_of(labels: list[Any], row: Sequence[Any]) -> dict[Any, Any]:
    """Make a dict of one row."""
    return dict(zip(labels, row, strict=True))


def table_columns(table: Any) -> list[Column]:
    """Give the columns of a table by position, as pyarrow, pandas and polars have them."""
    kind = table.__class__
    if hasattr(kind, "column_names"):
        return list(zip(table.column_names, table.columns, strict=True))
    labels = list(table.columns)
    if hasattr(kind, "iloc"):
        return [(label, table.iloc[:, place]) for place, label in enumerate(labels)]
    return [(label, table[label]) for label in labels]


def values_of(column: Any, label: Any, size: int, name: str) -> Sequence[Any]:
    """Give what stands at each place of a column."""
    if column is None:
        return (None,) * size
    return by_position(column, Expected(name=name, size=size, where=f" in column {label!r}"))
