"""Tell several items from one that only looks like several."""

from collections.abc import Iterable, Mapping
from reprlib import repr as short

__all__ = ["refuse_one"]

SINGLE: tuple[tuple[tuple[type, ...], str, str], ...] = (
    ((str,), "character", ""),
    ((bytes, bytearray), "byte", ""),
    ((Mapping,), "value", ".values()"),
)
"""What is one item, what it would be taken apart into, and how to get these."""
UNORDERED: tuple[type, ...] = (set, frozenset)
TABLES = {
    "pandas": ("DataFrame",),
    "polars": ("DataFrame", "LazyFrame"),
    "pyarrow": ("Table", "RecordBatch"),
}
"""The classes of tables, by the library that has them; none of these is imported."""


def refuse_one(name: str, given: object, use: str) -> None:
    """Raise TypeError where iterating would give what are surely not the items.

    Refused are text and bytes, mappings, sets, which have no order for the results to be in, and
    tables, which iterate over their columns; and what cannot be iterated at all. ``use`` is the
    call, for the advice.
    """
    for kinds, part, parts in SINGLE:
        if isinstance(given, kinds):
            raise TypeError(
                f"{name} must be several items, and a {type(given).__qualname__} is one, "
                f"got {short(given)}: submit() takes it; for each {part} {use}(list({name}{parts}))"
            )
    if isinstance(given, UNORDERED):
        raise TypeError(
            f"{name} must have an order, which the results are in, and a set has none, "
            f"got {short(given)}: {use}(list({name})) gives it one"
        )
    if table := type_of_table(given):
        raise TypeError(
            f"{name} must be several items, and iterating over a table gives its columns, "
            f"got a {table}: for each row {use}({name}{rows_of_table(given)})"
        )
    if not isinstance(given, Iterable) and not hasattr(type(given), "__getitem__"):
        refuse_no_iterable(name, given, use)


def refuse_no_iterable(name: str, given: object, use: str) -> None:
    """Raise TypeError for what cannot be iterated, unless ``map`` may iterate over it later."""
    if not hasattr(type(given), "__aiter__"):
        raise TypeError(
            f"{name} must be several items, in what can be iterated over, got {short(given)}: "
            "submit() takes one item"
        )
    if use != "map":
        raise TypeError(
            f"{name} must be there at once, and those of an async iterable are not, "
            f"got {short(given)}: the map() of a Batcher takes it"
        )


def type_of_table(given: object) -> str | None:
    """Name the type of a data frame or table; None for what is none."""
    for kind in type(given).__mro__:
        library = kind.__module__.partition(".")[0]
        if kind.__name__ in TABLES.get(library, ()):
            return f"{library} {kind.__name__}"
    return None


def rows_of_table(given: object) -> str:
    """Say how to get the rows of a table as a list."""
    if hasattr(given, "to_pylist"):
        return ".to_pylist()"
    if hasattr(given, "collect"):
        return ".collect().to_dicts()"
    return ".to_dicts()" if hasattr(given, "to_dicts") else ".to_dict('records')"
