"""``@batched`` without ``stream`` or ``columnar``: what it makes of each kind of function."""

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from microbatch._decorating.callable import Batched
from microbatch._decorating.methods import BatchedClassMethod, BatchedMethod
from microbatch._handlers.answer_types import Answer, Silence
from microbatch.options import BatcherOptions

__all__ = ["Decorator", "SecondOptional", "ThirdOptional"]

Q = ParamSpec("Q")
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


class SecondOptional(Protocol[A, B, R_co]):
    """A function whose second list may be left out, as type checkers see it."""

    def __call__(self, a: list[A], b: list[B] = ..., /) -> Answer[R_co]:
        """Call it with or without."""
        ...


class ThirdOptional(Protocol[S_contra, A, B, R_co]):
    """A function whose third argument may be left out: a method's second list."""

    def __call__(self, first: S_contra, a: list[A], b: list[B] = ..., /) -> Answer[R_co]:
        """Call it with or without."""
        ...


class Decorator:
    """Make Batched objects with the same options."""

    # An instance could be a list, so mypy finds overlaps: the first overload that fits is meant.

    def __init__(self, options: BatcherOptions) -> None:
        self._options = options

    @overload
    def __call__(
        self, function: SecondOptional[A, B, R], /
    ) -> Batched[Concatenate[A, ...], Any, R]: ...

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: ThirdOptional[list[A], B, C, R], /
    ) -> Batched[Concatenate[A, B, ...], Any, R]: ...

    @overload
    def __call__(self, function: Callable[[list[A]], Answer[R]], /) -> Batched[[A], A, R]: ...

    @overload
    def __call__(
        self, function: Callable[[list[A]], Silence[R]], /
    ) -> Batched[[A], A, R | None]: ...

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[[list[A], list[B]], Answer[R]], /
    ) -> Batched[[A, B], tuple[A, B], R]: ...

    @overload
    def __call__(
        self, function: Callable[[list[A], list[B], list[C]], Answer[R]], /
    ) -> Batched[[A, B, C], tuple[A, B, C], R]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[list[A], Q], Answer[R]], /
    ) -> Batched[Concatenate[A, ...], Any, R]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[list[A], Q], Silence[R]], /
    ) -> Batched[Concatenate[A, ...], Any, R | None]: ...

    @overload
    def __call__(
        self, function: ThirdOptional[type[S], A, B, R], /
    ) -> BatchedClassMethod[Concatenate[A, ...], Any, R]: ...

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[[type[S], list[A]], Answer[R]], /
    ) -> BatchedClassMethod[[A], A, R]: ...

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[[type[S], list[A]], Silence[R]], /
    ) -> BatchedClassMethod[[A], A, R | None]: ...

    @overload
    def __call__(
        self, function: Callable[[type[S], list[A], list[B]], Answer[R]], /
    ) -> BatchedClassMethod[[A, B], tuple[A, B], R]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[type[S], list[A], Q], Answer[R]], /
    ) -> BatchedClassMethod[Concatenate[A, ...], Any, R]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[type[S], list[A], Q], Silence[R]], /
    ) -> BatchedClassMethod[Concatenate[A, ...], Any, R | None]: ...

    @overload
    def __call__(
        self, function: ThirdOptional[S, A, B, R], /
    ) -> BatchedMethod[Concatenate[A, ...], Any, R]: ...

    @overload
    def __call__(
        self, function: Callable[[S, list[A]], Answer[R]], /
    ) -> BatchedMethod[[A], A, R]: ...

    @overload
    def __call__(
        self, function: Callable[[S, list[A]], Silence[R]], /
    ) -> BatchedMethod[[A], A, R | None]: ...

    @overload
    def __call__(
        self, function: Callable[[S, list[A], list[B]], Answer[R]], /
    ) -> BatchedMethod[[A, B], tuple[A, B], R]: ...

    @overload
    def __call__(
        self, function: Callable[[S, list[A], list[B], list[C]], Answer[R]], /
    ) -> BatchedMethod[[A, B, C], tuple[A, B, C], R]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[S, list[A], Q], Answer[R]], /
    ) -> BatchedMethod[Concatenate[A, ...], Any, R]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[S, list[A], Q], Silence[R]], /
    ) -> BatchedMethod[Concatenate[A, ...], Any, R | None]: ...

    def __call__(self, function: Any, /) -> Any:
        """Make a Batched of a batch function."""
        made: Batched[..., Any, Any] = Batched(function, **self._options)
        return made
