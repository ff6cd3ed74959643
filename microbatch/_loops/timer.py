"""Call back at a time, to within microseconds where the event loop lets us.

asyncio's selector rounds a wait up to a whole millisecond, and uvloop rounds it down, to none at
all below one. A Linux timerfd that the loop watches is true to some ten microseconds on both, so
short waits go there; a wait of some milliseconds doesn't notice the rounding.
"""

import asyncio
import contextlib
import sys
import time
import weakref
from collections.abc import Callable
from contextvars import Context
from typing import Protocol

from microbatch._core import TimerDescriptor

__all__ = ["Timer", "TimerHandle", "clock_of"]

SHORT = 0.002
"""Seconds; below this a loop's own timer is too coarse."""


class TimerHandle(Protocol):
    """What can be cancelled."""

    def cancel(self) -> object:
        """Never call back."""


def clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """Give the loop's clock: ``time.monotonic`` itself wherever the loop goes by that."""
    kind = type(loop)
    uvloop = sys.modules.get("uvloop")
    if getattr(kind, "time", None) is asyncio.BaseEventLoop.time or (
        uvloop is not None and kind.time is uvloop.Loop.time
    ):
        return time.monotonic
    return loop.time


class Timer:
    """The one timer of a lane: at most one call is outstanding."""

    _descriptor: TimerDescriptor | None = None

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float], context: Context
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._context = context
        self._precise = clock is time.monotonic
        self._callback: Callable[[], object] | None = None

    def call_at(self, when: float, callback: Callable[[], object]) -> TimerHandle:
        """Call ``callback`` at ``when`` on the clock, or a little later."""
        if self._precise and when - self._clock() < SHORT and self._open():
            assert self._descriptor is not None
            self._callback = callback
            self._descriptor.arm(when)
            return self
        return self._loop.call_at(when, callback, context=self._context)

    def cancel(self) -> None:
        """Take back the call that the descriptor stands for."""
        self._callback = None
        if self._descriptor is not None:
            self._descriptor.disarm()

    def close(self) -> None:
        """Give the descriptor back to the system; the next short wait opens another."""
        descriptor, self._descriptor, self._callback = self._descriptor, None, None
        if descriptor is not None:
            with contextlib.suppress(RuntimeError):  # of a loop that is closed
                self._loop.remove_reader(descriptor.fd)
            descriptor.close()

    def __del__(self) -> None:
        if self._descriptor is not None:
            forget(self._loop, self._descriptor)

    def _open(self) -> bool:
        """Have the loop watch a descriptor; tell whether it does."""
        if self._descriptor is not None:
            return True
        descriptor = TimerDescriptor()
        if descriptor.fd < 0:
            self._precise = False
            return False
        fired = weakref.WeakMethod(self._fired)
        try:
            self._context.copy().run(
                self._loop.add_reader, descriptor.fd, call_weakly, fired, descriptor
            )
        except NotImplementedError:
            self._precise = False
            descriptor.close()
            return False
        self._descriptor = descriptor
        return True

    def _fired(self) -> None:
        assert self._descriptor is not None
        self._descriptor.disarm()
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


def call_weakly(method: "weakref.WeakMethod[Callable[[], None]]", _: TimerDescriptor) -> None:
    """Call a bound method unless its object is gone.

    What the loop watches keeps nothing alive but the descriptor, which must not be closed under it.
    """
    function = method()
    if function is not None:
        function()


def forget(loop: asyncio.AbstractEventLoop, descriptor: TimerDescriptor) -> None:
    """Stop watching, from the loop's own thread, and then close the descriptor."""

    def stop() -> None:
        loop.remove_reader(descriptor.fd)
        descriptor.close()

    try:
        loop.call_soon_threadsafe(stop)
    except RuntimeError:  # the loop is closed
        descriptor.close()
