"""Bring calls from any thread to a batcher on its event loop: open the way, and close it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

from microbatch._dispatch.notices import notify
from microbatch._loops.missing import cannot_await, refuse_patched_threads
from microbatch._threads.exiting import FinishingThread, forget_threads, in_use, wait_for_accepted
from microbatch._threads.inbox import Inbox, ThreadFuture
from microbatch.batch import serving
from microbatch.errors import BatcherClosedError
from microbatch.options import SECONDS_OR_NONE, seconds

if TYPE_CHECKING:
    from types import TracebackType

    from microbatch.batcher import Batcher

__all__ = ["Bridge", "LoopFactory"]

R = TypeVar("R")

LoopFactory: TypeAlias = Callable[[], AbstractEventLoop]


class Bridge:
    """What a BlockingBatcher is besides submitting: its thread and inbox, drained and closed."""

    _closed = True  # until there is something to close

    def __init__(
        self,
        make: Callable[[], Batcher[Any, Any]],
        owned: bool,
        loop_factory: LoopFactory | None,
        exit_timeout: float | None,
    ) -> None:
        if exit_timeout is not None:
            exit_timeout = seconds("exit_timeout", exit_timeout, SECONDS_OR_NONE, least=0.0)
        self._exit_timeout = exit_timeout
        self._make = make
        self._owned = owned
        self._batcher = make()
        self._loop_factory = loop_factory
        self._thread: FinishingThread | None = None
        self._inbox: Inbox | None = None
        self._opening = threading.Lock()
        self._closed = False
        in_use.add(self)

    @property
    def name(self) -> str:
        """The name in errors and metrics: the batcher's."""
        return self._batcher.name

    @property
    def closed(self) -> bool:
        """Whether it was closed, or its batcher: new items are refused, others may still finish."""
        return self._closed or self._batcher.closed

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    # ----------------------------------------------------------------------------------- posting
    def _attach(self, loop: AbstractEventLoop) -> None:
        """Use a loop that runs already."""
        self._inbox = Inbox(loop, self.name, watched=True)

    def _open(self) -> Inbox:
        """Start the thread, once."""
        with self._opening:
            if self._closed:
                raise BatcherClosedError(f"batcher {self.name!r} is closed")
            if self._inbox is None:
                refuse_patched_threads(self.name)
                thread = FinishingThread(self._batcher, self._exit_timeout, self._loop_factory)
                thread.start()
                self._thread, self._inbox = thread, thread.inbox
            return self._inbox

    def _post(self, start: Callable[[], Any], size: int = 1) -> ThreadFuture[Any]:
        """Submit items on the loop, or do an errand there, which has no size."""
        inbox = self._inbox
        if inbox is None or self._closed:
            inbox = self._open()
        if size and self._batcher.options.capture_context:
            start = functools.partial(copy_context().run, start)
        answer: ThreadFuture[Any] = ThreadFuture(inbox, start, size)
        inbox.post(answer)
        return answer

    def _run(self, function: Callable[[], Coroutine[Any, Any, R]]) -> ThreadFuture[R]:
        """Run a coroutine function on the loop, after all that was submitted before."""
        return self._post(lambda: asyncio.create_task(function()), 0)

    # ------------------------------------------------------------------------- flush, drain, close
    def flush(self) -> None:
        """Dispatch what was submitted so far as slots become free, and return at once."""

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
            drained = self._run(self._batcher.drain)
            try:
                drained.result()
            finally:  # an interrupted wait takes it back
                drained.cancel()

    def close(self, timeout: float | None = None) -> int:
        """Refuse new items, finish the accepted ones, and answer how many were given up.

        Without ``timeout`` none is given up. After ``timeout`` seconds the rest fail with
        BatcherClosedError, their handlers are cancelled, and this returns once these have ended.
        (On a loop that it is attached to, it does not wait for handlers of a batcher that it was
        given.) Closing again waits for the same end. Interrupted, it leaves it closed, and the
        accepted items still finish. Raises RuntimeError in the handler, and in the loop's own
        thread: see aclose().
        """
        timeout = self._checked(timeout)
        self._refuse_own_thread()
        closing, given_up = self._begin_close(timeout), 0
        if closing is not None:
            with contextlib.suppress(BatcherClosedError):  # the loop has ended before
                given_up = closing.result()
        if self._thread is not None:
            self._thread.join()
        return given_up

    async def aclose(self, timeout: float | None = None) -> int:
        """Do as close() from a coroutine, on this loop or another.

        Cancelled, it leaves it closed, and the accepted items still finish.
        """
        self._refuse_other_loops()
        timeout = self._checked(timeout)
        closing, given_up = self._begin_close(timeout), 0
        if closing is not None:
            with contextlib.suppress(BatcherClosedError):
                given_up = await asyncio.shield(asyncio.wrap_future(closing))
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        return given_up

    def _has_begun(self) -> bool:
        """Tell whether there can be anything on the loop, or was."""
        return self._closed or self._inbox is not None

    def _checked(self, timeout: float | None) -> float | None:
        """Give the timeout of a close that may be."""
        self._refuse_own_handler()
        if timeout is None:
            return None
        return seconds("timeout", timeout, SECONDS_OR_NONE, least=0.0)

    def _refuse_other_loops(self) -> None:
        """Raise RuntimeError where a coroutine is run by something else than asyncio."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise cannot_await(self.name) from None

    def _refuse_own_thread(self) -> None:
        if self._inbox is not None:
            self._inbox.refuse_own_thread()

    def _refuse_own_handler(self) -> None:
        served, inbox = serving.get(), self._inbox
        if served is None or inbox is None or inbox.loop is None:
            return
        if self._batcher.router.serves(served, inbox.loop):
            raise RuntimeError(
                f"batcher {self.name!r} must not be drained or closed by its own handler, "
                "for which it would wait"
            )

    def _begin_close(self, timeout: float | None) -> ThreadFuture[int] | None:
        with self._opening:
            self._closed = True
            inbox = self._inbox
        if inbox is None:
            return None
        stop = None if self._thread is None else self._thread.stop
        start = functools.partial(start_closing, self._batcher, self._owned, inbox, timeout, stop)
        closing = ThreadFuture(inbox, start, size=0)
        inbox.post(closing)
        if stop is None and not inbox.runs():  # and may never again
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
        self._refuse_other_loops()
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
            notify(f"unclosed {self!r}", ResourceWarning, source=self)
        self._begin_close(None)

    def _refuse(self) -> None:
        """Accept nothing any more, as the program ends; what others run is theirs."""
        if self._inbox is None or self._thread is not None:
            self._closed = True

    def _forget_thread(self) -> None:
        """Forget the thread, in a process that was forked: it did not come along."""
        self._opening = threading.Lock()
        if self._inbox is not None:
            self._inbox.forget_loop()
        if self._thread is not None:
            self._thread = self._inbox = None
            self._batcher = self._make()


def start_closing(
    batcher: Batcher[Any, Any],
    owned: bool,
    inbox: Inbox,
    timeout: float | None,
    stop: Callable[[], object] | None,
) -> asyncio.Task[int]:
    """Refuse items, finish what was accepted, and give up the rest after the timeout; on the loop.

    The task answers how many were given up. A batcher that is owned is closed. ``stop`` ends the
    loop, where it is the bridge's own.
    """
    inbox.closed = True

    async def end() -> int:
        try:
            if owned:
                return await batcher.aclose(timeout)
            given_up = await finish_or_give_up(batcher, inbox, timeout)
            if stop is not None:
                await batcher.drain()
            return given_up
        finally:
            if stop is not None:
                stop()

    return asyncio.create_task(end())


async def finish_or_give_up(batcher: Batcher[Any, Any], inbox: Inbox, timeout: float | None) -> int:
    """Wait for what came through an inbox, and give up the rest after the timeout."""
    await wait_for_accepted(batcher, inbox, timeout)
    return inbox.give_up()


with contextlib.suppress(AttributeError):  # where nothing can fork
    os.register_at_fork(after_in_child=forget_threads)
