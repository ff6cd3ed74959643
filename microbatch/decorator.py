"""``@batched``: a batch function that is called with one item at a time."""

from collections.abc import Callable
from typing import (
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    TypeVar,
    Unpack,
    overload,
)

from microbatch._decorating.callable import Batched, BatchedStream
from microbatch._decorating.columnar import ColumnarDecorator
from microbatch._decorating.methods import BatchedClassMethod, BatchedMethod, UnboundBatchedMethod
from microbatch._decorating.plain import Decorator, SecondOptional, ThirdOptional
from microbatch._decorating.streaming import (
    BatchedStreamClassMethod,
    BatchedStreamMethod,
    StreamDecorator,
)
from microbatch._handlers.answer_types import Answer, Silence
from microbatch.options import BatcherOptions, HandlerOptions, Options

__all__ = [
    "Batched",
    "BatchedClassMethod",
    "BatchedMethod",
    "BatchedStream",
    "BatchedStreamClassMethod",
    "BatchedStreamMethod",
    "ColumnarDecorator",
    "Decorator",
    "StreamDecorator",
    "UnboundBatchedMethod",
    "batched",
]

Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


@overload
def batched(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    function: None = None, /, *, stream: Literal[True], **options: Unpack[HandlerOptions]
) -> StreamDecorator: ...


@overload
def batched(  # type: ignore[overload-overlap]
    function: None = None, /, *, columnar: Literal[True], **options: Unpack[HandlerOptions]
) -> ColumnarDecorator: ...


@overload
def batched(function: None = None, /, **options: Unpack[BatcherOptions]) -> Decorator: ...


# Here, too, mypy finds overlaps. What streams needs parentheses, for type checkers.


@overload
def batched(
    function: SecondOptional[A, B, R], /, **options: Unpack[HandlerOptions]
) -> Batched[Concatenate[A, ...], Any, R]: ...


@overload
def batched(  # type: ignore[overload-overlap]
    function: ThirdOptional[list[A], B, C, R], /, **options: Unpack[HandlerOptions]
) -> Batched[Concatenate[A, B, ...], Any, R]: ...


@overload
def batched(
    function: Callable[[list[A]], Answer[R]], /, **options: Unpack[HandlerOptions]
) -> Batched[[A], A, R]: ...


@overload
def batched(
    function: Callable[[list[A]], Silence[R]], /, **options: Unpack[HandlerOptions]
) -> Batched[[A], A, R | None]: ...


@overload
def batched(  # type: ignore[overload-overlap]
    function: Callable[[list[A], list[B]], Answer[R]], /, **options: Unpack[HandlerOptions]
) -> Batched[[A, B], tuple[A, B], R]: ...


@overload
def batched(
    function: Callable[[list[A], list[B], list[C]], Answer[R]], /, **options: Unpack[HandlerOptions]
) -> Batched[[A, B, C], tuple[A, B, C], R]: ...


@overload
def batched(
    function: Callable[Concatenate[list[A], Q], Answer[R]], /, **options: Unpack[HandlerOptions]
) -> Batched[Concatenate[A, ...], Any, R]: ...


@overload
def batched(
    function: Callable[Concatenate[list[A], Q], Silence[R]], /, **options: Unpack[HandlerOptions]
) -> Batched[Concatenate[A, ...], Any, R | None]: ...


@overload
def batched(
    function: ThirdOptional[type[S], A, B, R], /, **options: Unpack[HandlerOptions]
) -> BatchedClassMethod[Concatenate[A, ...], Any, R]: ...


@overload
def batched(  # type: ignore[overload-overlap]
    function: Callable[[type[S], list[A]], Answer[R]], /, **options: Unpack[HandlerOptions]
) -> BatchedClassMethod[[A], A, R]: ...


@overload
def batched(  # type: ignore[overload-overlap]
    function: Callable[[type[S], list[A]], Silence[R]], /, **options: Unpack[HandlerOptions]
) -> BatchedClassMethod[[A], A, R | None]: ...


@overload
def batched(
    function: Callable[[type[S], list[A], list[B]], Answer[R]], /, **options: Unpack[HandlerOptions]
) -> BatchedClassMethod[[A, B], tuple[A, B], R]: ...


@overload
def batched(
    function: Callable[Concatenate[type[S], list[A], Q], Answer[R]],
    /,
    **options: Unpack[HandlerOptions],
) -> BatchedClassMethod[Concatenate[A, ...], Any, R]: ...


@overload
def batched(
    function: Callable[Concatenate[type[S], list[A], Q], Silence[R]],
    /,
    **options: Unpack[HandlerOptions],
) -> BatchedClassMethod[Concatenate[A, ...], Any, R | None]: ...


@overload
def batched(
    function: ThirdOptional[S, A, B, R], /, **options: Unpack[HandlerOptions]
) -> BatchedMethod[Concatenate[A, ...], Any, R]: ...


@overload
def batched(
    function: Callable[[S, list[A]], Answer[R]], /, **options: Unpack[HandlerOptions]
) -> BatchedMethod[[A], A, R]: ...


@overload
def batched(
    function: Callable[[S, list[A]], Silence[R]], /, **options: Unpack[HandlerOptions]
) -> BatchedMethod[[A], A, R | None]: ...


@overload
def batched(
    function: Callable[[S, list[A], list[B]], Answer[R]], /, **options: Unpack[HandlerOptions]
) -> BatchedMethod[[A, B], tuple[A, B], R]: ...


@overload
def batched(
    function: Callable[[S, list[A], list[B], list[C]], Answer[R]],
    /,
    **options: Unpack[HandlerOptions],
) -> BatchedMethod[[A, B, C], tuple[A, B, C], R]: ...


@overload
def batched(
    function: Callable[Concatenate[S, list[A], Q], Answer[R]], /, **options: Unpack[HandlerOptions]
) -> BatchedMethod[Concatenate[A, ...], Any, R]: ...


@overload
def batched(
    function: Callable[Concatenate[S, list[A], Q], Silence[R]], /, **options: Unpack[HandlerOptions]
) -> BatchedMethod[Concatenate[A, ...], Any, R | None]: ...


def batched(function: Any = None, /, **options: Unpack[BatcherOptions]) -> Any:
    """Make a batch function callable with one item at a time.

    ::

        @batched(max_batch_size=32, max_latency=0.005)
        async def embed(texts: list[str]) -> list[Vector]: ...

        vector = await embed("hello")

    ``@batched`` alone has the defaults, and ``batched(function, max_batch_size=32)`` decorates what
    is there already. The options are those of Batcher, and are checked at once. Works on functions,
    methods, class methods, static methods and abstract methods; put it above the other decorators.
    Decorating needs no event loop.

    A call binds keywords and defaults as Python does; a default is the value of one item, not a
    list. Type checkers take several parameters by place only.

    With ``stream=True`` the function is an async generator, and a call gives a Stream. With
    ``columnar=True`` it answers columns, and a call gives a row of them.
    """
    decorator = decorator_of(options)
    if not (function is None or callable(function) or hasattr(function, "__func__")):
        raise TypeError(
            "batched must be given a function, and options by name as in "
            f"@batched(max_batch_size=32), got {function!r}"
        )
    return decorator if function is None else decorator(function)


def decorator_of(options: BatcherOptions) -> Any:
    """Make the decorator of what the options say that it is put on."""
    checked = Options.of(options)
    if checked.stream:
        return StreamDecorator(options)
    if checked.columnar:
        return ColumnarDecorator(options)
    return Decorator(options)
