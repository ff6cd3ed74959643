"""What a handler may answer, as type checkers see it."""

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from microbatch._streams.channel import End

__all__ = [
    "Answer",
    "Chunks",
    "Columns",
    "Named",
    "Pair",
    "Results",
    "Silence",
    "Triple",
]

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
C = TypeVar("C")
U = TypeVar("U")
V = TypeVar("V")
W = TypeVar("W")


class Results(Protocol[R_co]):
    """What a handler may answer: a sized sequence, such as a list, an array or a tensor."""

    def __len__(self) -> int:
        """Give the number of results."""
        ...

    def __getitem__(self, index: int, /) -> R_co:
        """Give the result of the item at that place."""
        ...


Answer: TypeAlias = (
    Awaitable[Results[R | Exception]]
    | Results[R | Exception]
    | AsyncIterator[tuple[int, R | Exception]]
)
"""One result for each item, at once or as pairs of an index and a result."""
Silence: TypeAlias = Awaitable[Results[R | Exception] | None] | Results[R | Exception] | None
"""None where there is nothing to say, and every caller gets None."""
Chunks: TypeAlias = AsyncIterator[Results[C | Exception | End] | None]
"""With ``stream=True``: at each step a chunk for each item, or None for none."""


class Table(Protocol):
    """A table of columns, such as a DataFrame."""

    @property
    def columns(self) -> Any:
        """The columns, or their names."""
        ...


Named: TypeAlias = (
    Awaitable[Mapping[str, Results[V | Exception]]] | Mapping[str, Results[V | Exception]]
)
"""A mapping of columns whose values are alike."""
Pair: TypeAlias = (
    Awaitable[tuple[Results[U | Exception], Results[V | Exception]]]
    | tuple[Results[U | Exception], Results[V | Exception]]
)
Triple: TypeAlias = (
    Awaitable[tuple[Results[U | Exception], Results[V | Exception], Results[W | Exception]]]
    | tuple[Results[U | Exception], Results[V | Exception], Results[W | Exception]]
)
AnyColumns: TypeAlias = Mapping[Any, Any] | Table | tuple[Any, ...] | Sequence[Results[Any]] | None
Columns: TypeAlias = Awaitable[AnyColumns] | AnyColumns
"""Columns of any other kind: a table, or others of which only the handler knows."""
