"""The face for threads and synchronous code: a batcher whose answers are concurrent futures."""

from __future__ import annotations

import contextlib
import functools
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, Unpack, overload

from microbatch._dispatch.items import refuse_one
from microbatch._streams.blocking_mapping import BlockingMappedSource
from microbatch._streams.window import Window
from microbatch._threads.attaching import AttachTarget, loop_at, refuse_own_loop
from microbatch._threads.bridge import Bridge, LoopFactory
from microbatch._threads.exiting import EXIT_TIMEOUT
from microbatch.batch import makers_context
from microbatch.batcher import Batcher
from microbatch.errors import BatcherClosedError
from microbatch.options import BatcherOptions, HandlerOptions, Ordering, keeps_order, plain_callable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from concurrent.futures import Future

    from microbatch._core import Ticket
    from microbatch._handlers.answer_types import Answer, Columns, Named, Pair, Silence, Triple
    from microbatch.statistics import BatcherStatistics

__all__ = ["BlockingBatcher"]

T = TypeVar("T")
R = TypeVar("R")
U = TypeVar("U")
V = TypeVar("V")
W = TypeVar("W")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

Timeout: TypeAlias = float | EllipsisType | None
Number: TypeAlias = float | EllipsisType


class BlockingBatcher(Bridge, Generic[T_contra, R_co]):
    """Group items that any number of threads submit, and hand them to one handler as lists.

    ``handler`` is a Batcher, a function that was decorated with ``@batched``, or a handler with the
    options of a Batcher. It works on an event loop that runs in a thread of its own, or with
    ``attached`` on one that runs already. The thread starts at the first use: an instance that was
    made at import time costs nothing, and survives a fork before it is used. ``loop_factory`` makes
    the loop, such as ``uvloop.new_event_loop``.

    Each item's answer is a ``concurrent.futures.Future``. To cancel it gives up the item, queued or
    in flight. Its callbacks run in the loop's thread, and should be short. Where waiting would hang
    for ever, because it is the loop's own thread that waits, RuntimeError is raised.

    As a context manager it is closed on the way out, and finishes what it has accepted, whether the
    body raised or not. It closes the batcher that it made, and none that it was given. When the
    loop ends before it is closed, futures fail with BatcherClosedError.

    A program that ends finishes what one that was not closed has accepted, for at most
    ``exit_timeout`` seconds: 0 is not to wait, None is to wait for however long it takes, and an
    interrupt (Ctrl-C) ends the wait. Threads that are not daemons may submit for as long as they
    live; after them BatcherClosedError is raised. What is left then fails with BatcherClosedError,
    and a RuntimeWarning says how many items that were. One that is attached is not waited for.

    In a process that was forked later, one with a thread of its own starts another; what was
    pending is answered in the parent alone, and raises BatcherClosedError in the child.
    """

    @overload
    def __init__(
        self: BlockingBatcher[T, R],
        handler: Batcher[T, R],
        *,
        loop_factory: LoopFactory | None = ...,
        exit_timeout: float | None = ...,
    ) -> None: ...

    @overload
    def __init__(
        self: BlockingBatcher[T, dict[str, V]],
        handler: Callable[[list[T]], Named[V]],
        *,
        columnar: Literal[True],
        loop_factory: LoopFactory | None = ...,
        exit_timeout: float | None = ...,
        **options: Unpack[HandlerOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: BlockingBatcher[T, tuple[U, V]],
        handler: Callable[[list[T]], Pair[U, V]],
        *,
        columnar: Literal[True],
        loop_factory: LoopFactory | None = ...,
        exit_timeout: float | None = ...,
        **options: Unpack[HandlerOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: BlockingBatcher[T, tuple[U, V, W]],
        handler: Callable[[list[T]], Triple[U, V, W]],
        *,
        columnar: Literal[True],
        loop_factory: LoopFactory | None = ...,
        exit_timeout: float | None = ...,
        **options: Unpack[HandlerOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: BlockingBatcher[T, Any],
        handler: Callable[[list[T]], Columns],
        *,
        columnar: Literal[True],
        loop_factory: LoopFactory | None = ...,
        exit_timeout: float | None = ...,
        **options: Unpack[HandlerOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: BlockingBatcher[T, R],
        handler: Callable[[list[T]], Answer[R]],
        *,
        loop_factory: LoopFactory | None = ...,
        exit_timeout: float | None = ...,
        **options: Unpack[BatcherOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: BlockingBatcher[T, None],
        handler: Callable[[list[T]], Awaitable[None] | None],
        *,
        loop_factory: LoopFactory | None = ...,
        exit_timeout: float | None = ...,
        **options: Unpack[BatcherOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: BlockingBatcher[T, R | None],
        handler: Callable[[list[T]], Silence[R]],
        *,
        loop_factory: LoopFactory | None = ...,
        exit_timeout: float | None = ...,
        **options: Unpack[BatcherOptions],
    ) -> None: ...

    def __init__(
        self,
        handler: Any,
        *,
        loop_factory: LoopFactory | None = None,
        exit_timeout: float | None = EXIT_TIMEOUT,
        **options: Unpack[BatcherOptions],
    ) -> None:
        plain_callable("loop_factory", loop_factory)
        owned = not isinstance(handler, Batcher)
        super().__init__(maker_of(handler, options), owned, loop_factory, exit_timeout)

    @overload
    @classmethod
    def attached(
        cls, handler: Batcher[T, R], where: AttachTarget = ...
    ) -> BlockingBatcher[T, R]: ...

    @overload
    @classmethod
    def attached(
        cls,
        handler: Callable[[list[T]], Named[V]],
        where: AttachTarget = ...,
        *,
        columnar: Literal[True],
        **options: Unpack[HandlerOptions],
    ) -> BlockingBatcher[T, dict[str, V]]: ...

    @overload
    @classmethod
    def attached(
        cls,
        handler: Callable[[list[T]], Pair[U, V]],
        where: AttachTarget = ...,
        *,
        columnar: Literal[True],
        **options: Unpack[HandlerOptions],
    ) -> BlockingBatcher[T, tuple[U, V]]: ...

    @overload
    @classmethod
    def attached(
        cls,
        handler: Callable[[list[T]], Triple[U, V, W]],
        where: AttachTarget = ...,
        *,
        columnar: Literal[True],
        **options: Unpack[HandlerOptions],
    ) -> BlockingBatcher[T, tuple[U, V, W]]: ...

    @overload
    @classmethod
    def attached(
        cls,
        handler: Callable[[list[T]], Columns],
        where: AttachTarget = ...,
        *,
        columnar: Literal[True],
        **options: Unpack[HandlerOptions],
    ) -> BlockingBatcher[T, Any]: ...

    @overload
    @classmethod
    def attached(
        cls,
        handler: Callable[[list[T]], Answer[R]],
        where: AttachTarget = ...,
        **options: Unpack[BatcherOptions],
    ) -> BlockingBatcher[T, R]: ...

    @overload
    @classmethod
    def attached(
        cls,
        handler: Callable[[list[T]], Awaitable[None] | None],
        where: AttachTarget = ...,
        **options: Unpack[BatcherOptions],
    ) -> BlockingBatcher[T, None]: ...

    @overload
    @classmethod
    def attached(
        cls,
        handler: Callable[[list[T]], Silence[R]],
        where: AttachTarget = ...,
        **options: Unpack[BatcherOptions],
    ) -> BlockingBatcher[T, R | None]: ...

    @classmethod
    def attached(
        cls,
        handler: Any,
        where: AttachTarget = None,
        **options: Unpack[BatcherOptions],
    ) -> BlockingBatcher[Any, Any]:
        """Make one that works on an event loop which runs already.

        ``where`` is the loop, or an anyio BlockingPortal to it; without it the running one, so from
        a coroutine. On the loop itself close it with ``aclose()`` or ``async with``.
        """
        refuse_own_loop(**options)
        loop = loop_at(where)
        made: BlockingBatcher[Any, Any] = cls(handler, **options)
        made._attach(loop)
        return made

    @property
    def batcher(self) -> Batcher[T_contra, R_co]:
        """The batcher that does the work."""
        return self._batcher

    def statistics(self) -> BatcherStatistics:
        """Give a snapshot of what the batcher has done and holds, over all loops."""
        return self._batcher.statistics()

    # --------------------------------------------------------------------------------- submitting
    def submit(
        self,
        item: T_contra,
        *,
        timeout: Timeout = ...,
        weight: Number = ...,
        key: Any = ...,
        priority: Number = ...,
    ) -> Future[R_co]:
        """Submit one item, and give the future of its result; never waits.

        ``timeout``, in seconds, replaces the option of that name for this item; None is no limit.
        ``weight``, ``key`` and ``priority`` replace what the options would say of it.

        Raises BatcherClosedError after closing. What else ``Batcher.submit`` would raise, as a
        CapacityError where ``overflow`` is ``"reject"``, the future raises. With ``"wait"`` it is
        the future that waits for admission: it holds back threads that wait for their results. One
        that submits on and on without waiting fills the memory; ``map`` does not.
        """
        own = {"timeout": timeout, "weight": weight, "key": key, "priority": priority}
        return self._post(functools.partial(self._batcher.submit, item, **own))

    @overload
    def submit_many(
        self,
        items: Iterable[T_contra],
        *,
        timeout: Timeout = ...,
        key: Any = ...,
        priority: Number = ...,
        return_exceptions: Literal[False] = ...,
    ) -> Future[list[R_co]]: ...

    @overload
    def submit_many(
        self,
        items: Iterable[T_contra],
        *,
        timeout: Timeout = ...,
        key: Any = ...,
        priority: Number = ...,
        return_exceptions: bool,
    ) -> Future[list[R_co | Exception]]: ...

    def submit_many(
        self,
        items: Iterable[T_contra],
        *,
        timeout: Timeout = ...,
        key: Any = ...,
        priority: Number = ...,
        return_exceptions: bool = False,
    ) -> Future[Any]:
        """Submit items with one future for all, whose result is the list of their results.

        It settles when all have. Where items fail, it raises the exception of the first of them
        by place, or with ``return_exceptions`` has each exception in its place. The items may be
        handled in several batches. Raises TypeError for what is one item, or has no order, or is a
        table: text, bytes, a mapping, a set, a data frame. For the rest it is as submit().
        """
        refuse_one("items", items, "submit_many")
        every = list(items)
        own = {"timeout": timeout, "key": key, "priority": priority}
        submit: Callable[..., object] = self._batcher.submit_many
        start = functools.partial(submit, every, return_exceptions=return_exceptions, **own)
        return self._post(start, len(every) or 1)

    @overload
    def map(
        self,
        source: Iterable[T_contra],
        *,
        ordering: Ordering = ...,
        return_exceptions: Literal[False] = ...,
        with_items: Literal[False] = ...,
    ) -> Iterator[R_co]: ...

    @overload
    def map(
        self,
        source: Iterable[T_contra],
        *,
        ordering: Ordering = ...,
        return_exceptions: bool,
        with_items: Literal[False] = ...,
    ) -> Iterator[R_co | Exception]: ...

    @overload
    def map(
        self: BlockingBatcher[T, R_co],
        source: Iterable[T],
        *,
        ordering: Ordering = ...,
        return_exceptions: Literal[False] = ...,
        with_items: Literal[True],
    ) -> Iterator[tuple[T, R_co]]: ...

    @overload
    def map(
        self: BlockingBatcher[T, R_co],
        source: Iterable[T],
        *,
        ordering: Ordering = ...,
        return_exceptions: bool,
        with_items: Literal[True],
    ) -> Iterator[tuple[T, R_co | Exception]]: ...

    def map(
        self,
        source: Iterable[Any],
        *,
        ordering: Ordering = "ordered",
        return_exceptions: bool = False,
        with_items: bool = False,
    ) -> Iterator[Any]:
        """Submit each item of a source, and yield the results; a generator.

        They come in the source's order, or with ``ordering="unordered"`` as they are ready. With
        ``with_items`` each is a tuple of the item, as the source gave it, and its result. A source
        that is text, bytes, a mapping, a set or a data frame raises TypeError.

        The source is read in the thread that iterates, ahead by a batch more than the slots hold,
        within the capacity; with a ``key``, whose batches fill side by side, by the whole capacity.
        Items that join an equal one (``dedupe``) take no place of a batch, and come on top of
        these, within the capacity (without one, 10,000 items in all).

        The first failure, an item's or the source's, is raised in its turn, and what is
        outstanding then is cancelled, as it is when the iteration is given up. An item that passes
        its timeout is left out and counted, unless ``timeout_policy`` says otherwise. With
        ``return_exceptions`` every failed item yields its exception instead.
        """
        ordered = keeps_order(ordering)
        refuse_one("source", source, "map")
        options = self._batcher.options
        mapped: BlockingMappedSource[Any, R_co] = BlockingMappedSource(
            self._submit_waiting,
            source,
            window=Window.of(options),
            catch_up=None if options.dedupe is None else self._catch_up,
            ordered=ordered,
            return_exceptions=return_exceptions,
            with_items=with_items,
            leave_out_late=options.leaves_out_late,
        )
        return mapped.results()

    def _submit_waiting(self, item: Any, on_joining: Callable[[], None] | None) -> Future[R_co]:
        self._refuse_own_thread()
        if on_joining is None:
            return self._post(functools.partial(self._batcher._submit_waiting, item))
        return self._post(functools.partial(submit_telling, self._batcher, item, on_joining))

    def _catch_up(self) -> None:
        """Wait until all that was submitted has begun; once closed, that is as it is."""
        with contextlib.suppress(BatcherClosedError):
            self._run(nothing).result()


async def nothing() -> None:
    """Do nothing."""


def submit_telling(
    batcher: Batcher[Any, R], item: Any, on_joining: Callable[[], None]
) -> Ticket[R]:
    """Submit an item on the loop, and tell if it joined an equal one."""
    lane = batcher.router.find_lane()
    deduplicated = lane.deduplicated
    ticket = batcher._submit_waiting(item)
    if lane.deduplicated != deduplicated:
        on_joining()
    return ticket


def maker_of(handler: Any, options: BatcherOptions) -> Callable[[], Batcher[Any, Any]]:
    """Give what gives the batcher: the one that is given, or each time a new one of a handler."""
    if not isinstance(handler, Batcher):
        # In a process that is forked, the batcher is made again.
        make = functools.partial(Batcher, handler, **options)
        return functools.partial(makers_context().run, make)
    given: Batcher[Any, Any] = handler  # pyright: ignore[reportUnknownVariableType]
    if options:
        raise TypeError(
            f"options must be given to the batcher itself, {given.name!r}, got {', '.join(options)}"
        )
    given.statistics()  # a method without its instance says so
    return lambda: given
