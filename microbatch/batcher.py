"""The public face of one handler: submit single items, and have them handled in batches."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack, overload

from microbatch._core import Submitter
from microbatch._dispatch.items import refuse_one
from microbatch._dispatch.registry import Dispatchers
from microbatch._handlers.answer_types import (
    Answer,
    Chunks,
    Columns,
    Named,
    Pair,
    Results,
    Silence,
    Triple,
)
from microbatch._handlers.kinds import as_coroutine_function, check_columnar, check_stream, name_of
from microbatch._streams.mapping import MappedSource
from microbatch._streams.stream import Stream, open_stream
from microbatch._streams.window import Window
from microbatch.options import (
    SECONDS_OR_NONE,
    BatcherOptions,
    HandlerOptions,
    Options,
    Ordering,
    Reconfiguration,
    keeps_order,
    seconds,
)
from microbatch.statistics import BatcherStatistics

__all__ = ["Answer", "Batcher", "Chunks", "Results", "Silence"]

T = TypeVar("T")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
C = TypeVar("C")
U = TypeVar("U")
V = TypeVar("V")
W = TypeVar("W")


class Batcher(Submitter[T_contra, R_co]):
    """Group items that are submitted one by one, and hand them to one handler as lists.

    ``handler`` takes a list of items and answers a sequence of as many results, or None for a None
    to each; an exception at some place of it is raised to that place's caller alone. Results go by
    position, never by label, and what has no positions is refused. With ``columnar=True`` it
    answers columns, each as long as the batch, and each caller gets its row.

    It is an ``async def``, or a plain function, which runs in a thread of anyio's pool, or where
    the option ``executor`` says.

    An async generator yields ``(index, result)`` pairs, in any order, and each caller is answered
    at once; what is missing at its end is a ResultCountError for those callers alone. It is closed
    when nobody is left to answer. With ``stream=True`` it yields one list of chunks per step, which
    ``stream()`` gives item by item.

    The handler runs in copies of the context in which the batcher was made: what was set there
    before, such as the precision of decimals, holds in it, and what callers set does not.

    A batcher belongs to no event loop until it is used, has a queue for each loop that it is used
    from, and may be made at import time. Its options are those of BatcherOptions; a wrong one
    raises ValueError or TypeError here.

    As an async context manager it is closed on the way out, and finishes what it has accepted,
    whether the body raised or not.

    A handler that awaits a submission to its own batcher needs another slot for it, room within
    the capacity, and results that are not ordered. Where nothing could ever free a slot, or room,
    what it awaits raises RuntimeError at once. That is known of what it awaits by itself, directly
    or through a ``gather`` that it awaits as soon as it is made. Otherwise it would wait for ever,
    or until a ``timeout``: through ``shield``, ``asyncio.wait`` or ``as_completed``, in a task of
    its own, in a thread, through another batcher whose handler awaits an item of this one, or where
    ordered results hold the last room.
    """

    if TYPE_CHECKING:

        @property
        def router(self) -> Dispatchers: ...  # noqa: D102

    @overload
    def __init__(
        self: "Batcher[T, list[C]]",
        handler: Callable[[list[T]], Chunks[C]],
        *,
        stream: Literal[True],
        **options: Unpack[HandlerOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: "Batcher[T, dict[str, V]]",
        handler: Callable[[list[T]], Named[V]],
        *,
        columnar: Literal[True],
        **options: Unpack[HandlerOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: "Batcher[T, tuple[U, V]]",
        handler: Callable[[list[T]], Pair[U, V]],
        *,
        columnar: Literal[True],
        **options: Unpack[HandlerOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: "Batcher[T, tuple[U, V, W]]",
        handler: Callable[[list[T]], Triple[U, V, W]],
        *,
        columnar: Literal[True],
        **options: Unpack[HandlerOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: "Batcher[T, Any]",
        handler: Callable[[list[T]], Columns],
        *,
        columnar: Literal[True],
        **options: Unpack[HandlerOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: "Batcher[T, R]",
        handler: Callable[[list[T]], Answer[R]],
        **options: Unpack[BatcherOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: "Batcher[T, None]",
        handler: Callable[[list[T]], Awaitable[None] | None],
        **options: Unpack[BatcherOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: "Batcher[T, R | None]",
        handler: Callable[[list[T]], Silence[R]],
        **options: Unpack[BatcherOptions],
    ) -> None: ...

    def __init__(
        self, handler: Callable[[list[Any]], Any], **options: Unpack[BatcherOptions]
    ) -> None:
        if isinstance(handler, Batcher):
            raise TypeError(
                f"handler must be a function of a list of items, got {handler!r}, "
                "which is a batcher already: use it as it is"
            )
        checked = Options.of(options)
        work = as_coroutine_function(handler, checked.executor)
        check_stream(handler, checked.stream)
        check_columnar(handler, checked.columnar)
        super().__init__(Dispatchers(work, checked, checked.name or name_of(handler)))

    @property
    def name(self) -> str:
        """The name in errors and metrics: the ``name`` option, or else the handler's."""
        return self.router.name

    @property
    def options(self) -> Options:
        """The options in force."""
        return self.router.options

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    # ---------------------------------------------------------------------------------- streaming
    def stream(
        self: "Batcher[T, list[C]]",
        item: T,
        *,
        timeout: float | EllipsisType | None = ...,
        weight: float | EllipsisType = ...,
        key: Any = ...,
        priority: float | EllipsisType = ...,
    ) -> Stream[C]:
        """Submit one item as submit() does, and give the stream of its chunks.

        ``timeout``, in seconds, is from here to the item's end, and replaces the option of that
        name; None is no limit. ``weight``, ``key`` and ``priority`` are as for submit(). Raises
        RuntimeError unless the batcher has ``stream=True``.
        """
        if not self.options.stream:
            raise RuntimeError(
                f"batcher {self.name!r} has no streams: it was made without stream=True"
            )
        own = {"timeout": timeout, "weight": weight, "key": key, "priority": priority}
        return open_stream(self.router, self.name, self._whole_item(item), own)

    def _whole_item(self, item: Any) -> Any:
        """Give an item back; TypeError where it lacks something."""
        return item

    @overload
    def map(
        self,
        source: Iterable[T_contra] | AsyncIterable[T_contra],
        *,
        ordering: Ordering = ...,
        return_exceptions: Literal[False] = ...,
        with_items: Literal[False] = ...,
    ) -> AsyncIterator[R_co]: ...

    @overload
    def map(
        self,
        source: Iterable[T_contra] | AsyncIterable[T_contra],
        *,
        ordering: Ordering = ...,
        return_exceptions: bool,
        with_items: Literal[False] = ...,
    ) -> AsyncIterator[R_co | Exception]: ...

    @overload
    def map(
        self: "Batcher[T, R_co]",
        source: Iterable[T] | AsyncIterable[T],
        *,
        ordering: Ordering = ...,
        return_exceptions: Literal[False] = ...,
        with_items: Literal[True],
    ) -> AsyncIterator[tuple[T, R_co]]: ...

    @overload
    def map(
        self: "Batcher[T, R_co]",
        source: Iterable[T] | AsyncIterable[T],
        *,
        ordering: Ordering = ...,
        return_exceptions: bool,
        with_items: Literal[True],
    ) -> AsyncIterator[tuple[T, R_co | Exception]]: ...

    def map(
        self,
        source: Iterable[Any] | AsyncIterable[Any],
        *,
        ordering: Ordering = "ordered",
        return_exceptions: bool = False,
        with_items: bool = False,
    ) -> AsyncIterator[Any]:
        """Submit each item of a source, and yield the results.

        They come in the source's order, or with ``ordering="unordered"`` as they are ready. With
        ``with_items`` each is a tuple of the item, as the source gave it, and its result. A source
        that is text, bytes, a mapping, a set or a data frame raises TypeError.

        The source is read ahead by a batch more than the slots hold, within the capacity; with a
        ``key``, whose batches fill side by side, by the whole capacity. Items that join an equal
        one (``dedupe``) take no place of a batch, and come on top of these, within the capacity
        (without one, 10,000 items in all).

        The first failure, an item's or the source's, is raised in its turn, and what is
        outstanding then is cancelled, as it is when the iteration is given up. An item that passes
        its timeout is left out and counted, unless ``timeout_policy`` says otherwise. With
        ``return_exceptions`` every failed item yields its exception instead.
        """
        ordered = keeps_order(ordering)
        refuse_one("source", source, "map")
        mapped: MappedSource[Any, R_co] = MappedSource(
            self._submit_waiting,
            source,
            find_lane=self.router.find_lane,
            window=Window.of(self.options),
            ordered=ordered,
            return_exceptions=return_exceptions,
            with_items=with_items,
            leave_out_late=self.options.leaves_out_late,
        )
        return mapped.results()

    # ------------------------------------------------------------------------- flush, drain, close
    def flush(self) -> None:
        """Dispatch what is queued on this loop as slots become free, without waiting for more."""
        self.router.here().flush()

    async def drain(self) -> None:
        """Return when nothing is unsettled and no handler runs on this loop.

        What is queued, or comes meanwhile, does not wait for companions.
        """
        await self.router.here().drain()

    async def aclose(self, timeout: float | None = None) -> int:
        """Refuse new items, finish the accepted ones, and answer how many were given up.

        Without ``timeout`` none is given up. After ``timeout`` seconds the rest fail with
        BatcherClosedError, their handlers are cancelled, and this returns once these have ended.
        Closing again waits for the same end. Cancelled, it leaves the batcher closed, and the
        accepted items still finish.
        """
        if timeout is not None:
            timeout = seconds("timeout", timeout, SECONDS_OR_NONE, least=0.0)
        return await self.router.aclose(timeout)

    @property
    def closed(self) -> bool:
        """Whether aclose() was called: new items are refused, accepted ones may still finish."""
        return self.router.closed

    async def __aenter__(self) -> Self:
        self.router.loop_here()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def reconfigure(self, **changes: Unpack[Reconfiguration]) -> None:
        """Change options while the batcher is in use, on all its loops.

        ``max_batch_size``, ``max_latency``, ``max_auto_latency``, ``max_concurrent_batches``,
        ``capacity``, ``timeout`` and ``max_batch_weight`` can be changed. What is queued obeys the
        new values, and what is in flight the new timeout; items that were submitted with a timeout
        of their own keep it. Under other sizes, slots or bounds, waiting is learned anew.
        Handler calls under way run on, even if there are fewer slots now. Raises ValueError or
        TypeError for what is wrong, and then changes nothing. Other loops follow in their next
        turn.
        """
        self.router.reconfigure(self.options.changed(changes))

    def statistics(self) -> BatcherStatistics:
        """Give a snapshot of what this batcher has done and holds, over all loops."""
        return self.router.statistics()
