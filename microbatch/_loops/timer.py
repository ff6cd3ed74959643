"""Call back at a time, to within microseconds where the event loop lets us.

asyncio's selector rounds a wait up to a whole millisecond, and uvloop down, and counts from when
its turn began: at 3 ms it is half a millisecond to one late. The timer that the loop's batchers
share is true to some ten microseconds on both.

Far waits go to the loop's own timer all the same. There a millisecond is one part in fifty or less;
and they are timeouts of seconds, mostly, of which nearly all are cancelled, one after the other.
With the loop this costs no call to the system.
"""

import asyncio
import contextlib
import sys
import time
import weakref
from collections.abc import Callable
from contextvars import Context
from typing import Protocol

from microbatch._loops.loop_timer import LoopTimer, timer_of

__all__ = ["Timer", "TimerHandle", "clock_of"]

FAR = 0.05
"""Seconds; from here on a loop's own timer is exact enough."""


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
    """The calls of one lane, of which at most one is outstanding; its callbacks run in ``context``.

    For the loop's own thread; but the timer may go in any.
    """

    _shared: weakref.ref[LoopTimer] | None = None
    _number = -1  # of the call that the shared timer has, or had

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float], context: Context
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._context = context
        self._precise = clock is time.monotonic

    def call_at(self, when: float, callback: Callable[[], object]) -> TimerHandle:
        """Call ``callback`` at ``when`` on the clock, or a little later."""
        if self._precise and when - self._clock() < FAR:
            shared = self._known() or self._join()
            if shared is not None:
                self._number = shared.call_at(when, callback, self._context)
                return self
        return self._loop.call_at(when, callback, context=self._context)

    def cancel(self) -> None:
        """Take back the call that the shared timer has."""
        shared = self._known()
        if shared is not None:
            shared.cancel(self._number)

    def close(self) -> None:
        """Leave the shared timer, which closes with the last to leave; the next near wait joins."""
        self.cancel()
        shared = self._leave()
        if shared is not None:
            shared.close_unused(self._loop)

    def __del__(self) -> None:
        shared = self._leave()
        if shared is not None and not shared.users:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(
                    shared.close_unused, self._loop, context=self._context
                )

    def _known(self) -> LoopTimer | None:
        """Give the shared timer, where it was joined and has not gone with its loop."""
        shared = None if self._shared is None else self._shared()
        return shared if shared is not None and shared.usable else None

    def _join(self) -> LoopTimer | None:
        shared = timer_of(self._loop)
        if shared is None:
            self._precise = False
            return None
        shared.users.add(id(self))
        self._shared, self._number = weakref.ref(shared), -1
        return shared

    def _leave(self) -> LoopTimer | None:
        shared = self._known()
        if shared is not None:
            shared.drop(id(self), self._number)
        self._shared = None
        return shared
