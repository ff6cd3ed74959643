"""Carry calls from any thread to one event loop, and their outcomes back."""

import asyncio
import concurrent.futures
import contextlib
import threading
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, Generic, Protocol, TypeVar

from microbatch._handlers.own_exceptions import individual
from microbatch._loops.closing import tell_when_closed
from microbatch.errors import BatcherClosedError

__all__ = ["Inbox", "ThreadFuture", "Work"]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Work(Protocol[R_co]):
    """What is under way on the loop: a ticket or a task."""

    def cancel(self) -> bool:
        """Give it up."""
        ...

    def cancelled(self) -> bool:
        """Tell whether it was given up."""
        ...

    def result(self) -> R_co:
        """Give the result."""
        ...

    def exception(self) -> BaseException | None:
        """Give what it failed with."""
        ...

    def add_done_callback(self, fn: Callable[[Any], object], /) -> object:
        """Call ``fn`` with it, once it is done."""
        ...


class ThreadFuture(concurrent.futures.Future[R], Generic[R]):
    """The future of one call: begun on the loop, awaited by threads.

    It counts as pending until it is done, so it can be cancelled until then; that gives up the
    items. Waiting for it in the loop's own thread raises RuntimeError.
    """

    def __init__(self, inbox: "Inbox", start: Callable[[], Work[R]], size: int = 1) -> None:
        super().__init__()
        self.size = size
        """How many items it stands for; an errand has none."""
        self._start: Callable[[], Work[R]] | None = start
        self._inbox = inbox
        self._told = False

    # ---------------------------------------------------------------------------- for any thread
    def result(self, timeout: float | None = None) -> R:
        """Wait for the result, at most ``timeout`` seconds, as futures do."""
        self._refuse_to_wait()
        try:
            return super().result(timeout)
        finally:
            del self  # or what it failed with would know itself, by its traceback

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the failure, at most ``timeout`` seconds, as futures do."""
        self._refuse_to_wait()
        return super().exception(timeout)

    def _refuse_to_wait(self) -> None:
        if not self.done():
            self._inbox.refuse_to_wait()

    def cancel(self) -> bool:
        """Give up the items; False when it is done already."""
        if not super().cancel():
            return False
        self._inbox.post(self)
        return True

    # ------------------------------------------------------------------------------- on the loop
    def step(self) -> None:
        """Begin, or give up what was cancelled, once more if need be."""
        start, self._start = self._start, None
        if self.cancelled():
            self._tell_cancelled()
            if self in self._inbox.pending:
                self._inbox.pending[self].cancel()
        else:
            assert start is not None  # it comes a second time only when it was cancelled
            self._begin(start)

    def _begin(self, start: Callable[[], Work[R]]) -> None:
        try:
            if self._inbox.ended or (self.size and self._inbox.closed):
                raise self._inbox.closed_error()
            work = start()
        except Exception as error:
            self._fail(error)
        except BaseException as error:  # an eager handler that exits; it goes its own way
            self._fail(individual(error))
            raise
        else:
            self._inbox.keep(self, work)
            work.add_done_callback(self._settle)

    def _settle(self, work: Work[R]) -> None:
        self._inbox.let_go(self)
        if work.cancelled():  # unless the caller did it, the loop ends
            self._fail(self._inbox.closed_error())
        elif (error := work.exception()) is not None:
            self._fail(error)
        else:
            with contextlib.suppress(concurrent.futures.InvalidStateError):  # cancelled meanwhile
                self.set_result(work.result())

    def _fail(self, error: BaseException) -> bool:
        try:
            self.set_exception(error)
        except concurrent.futures.InvalidStateError:  # cancelled meanwhile
            return False
        return True

    def _tell_cancelled(self) -> None:
        """Let those know who wait for several futures."""
        if not self._told:
            self._told = True
            self.set_running_or_notify_cancel()

    def lose(self) -> int:
        """Fail, for nothing comes of it any more; give how many items that were.

        By one thread at a time.
        """
        lost = self._fail(self._inbox.closed_error())
        if self.cancelled():
            self._tell_cancelled()
        return self.size if lost else 0


class Inbox:
    """Bring calls to a loop in the order in which they come, one wake-up for each burst of them.

    An item costs an append and a test. When the loop is gone, whatever is not settled fails with
    BatcherClosedError: one that is ``watched`` learns by itself of a loop that others close.
    """

    def __init__(self, loop: AbstractEventLoop, name: str, *, watched: bool = False) -> None:
        self.pending: dict[ThreadFuture[Any], Work[Any]] = {}
        """What is under way on the loop."""
        self.closed = False
        """Whether items are refused; errands go on."""
        self.ended = False
        """Whether errands are refused too, for the loop is about to be closed."""
        self.loop: AbstractEventLoop | None = loop
        """None in a process that was forked."""
        self._name = name
        self._entries: deque[ThreadFuture[Any]] = deque()
        self._signalled = False
        self._losing = threading.RLock()  # a future's callback may come back here
        if watched:
            tell_when_closed(loop, self)

    def closed_error(self) -> BatcherClosedError:
        """Make the error of an item that is refused or lost."""
        return BatcherClosedError(f"batcher {self._name!r} is closed, or its event loop has ended")

    # --------------------------------------------------------------------------------- any thread
    def post(self, future: ThreadFuture[Any]) -> None:
        """Call ``future.step()`` on the loop, soon."""
        self._entries.append(future)
        # The loop takes the mark away before it looks, so whoever sees the mark will be seen.
        if not self._signalled:
            self._signal()

    def _signal(self) -> None:
        self._signalled = True
        try:
            self._call()
        except RuntimeError:  # the loop is closed, or in another process
            self.lose()
        except BaseException:  # an interrupt, after which nobody would signal for the others
            self._signalled = False
            with contextlib.suppress(RuntimeError):
                self._call()
            raise

    def _call(self) -> None:
        if self.loop is None:
            raise RuntimeError("the loop runs in another process")
        # Without a context of its own it would keep the first caller's.
        signal = Signal(self)
        self.loop.call_soon_threadsafe(signal, context=Context())
        signal.sent = True
        if self.loop.is_closed():  # since the signal was let in, and it will forget it late
            self.lose()

    def refuse_to_wait(self) -> None:
        """Raise where waiting would last for ever: in the loop's own thread, or after a fork."""
        if self.loop is None:
            raise self.closed_error()
        self.refuse_own_thread()

    def refuse_own_thread(self) -> None:
        """Raise RuntimeError in the loop's own thread."""
        if self.loop is not None and asyncio._get_running_loop() is self.loop:
            raise RuntimeError(
                f"batcher {self._name!r} runs on this very event loop, which a blocking call would "
                "stop: await instead (asyncio.wrap_future makes a future awaitable)"
            )

    def unsettled(self) -> "set[ThreadFuture[Any]]":
        """Give the answers for items that are still to come."""
        return {each for each in [*self._entries, *self.pending] if each.size and not each.done()}

    def runs(self) -> bool:
        """Tell whether the loop runs at this moment."""
        return self.loop is not None and self.loop.is_running()

    def lose(self) -> int:
        """Fail whatever is not settled, for the loop is gone; give how many items that were."""
        lost = 0
        with self._losing:
            self._signalled = False
            while self._entries or self.pending:
                with contextlib.suppress(LookupError):
                    lost += self._entries.popleft().lose()
                with contextlib.suppress(LookupError):
                    lost += self.pending.popitem()[0].lose()
        return lost

    def loop_closed(self) -> None:
        """Fail whatever is not settled, for others have closed the loop."""
        self.lose()

    def forget_loop(self) -> None:
        """Forget the loop, in a process that was forked: it runs in the other one."""
        self.loop, self._signalled, self._losing = None, False, threading.RLock()
        self._entries.clear()
        self.pending.clear()

    # ------------------------------------------------------------------------------- on the loop
    def run(self) -> None:
        """Take the steps of all that was posted."""
        self._signalled = False
        try:
            for _ in range(len(self._entries)):  # who comes later has signalled again
                with contextlib.suppress(IndexError):  # lost meanwhile
                    future = self._entries.popleft()
                    future.step()
        finally:
            if self._entries and not self._signalled:  # after an exit request
                self._signal()

    def keep(self, future: ThreadFuture[Any], work: Work[Any]) -> None:
        """Note what is under way."""
        self.pending[future] = work

    def let_go(self, future: ThreadFuture[Any]) -> None:
        """Forget what has ended."""
        self.pending.pop(future, None)

    def give_up(self) -> int:
        """Fail all items that are under way, and cancel them; give their number."""
        items = [(future, work) for future, work in self.pending.items() if future.size]
        given_up = 0
        for future, work in items:
            with self._losing:
                given_up += future.lose()
            work.cancel()
        return given_up


class Signal:
    """Call an inbox to its entries; a loop that is closed before it comes to this forgets it."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox: Inbox | None = inbox
        self.sent = False

    def __call__(self) -> None:
        inbox, self._inbox = self._inbox, None
        assert inbox is not None
        inbox.run()

    def __del__(self) -> None:
        if self.sent and self._inbox is not None:
            self._inbox.lose()
