"""``@batched``: a batch function that is called with one item at a time."""

from collections.abc import Callable
from typing import (
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    Unpack,
    overload,
)

from microbatch._core import BatchedCall
from microbatch.batcher import Answer, Chunks, Silence
from microbatch.callable import Batched, BatchedStream
from microbatch.handler import name_of
from microbatch.options import BatcherOptions, HandlerOptions, Options
from microbatch.streaming import Stream

__all__ = [
    "Batched",
    "BatchedClassMethod",
    "BatchedMethod",
    "BatchedStream",
    "BatchedStreamClassMethod",
    "BatchedStreamMethod",
    "Decorator",
    "StreamDecorator",
    "batched",
]

P = ParamSpec("P")
Q = ParamSpec("Q")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
K = TypeVar("K")


class BatchedMethod(Protocol[P, T_contra, R_co]):
    """Be a Batched in a class, as type checkers see it."""

    @overload
    def __get__(self, instance: None, owner: type[Any], /) -> Self: ...

    @overload
    def __get__(
        self, instance: object, owner: type[Any] | None = None, /
    ) -> Batched[P, T_contra, R_co]: ...

    def __call__(self, instance: Any, /, *args: P.args, **kwargs: P.kwargs) -> BatchedCall[R_co]:
        """Call it with the instance in front."""
        ...


class BatchedClassMethod(Protocol[P, T_contra, R_co]):
    """Be a Batched over a classmethod, as type checkers see it."""

    def __get__(
        self, instance: object, owner: type[Any] | None = None, /
    ) -> Batched[P, T_contra, R_co]:
        """Give the batcher of the class."""
        ...

    def __call__(self, owner: Any, /, *args: P.args, **kwargs: P.kwargs) -> BatchedCall[R_co]:
        """Call it with the class in front."""
        ...


class SecondOptional(Protocol[A, B, R_co]):
    """Be a function whose second list may be left out, as type checkers see it."""

    def __call__(self, a: list[A], b: list[B] = ..., /) -> Answer[R_co]:
        """Call it with or without."""
        ...


class ThirdOptional(Protocol[S_contra, A, B, R_co]):
    """Be a function whose third argument may be left out: a method's second list."""

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
    def __call__(  # type: ignore[overload-overlap]
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


@overload
def batched(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    function: None = None, /, *, stream: Literal[True], **options: Unpack[HandlerOptions]
) -> StreamDecorator: ...


@overload
def batched(function: None = None, /, **options: Unpack[BatcherOptions]) -> Decorator: ...


def batched(
    function: None = None, /, **options: Unpack[BatcherOptions]
) -> Decorator | StreamDecorator:
    """Make a batch function callable with one item at a time.

    ::

        @batched(max_batch_size=32, max_latency=0.005)
        async def embed(texts: list[str]) -> list[Vector]: ...

        vector = await embed("hello")

    The options are those of Batcher, and are checked at once. Works on functions, methods, class
    methods, static methods and abstract methods; put it above the other decorators. Decorating
    needs no event loop.

    A call binds keywords and defaults as Python does; a default is the value of one item, not a
    list. Type checkers take several parameters by place only.

    With ``stream=True`` the function is an async generator, and a call gives a Stream.
    """
    if function is not None:
        raise TypeError(f"batched needs parentheses: write @batched() above {name_of(function)!r}")
    if Options.of(options).stream:
        return StreamDecorator(options)
    return Decorator(options)
