"""``@batched(columnar=True)``: what it makes of each kind of function and answer."""

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from microbatch._decorating.callable import Batched
from microbatch._decorating.methods import BatchedClassMethod, BatchedMethod
from microbatch._handlers.answer_types import Columns, Named, Pair, Triple
from microbatch.options import BatcherOptions

__all__ = ["ColumnarDecorator"]

Q = ParamSpec("Q")
S = TypeVar("S")
A = TypeVar("A")
U = TypeVar("U")
V = TypeVar("V")
W = TypeVar("W")


class ColumnarDecorator:
    """Make Batched objects of functions that answer columns, with the same options."""

    # A class could be a list, so mypy finds overlaps: the first overload that fits is meant.

    def __init__(self, options: BatcherOptions) -> None:
        self._options = options

    @overload
    def __call__(
        self, function: Callable[[list[A]], Named[V]], /
    ) -> Batched[[A], A, dict[str, V]]: ...

    @overload
    def __call__(
        self, function: Callable[[list[A]], Pair[U, V]], /
    ) -> Batched[[A], A, tuple[U, V]]: ...

    @overload
    def __call__(
        self, function: Callable[[list[A]], Triple[U, V, W]], /
    ) -> Batched[[A], A, tuple[U, V, W]]: ...

    @overload
    def __call__(self, function: Callable[[list[A]], Columns], /) -> Batched[[A], A, Any]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[list[A], Q], Named[V]], /
    ) -> Batched[Concatenate[A, ...], Any, dict[str, V]]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[list[A], Q], Pair[U, V]], /
    ) -> Batched[Concatenate[A, ...], Any, tuple[U, V]]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[list[A], Q], Triple[U, V, W]], /
    ) -> Batched[Concatenate[A, ...], Any, tuple[U, V, W]]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[list[A], Q], Columns], /
    ) -> Batched[Concatenate[A, ...], Any, Any]: ...

    @overload
    def __call__(
        self, function: Callable[[type[S], list[A]], Named[V]], /
    ) -> BatchedClassMethod[[A], A, dict[str, V]]: ...

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[[type[S], list[A]], Pair[U, V]], /
    ) -> BatchedClassMethod[[A], A, tuple[U, V]]: ...

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[[type[S], list[A]], Triple[U, V, W]], /
    ) -> BatchedClassMethod[[A], A, tuple[U, V, W]]: ...

    @overload
    def __call__(
        self, function: Callable[[type[S], list[A]], Columns], /
    ) -> BatchedClassMethod[[A], A, Any]: ...

    @overload
    def __call__(
        self, function: Callable[[S, list[A]], Named[V]], /
    ) -> BatchedMethod[[A], A, dict[str, V]]: ...

    @overload
    def __call__(
        self, function: Callable[[S, list[A]], Pair[U, V]], /
    ) -> BatchedMethod[[A], A, tuple[U, V]]: ...

    @overload
    def __call__(
        self, function: Callable[[S, list[A]], Triple[U, V, W]], /
    ) -> BatchedMethod[[A], A, tuple[U, V, W]]: ...

    @overload
    def __call__(
        self, function: Callable[[S, list[A]], Columns], /
    ) -> BatchedMethod[[A], A, Any]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[S, list[A], Q], Named[V]], /
    ) -> BatchedMethod[Concatenate[A, ...], Any, dict[str, V]]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[S, list[A], Q], Pair[U, V]], /
    ) -> BatchedMethod[Concatenate[A, ...], Any, tuple[U, V]]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[S, list[A], Q], Triple[U, V, W]], /
    ) -> BatchedMethod[Concatenate[A, ...], Any, tuple[U, V, W]]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[S, list[A], Q], Columns], /
    ) -> BatchedMethod[Concatenate[A, ...], Any, Any]: ...

    def __call__(self, function: Any, /) -> Any:
        """Make a Batched of a batch function that answers columns."""
        made: Batched[..., Any, Any] = Batched(function, **self._options)
        return made
