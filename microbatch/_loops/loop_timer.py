"""One precise timer for each event loop, whoever waits on it.

It is a Linux timerfd that the loop watches, and a heap of the calls that are outstanding. The
descriptor is set for the earliest of these: anew where an earlier one comes, when it fires, and
when none is left, but not for each call. While no call is outstanding it is not set, so that an
idle loop wakes for nothing.

The loop owns its timer, through what it calls when the descriptor is readable; everybody else
refers to it weakly. So a loop that is closed gives the descriptor back, and until then a call that
is outstanding is as safe from the garbage collector as one of ``loop.call_at``.
"""

import asyncio
import contextlib
import itertools
import math
import os
import time
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextvars import Context
from heapq import heappop, heappush

from microbatch._core import TimerDescriptor

__all__ = ["LoopTimer", "timer_of"]

SPARE = 64
"""Cancelled calls beyond as many as are outstanding; with more, they leave the heap at once."""

SETTING = -math.inf
"""Earlier than any call."""


class LoopTimer:
    """Call back at times on the monotonic clock; for the thread of one event loop alone.

    ``users`` are those that may have calls, by any number of their own: with the last of them the
    descriptor goes.

    A garbage collection may drop users, and add calls, in the midst of any method. So dropping only
    takes from a dict and a set, and what is added while the descriptor is being set leaves that to
    who sets it.
    """

    def __init__(self, descriptor: TimerDescriptor) -> None:
        self.usable = True
        self.users: set[int] = set()
        self._descriptor = descriptor
        self._numbers = itertools.count()
        self._calls: dict[int, tuple[Callable[[], object], Context]] = {}
        self._heap: list[tuple[float, int]] = []  # of these, and of some that were cancelled
        self._set_for = math.inf  # at most the earliest in the heap; SETTING: it is being set

    def call_at(self, when: float, callback: Callable[[], object], context: Context) -> int:
        """Call ``callback`` in ``context`` at ``when``, or a little later; give its number."""
        number = next(self._numbers)
        self._calls[number] = callback, context
        heappush(self._heap, (when, number))
        if len(self._heap) > 2 * len(self._calls) + SPARE:
            self._forget_cancelled()
        if self._heap[0][0] < self._set_for:
            self._set()
        return number

    def cancel(self, number: int) -> None:
        """Never make this call, if it is not made already."""
        outstanding = self._calls.pop(number, None)
        if outstanding is not None and not self._calls and self._set_for != SETTING:
            self._set()

    def drop(self, user: int, number: int) -> None:
        """Forget a user and its call; from any thread."""
        self._calls.pop(number, None)
        self.users.discard(user)

    def close_unused(self, loop: AbstractEventLoop) -> None:
        """Give the descriptor back, unless there is a user, or the loop is another process's."""
        if self.users or not self.usable:
            return
        self.usable = False
        with contextlib.suppress(RuntimeError):  # of a loop that is closed
            loop.remove_reader(self._descriptor.fd)
        self._descriptor.close()

    def fired(self) -> None:
        """Make the calls that are due, and set the descriptor for the next."""
        now, end = time.monotonic(), next(self._numbers)
        self._set_for = SETTING
        try:
            while self._heap and self._heap[0][0] <= now and self._heap[0][1] < end:
                call = self._calls.pop(heappop(self._heap)[1], None)
                if call is not None:
                    make(*call)
        finally:
            self._set()

    def _set(self) -> None:
        """Set the descriptor for the earliest call that is outstanding."""
        self._set_for = SETTING
        while self._heap and self._heap[0][1] not in self._calls:
            heappop(self._heap)
        earliest = self._heap[0][0] if self._heap else math.inf
        if self.usable and earliest < math.inf:
            self._descriptor.arm(earliest)
        elif self.usable:
            self._descriptor.disarm()
        self._set_for = earliest
        if self._heap and self._heap[0][0] < earliest:  # this one came meanwhile
            self._set()

    def _forget_cancelled(self) -> None:
        heap, self._heap = self._heap, []
        for each in heap:
            if each[1] in self._calls:
                heappush(self._heap, each)


def make(callback: Callable[[], object], context: Context) -> None:
    """Make a call; what it raises is the loop's to report, as with its own timers."""
    try:
        context.run(callback)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        asyncio.get_running_loop().call_exception_handler(
            {"message": f"Exception in callback {callback!r}", "exception": error}
        )


def timer_of(loop: AbstractEventLoop) -> LoopTimer | None:
    """Give the timer of a loop, to its own thread; None where there can be none.

    That is without timerfds or descriptors, and where the loop watches no descriptors.
    """
    known = timers.get(loop)
    timer = None if known is None else known()
    return timer if timer is not None and timer.usable else open_timer(loop)


def open_timer(loop: AbstractEventLoop) -> LoopTimer | None:
    """Make a timer whose descriptor the loop watches; None where there is none."""
    descriptor = TimerDescriptor()
    if descriptor.fd < 0:
        return None
    timer = LoopTimer(descriptor)
    try:
        # In a context of its own: the loop would keep the first caller's.
        Context().run(loop.add_reader, descriptor.fd, timer.fired)
    except NotImplementedError:
        descriptor.close()
        return None
    timers[loop] = weakref.ref(timer)
    return timer


def leave_to_parent() -> None:
    """Touch no timer of the process that this one was forked from: they share the descriptors."""
    for each in list(timers.values()):
        timer = each()
        if timer is not None:
            timer.usable = False


# Of each entry only the loop's own thread knows.
timers: weakref.WeakKeyDictionary[AbstractEventLoop, weakref.ref[LoopTimer]] = (
    weakref.WeakKeyDictionary()
)

with contextlib.suppress(AttributeError):  # where nothing can fork
    os.register_at_fork(after_in_child=leave_to_parent)
