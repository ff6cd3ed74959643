"""``@batched(stream=True)``: a streaming batch function that is called with one item at a time."""

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from microbatch._decorating.callable import BatchedStream
from microbatch._handlers.answer_types import Chunks
from microbatch._streams.stream import Stream
from microbatch.options import BatcherOptions

__all__ = [
    "BatchedStreamClassMethod",
    "BatchedStreamMethod",
    "StreamDecorator",
    "UnboundBatchedStreamMethod",
]

P = ParamSpec("P")
Q = ParamSpec("Q")
T_contra = TypeVar("T_contra", contravariant=True)
S = TypeVar("S")
A = TypeVar("A")
B = TypeVar("B")
K = TypeVar("K")


class UnboundBatchedStreamMethod(Protocol[P, T_contra, K]):
    """A BatchedStream of a class, which is called with the instance in front."""

    def __get__(
        self, instance: object, owner: type[Any] | None = None, /
    ) -> BatchedStream[P, T_contra, K]:
        """Give the batcher of an instance."""
        ...

    def __call__(self, instance: Any, /, *args: P.args, **kwargs: P.kwargs) -> Stream[K]:
        """Call it with the instance in front."""
        ...


class BatchedStreamMethod(Protocol[P, T_contra, K]):
    """A BatchedStream in a class, as type checkers see it.

    Some compare it as it stands with the methods of a protocol, and not what is bound to an
    instance; others take it for a function that is yet to be bound. So it can be called as both.
    """

    @overload
    def __get__(
        self, instance: None, owner: type[Any], /
    ) -> UnboundBatchedStreamMethod[P, T_contra, K]: ...

    @overload
    def __get__(
        self, instance: object, owner: type[Any] | None = None, /
    ) -> BatchedStream[P, T_contra, K]: ...

    @overload
    def __call__(self, instance: Any, /, *args: P.args, **kwargs: P.kwargs) -> Stream[K]: ...

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Stream[K]: ...


class BatchedStreamClassMethod(Protocol[P, T_contra, K]):
    """A BatchedStream over a classmethod, as type checkers see it."""

    def __get__(
        self, instance: object, owner: type[Any] | None = None, /
    ) -> BatchedStream[P, T_contra, K]:
        """Give the batcher of the class."""
        ...

    @overload
    def __call__(self, owner: Any, /, *args: P.args, **kwargs: P.kwargs) -> Stream[K]: ...

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Stream[K]: ...


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
