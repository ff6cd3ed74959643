"""The face for threads and synchronous code: a batcher whose answers are concurrent futures."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
import threading
import warnings
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from types import EllipsisType, TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    Self,
    TypeAlias,
    TypeVar,
    Unpack,
    overload,
)

from microbatch.batch import serving
from microbatch.batcher import Answer as HandlerAnswer
from microbatch.batcher import Batcher, Silence
from microbatch.errands import Place, finish, loop_at, maker_of, wait_for
from microbatch.errors import BatcherClosedError
from microbatch.inbox import Answer, Inbox
from microbatch.loopthread import LoopThread
from microbatch.options import BatcherOptions, Ordering, one_of, plain_callable, seconds
from microbatch.readahead import ReadAhead

if TYPE_CHECKING:
    from concurrent.futures import Future

    from microbatch.statistics import BatcherStatistics

__all__ = ["BlockingBatcher"]

T = TypeVar("T")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

Timeout: TypeAlias = float | EllipsisType | None
Number: TypeAlias = float | EllipsisType
LoopFactory: TypeAlias = Callable[[], AbstractEventLoop]


class BlockingBatcher(Generic[T_contra, R_co]):
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
    body raised or not. It closes the batcher that it made, and none that it was given. A
    program that ends does not wait for one that was not closed. When the loop ends before it is
    closed, futures fail with BatcherClosedError.

    In a process that was forked later, one with a thread of its own starts another; what was
    pending is answered in the parent alone, and raises BatcherClosedError in the child.
    """

    @overload
    def __init__(
        self: BlockingBatcher[T, R],
        handler: Batcher[T, R],
        *,
        loop_factory: LoopFactory | None = ...,
    ) -> None: ...

    @overload
    def __init__(
        self: BlockingBatcher[T, R],
        handler: Callable[[list[T]], HandlerAnswer[R]],
        *,
        loop_factory: LoopFactory | None = ...,
        **options: Unpack[BatcherOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: BlockingBatcher[T, None],
        handler: Callable[[list[T]], Awaitable[None] | None],
        *,
        loop_factory: LoopFactory | None = ...,
        **options: Unpack[BatcherOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: BlockingBatcher[T, R | None],
        handler: Callable[[list[T]], Silence[R]],
        *,
        loop_factory: LoopFactory | None = ...,
        **options: Unpack[BatcherOptions],
    ) -> None: ...

    def __init__(
        self,
        handler: Any,
        *,
        loop_factory: LoopFactory | None = None,
        **options: Unpack[BatcherOptions],
    ) -> None:
        self._closed = True  # until there is something to close
        plain_callable("loop_factory", loop_factory)
        self._make = maker_of(handler, options)
        self._owned = not isinstance(handler, Batcher)
        self._use(self._make())
        self._loop_factory = loop_factory
        self._thread: LoopThread | None = None
        self._inbox: Inbox | None = None
        self._opening = threading.Lock()
        self._closed = False
        in_use.add(self)

    def _use(self, batcher: Batcher[T_contra, R_co]) -> None:
        self._batcher = batcher
        self._submit: Callable[..., Any] = batcher.submit
        self._submit_many: Callable[..., Any] = batcher.submit_many

    @overload
    @classmethod
    def attached(cls, handler: Batcher[T, R], where: Place = ...) -> BlockingBatcher[T, R]: ...

    @overload
    @classmethod
    def attached(
        cls,
        handler: Callable[[list[T]], HandlerAnswer[R]],
        where: Place = ...,
        **options: Unpack[BatcherOptions],
    ) -> BlockingBatcher[T, R]: ...

    @overload
    @classmethod
    def attached(
        cls,
        handler: Callable[[list[T]], Awaitable[None] | None],
        where: Place = ...,
        **options: Unpack[BatcherOptions],
    ) -> BlockingBatcher[T, None]: ...

    @overload
    @classmethod
    def attached(
        cls,
        handler: Callable[[list[T]], Silence[R]],
        where: Place = ...,
        **options: Unpack[BatcherOptions],
    ) -> BlockingBatcher[T, R | None]: ...

    @classmethod
    def attached(
        cls,
        handler: Any,
        where: Place = None,
        **options: Unpack[BatcherOptions],
    ) -> BlockingBatcher[Any, Any]:
        """Make one that works on an event loop which runs already.

        ``where`` is the loop, or an anyio BlockingPortal to it; without it the running one, so from
        a coroutine. On the loop itself close it with ``aclose()`` or ``async with``.
        """
        loop = loop_at(where)
        made: BlockingBatcher[Any, Any] = cls(handler, **options)
        made._inbox = inbox = Inbox(loop, made.name)
        if asyncio._get_running_loop() is loop:
            inbox.watch()
        else:
            loop.call_soon_threadsafe(inbox.watch)
        return made

    @property
    def batcher(self) -> Batcher[T_contra, R_co]:
        """The batcher that does the work."""
        return self._batcher

    @property
    def name(self) -> str:
        """The name in errors and metrics: the batcher's."""
        return self._batcher.name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

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
        return self._post(functools.partial(self._submit, item, **own))

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
        handled in several batches. For the rest it is as submit().
        """
        every = list(items)
        own = {"timeout": timeout, "key": key, "priority": priority}
        start = functools.partial(
            self._submit_many, every, return_exceptions=return_exceptions, **own
        )
        return self._post(start, len(every) or 1)

    @overload
    def map(
        self,
        source: Iterable[T_contra],
        *,
        ordering: Ordering = ...,
        return_exceptions: Literal[False] = ...,
    ) -> Iterator[R_co]: ...

    @overload
    def map(
        self, source: Iterable[T_contra], *, ordering: Ordering = ..., return_exceptions: bool
    ) -> Iterator[R_co | Exception]: ...

    def map(
        self,
        source: Iterable[T_contra],
        *,
        ordering: Ordering = "ordered",
        return_exceptions: bool = False,
    ) -> Iterator[Any]:
        """Submit each item of a source, and yield the results; a generator.

        They come in the source's order, or with ``ordering="unordered"`` as they are ready. The
        source is read in the thread that iterates, ahead by a batch more than the slots hold,
        within the capacity; with a ``key``, whose batches fill side by side, by the whole capacity.

        The first failure, an item's or the source's, is raised in its turn, and what is
        outstanding then is cancelled, as it is when the iteration is given up. An item that passes
        its timeout is left out and counted, unless ``timeout_policy`` says otherwise. With
        ``return_exceptions`` every failed item yields its exception instead.
        """
        one_of("ordering", ordering, ("unordered", "ordered"))
        options = self._batcher.options
        mapped: ReadAhead[T_contra, R_co] = ReadAhead(
            self._submit_waiting,
            source,
            window=options.read_ahead,
            ordered=ordering == "ordered",
            return_exceptions=return_exceptions,
            leave_out_late=options.timeout_policy == "partial",
        )
        return mapped.outcomes()

    def _submit_waiting(self, item: T_contra) -> Future[R_co]:
        answer = self._post(functools.partial(self._batcher._submit_waiting, item))
        answer.refuse_to_wait()
        return answer

    def _post(self, start: Callable[[], Any], size: int = 1) -> Answer[Any]:
        inbox = self._inbox
        if inbox is None or self._closed:
            inbox = self._open()
        answer: Answer[Any] = Answer(inbox, start, size)
        inbox.post(answer)
        return answer

    def _open(self) -> Inbox:
        """Start the thread, once."""
        with self._opening:
            if self._closed:
                raise BatcherClosedError(f"batcher {self.name!r} is closed")
            if self._inbox is None:
                self._thread = LoopThread(self.name, self._loop_factory)
                self._inbox = self._thread.start()
            return self._inbox

    # ------------------------------------------------------------------------- flush, drain, close
    def flush(self) -> None:
        """Have what was submitted so far dispatched as slots become free, and return at once."""

        async def flush() -> None:
            self._batcher.flush()

        if self._has_begun():
            self._run(flush)

    def drain(self) -> None:
        """Return when nothing is unsettled and no handler runs on the loop.

        What is queued, or comes meanwhile, does not wait for companions. Raises BatcherClosedError
        after closing, and RuntimeError in the handler, which would wait for itself.
        """
        self._refuse_own_handler()
        if self._has_begun():
            wait_for(self._run(self._batcher.drain))

    def _has_begun(self) -> bool:
        """Tell whether there can be anything on the loop, or was."""
        return self._closed or self._inbox is not None

    def _run(self, function: Callable[[], Coroutine[Any, Any, R]]) -> Answer[R]:
        """Run a coroutine function on the loop, after all that was submitted before."""
        return self._post(lambda: asyncio.create_task(function()), 0)

    def _refuse_own_handler(self) -> None:
        served, inbox = serving.get(None), self._inbox
        if served is None or inbox is None or served.name != self.name:
            return
        task = served.flight.task
        if isinstance(task, asyncio.Task) and task.get_loop() is inbox.loop:
            raise RuntimeError(
                f"batcher {self.name!r} must not be drained or closed by its own handler, "
                "for which it would wait"
            )

    def close(self, timeout: float | None = None) -> int:
        """Refuse new items, finish the accepted ones, and answer how many were given up.

        Without ``timeout`` none is given up. After ``timeout`` seconds the rest fail with
        BatcherClosedError, their handlers are cancelled, and this returns once these have ended.
        (On a loop that it is attached to, it does not wait for handlers of a batcher that it was
        given.) Closing again waits for the same end. Raises RuntimeError in the handler, and in the
        loop's own thread: see aclose().
        """
        if timeout is not None:
            timeout = seconds("timeout", timeout, least=0.0)
        self._refuse_own_handler()
        if self._inbox is not None:
            self._inbox.refuse_own_thread()
        closing, thread = self._begin_close(timeout), self._thread
        try:
            return 0 if closing is None else closing.result()
        except BatcherClosedError:  # the loop has ended before
            return 0
        finally:
            if thread is not None:
                thread.join()

    async def aclose(self, timeout: float | None = None) -> int:
        """Do as close() from a coroutine, on this loop or another.

        Cancelled, it leaves it closed, and the accepted items still finish.
        """
        if timeout is not None:
            timeout = seconds("timeout", timeout, least=0.0)
        self._refuse_own_handler()
        closing, thread = self._begin_close(timeout), self._thread
        given_up = 0
        if closing is not None:
            with contextlib.suppress(BatcherClosedError):
                given_up = await asyncio.shield(asyncio.wrap_future(closing))
        if thread is not None:
            await asyncio.to_thread(thread.join)
        return given_up

    def _begin_close(self, timeout: float | None) -> Answer[int] | None:
        with self._opening:
            self._closed = True
            inbox = self._inbox
        if inbox is None:
            return None
        stop = None if self._thread is None else self._thread.stop
        start = functools.partial(finish, self._batcher, self._owned, inbox, timeout, stop)
        closing = Answer(inbox, start, size=0)
        inbox.post(closing)
        if not inbox.loop.is_running():  # and may never again
            inbox.lose()
        return closing

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if self._closed or self._inbox is None or sys.is_finalizing():
            return
        if self._thread is not None:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
        self._begin_close(None)

    def forget_thread(self) -> None:
        """Be in a process that was forked."""
        self._opening = threading.Lock()
        if self._inbox is not None:
            self._inbox.forget_loop()
        if self._thread is not None:
            self._thread = self._inbox = None
            self._use(self._make())


in_use: weakref.WeakSet[BlockingBatcher[Any, Any]] = weakref.WeakSet()


def forget_threads() -> None:
    """Know, in a process that was forked, that no thread came along."""
    for each in list(in_use):
        each.forget_thread()


with contextlib.suppress(AttributeError):  # where nothing can fork
    os.register_at_fork(after_in_child=forget_threads)
