"""Finish, when the program ends, what loops in threads of their own have accepted.

An interpreter ends in two steps, and this goes with them. First the main thread has ended. Other
threads may go on for as long as they like, but executors take work no longer than this; so what was
accepted is finished now. When those other threads have ended too, nothing new is accepted any more,
the rest is finished, and what is not after a time is given up and told of.
"""

import asyncio
import atexit
import contextlib
import importlib
import sys
import threading
import time
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar, cast

from microbatch._dispatch.notices import notify
from microbatch._threads.inbox import Inbox, ThreadFuture
from microbatch._threads.loop_thread import LoopThread
from microbatch.batcher import Batcher
from microbatch.errors import BatcherClosedError

__all__ = ["EXIT_TIMEOUT", "FinishingThread", "forget_threads", "in_use", "wait_for_accepted"]

R = TypeVar("R")

EXIT_TIMEOUT = 10.0
"""Seconds; a program that is asked to end is seldom granted less than this."""
GRACE = 0.25
"""Seconds for a loop to give up what it is told to, and for handlers to end once cancelled."""
EXECUTORS = ("concurrent.futures.thread", "concurrent.futures.process")
"""Modules that take no more work once their own functions for the end were called."""


class FinishingThread(LoopThread):
    """The thread of a batcher's loop, which finishes what it accepted when the program ends."""

    def __init__(
        self,
        batcher: Batcher[Any, Any],
        timeout: float | None,
        loop_factory: Callable[[], AbstractEventLoop] | None,
    ) -> None:
        super().__init__(batcher.name, loop_factory)
        self._batcher = batcher
        self._timeout = timeout
        self._until: float | None = None
        self._accepted: ThreadFuture[None] | None = None
        self._pending = threading.Lock()
        self._closing = False
        self._in_vain: set[ThreadFuture[Any]] | None = None

    def start(self) -> None:
        """Run the loop; when that is interrupted, it ends."""
        program_exit.prepare()
        running.add(self)
        try:
            super().start()
        except BaseException:
            running.discard(self)
            raise

    def _run(self) -> None:
        try:
            super()._run()
        finally:
            running.discard(self)

    # -------------------------------------------------------------------- at the end of the program
    def finish(self, *, accept: bool) -> None:
        """Begin to finish what was accepted; unless ``accept``, nothing else is any more."""
        timeout = self._timeout
        if self._in_vain is not None and self.inbox.unsettled() <= self._in_vain:
            timeout = 0.0  # it was waited for already
        self._until = None if timeout is None else time.monotonic() + timeout
        self._closing = self.inbox.closed

        async def finish() -> None:
            await wait_for_accepted(self._batcher, self.inbox)

        pending = threading.Lock()
        pending.acquire()  # the loop releases it, or whoever loses the errand
        self._pending = pending
        self._accepted = self._post(finish, refuse=not accept)
        self._accepted.add_done_callback(lambda _: pending.release())

    def wait(self) -> None:
        """Wait until it is finished, for as long as it may take."""
        # Nothing but this one call may be interrupted; a future's condition is no such thing.
        left = self._left()
        self._pending.acquire(timeout=-1 if left is None else left)
        if self._closing:
            self.join(self._left())

    def hurry(self) -> None:
        """Wait for nothing any more."""
        self._timeout = 0.0

    def _left(self) -> float | None:
        if self._until is None:
            return None
        return min(max(0.0, self._until - time.monotonic()), threading.TIMEOUT_MAX)

    def look(self) -> bool:
        """Tell whether it is finished, and remember what was waited for in vain."""
        accepted = self._accepted is not None and self._accepted.done()
        finished = accepted and (not self._closing or self.join(0))
        self._in_vain = None if finished else self.inbox.unsettled()
        return finished

    def give_up(self) -> int:
        """Fail what is not settled, cancel its handlers, and give how many items it was."""
        given_up: list[int] = []

        async def give_up() -> None:
            given_up.append(self.inbox.give_up())
            await self._batcher.drain()

        with contextlib.suppress(TimeoutError, BatcherClosedError):
            self._post(give_up).result(GRACE)
        lost = self.inbox.lose()  # all, where the loop is blocked
        return lost + sum(given_up)

    def _post(
        self, function: Callable[[], Coroutine[Any, Any, R]], *, refuse: bool = False
    ) -> ThreadFuture[R]:
        """Run a coroutine function on the loop, and refuse what comes later, if asked to."""

        def start() -> asyncio.Task[R]:
            self.inbox.closed = self.inbox.closed or refuse
            return asyncio.create_task(function())

        answer = ThreadFuture[R](self.inbox, start, size=0)
        self.inbox.post(answer)
        return answer

    def tell(self, given_up: int) -> None:
        """Warn of what was given up."""
        notify(
            f"the program ended with unfinished items of batcher {self._batcher.name!r}: "
            f"{given_up}; close() it before, or give it a longer exit_timeout",
            RuntimeWarning,
        )


async def wait_for_accepted(
    batcher: Batcher[Any, Any], inbox: Inbox, timeout: float | None = None
) -> None:
    """Dispatch what came through an inbox without companions, and wait until it is settled."""
    batcher.flush()
    if works := [work for answer, work in inbox.pending.items() if answer.size]:
        await asyncio.wait(cast("list[asyncio.Future[Any]]", works), timeout=timeout)


class Used(Protocol):
    """What threads submit to."""

    def _refuse(self) -> object:
        """Accept nothing any more."""

    def _forget_thread(self) -> object:
        """Forget the thread, which did not come along to this process."""


class ProgramExit:
    """What was prepared for the end of the program, and how far that has come."""

    def __init__(self) -> None:
        self._executors = 0
        self._begun = False
        self._forked = False
        atexit.register(self.finish_rest)

    def prepare(self) -> None:
        """Register for the end, while executors still take work: who registers last comes first.

        Where this interpreter has nothing to register with, or ends already, it all comes later.
        """
        importlib.import_module(EXECUTORS[0])
        executors = sum(name in sys.modules for name in EXECUTORS)
        if executors > self._executors:
            self._executors = executors
            threading_ends: Any = threading
            with contextlib.suppress(AttributeError, RuntimeError):
                threading_ends._register_atexit(self.finish_accepted)
        if self._forked:  # and if multiprocessing did it, all that was registered is forgotten
            self._forked = False
            atexit.unregister(self.finish_rest)
            atexit.register(self.finish_rest)

    def forget(self) -> None:
        """Forget what the process has begun that this one was forked from."""
        self._begun, self._forked = False, True

    def finish_accepted(self) -> None:
        """Finish what was accepted so far; the main thread has ended, and others may have not."""
        if not self._begun:
            self._begun = True
            finish(accept=True)

    def finish_rest(self) -> None:
        """Accept nothing any more, finish the rest, and give up what takes too long."""
        for each in list(in_use):
            each._refuse()  # pyright: ignore[reportPrivateUsage]
        for thread in finish(accept=False):
            if given_up := thread.give_up():
                thread.tell(given_up)


def finish(*, accept: bool) -> list[FinishingThread]:
    """Finish what all threads have accepted, side by side; give those that did not in their time.

    Whoever interrupts this does not want to wait.
    """
    threads = list(running)
    try:
        for each in threads:
            each.finish(accept=accept)
        for each in threads:
            each.wait()
    except KeyboardInterrupt:
        for each in threads:
            each.hurry()
    return [each for each in threads if not each.look()]


def forget_threads() -> None:
    """Forget all threads, in a process that was forked: none came along."""
    running.clear()
    program_exit.forget()
    for each in list(in_use):
        each._forget_thread()  # pyright: ignore[reportPrivateUsage]


in_use: weakref.WeakSet[Used] = weakref.WeakSet()
running: set[FinishingThread] = set()
program_exit = ProgramExit()
