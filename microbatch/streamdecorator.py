"""``@batched(stream=True)``: a streaming batch function that is called with one item at a time."""

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar, overload

from microbatch.batcher import Chunks
from microbatch.callable import BatchedStream
from microbatch.options import BatcherOptions
from microbatch.streaming import Stream

__all__ = ["BatchedStreamClassMethod", "BatchedStreamMethod", "StreamDecorator"]

P = ParamSpec("P")
Q = ParamSpec("Q")
T_contra = TypeVar("T_contra", contravariant=True)
S = TypeVar("S")
A = TypeVar("A")
B = TypeVar("B")
K = TypeVar("K")


class BatchedStreamMethod(Protocol[P, T_contra, K]):
    """Be a BatchedStream in a class, as type checkers see it."""

    @overload
    def __get__(self, instance: None, owner: type[Any], /) -> Self: ...

    @overload
    def __get__(
        self, instance: object, owner: type[Any] | None = None, /
    ) -> BatchedStream[P, T_contra, K]: ...

    def __call__(self, instance: Any, /, *args: P.args, **kwargs: P.kwargs) -> Stream[K]:
        """Call it with the instance in front."""
        ...


class BatchedStreamClassMethod(Protocol[P, T_contra, K]):
    """Be a BatchedStream over a classmethod, as type checkers see it."""

    def __get__(
        self, instance: object, owner: type[Any] | None = None, /
    ) -> BatchedStream[P, T_contra, K]:
        """Give the batcher of the class."""
        ...

    def __call__(self, owner: Any, /, *args: P.args, **kwargs: P.kwargs) -> Stream[K]:
        """Call it with the class in front."""
        ...


class StreamDecorator:
    """Make BatchedStream objects with the same options."""

    def __init__(self, options: BatcherOptions) -> None:
        self._options = options

    @overload
    def __call__(self, function: Callable[[list[A]], Chunks[K]], /) -> BatchedStream[[A], A, K]: ...

    @overload
    def __call__(
        self, function: Callable[[list[A], list[B]], Chunks[K]], /
    ) -> BatchedStream[[A, B], tuple[A, B], K]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[list[A], Q], Chunks[K]], /
    ) -> BatchedStream[Concatenate[A, ...], Any, K]: ...

    @overload
    def __call__(
        self, function: Callable[[type[S], list[A]], Chunks[K]], /
    ) -> BatchedStreamClassMethod[[A], A, K]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[type[S], list[A], Q], Chunks[K]], /
    ) -> BatchedStreamClassMethod[Concatenate[A, ...], Any, K]: ...

    @overload
    def __call__(
        self, function: Callable[[S, list[A]], Chunks[K]], /
    ) -> BatchedStreamMethod[[A], A, K]: ...

    @overload
    def __call__(
        self, function: Callable[[S, list[A], list[B]], Chunks[K]], /
    ) -> BatchedStreamMethod[[A, B], tuple[A, B], K]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[S, list[A], Q], Chunks[K]], /
    ) -> BatchedStreamMethod[Concatenate[A, ...], Any, K]: ...

    def __call__(self, function: Any, /) -> Any:
        """Make a BatchedStream of a streaming batch function."""
        made: BatchedStream[..., Any, Any] = BatchedStream(function, **self._options)
        return made
