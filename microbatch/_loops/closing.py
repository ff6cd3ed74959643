"""Tell who wants to know that an event loop was closed.

Loops tell nobody. But a closed one forgets what it watched, so something is left with it that
nobody else remembers: the callback for a descriptor on which nothing ever comes. One serves all
batchers of a loop, and costs it nothing until then.
"""

import asyncio
import math
import os
import socket
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextvars import Context
from typing import Protocol

__all__ = ["is_watched", "tell_when_closed"]


class Listener(Protocol):
    """What is told of a loop's end, as long as anybody else remembers it."""

    def loop_closed(self) -> object:
        """Take note that the loop is closed; must not raise."""
        ...


def tell_when_closed(loop: AbstractEventLoop, listener: Listener) -> None:
    """Tell ``listener`` once, from within ``loop.close()``; it is held weakly.

    May be called from any thread. Raises OSError where no descriptor is left, and RuntimeError
    for a loop that is closed already.
    """
    end = ends.get(loop)
    if end is None:
        made = LoopEnd()
        end = ends.setdefault(loop, made)
        if end is made:  # and no other thread was quicker
            end.expect(loop)
    end.listen(listener)


def is_watched(loop: AbstractEventLoop) -> bool:
    """Tell whether the loop watches a descriptor for nothing but this."""
    end = ends.get(loop)
    return end is not None and end.silent is not None


class LoopEnd:
    """Call the listeners of one loop when it is closed."""

    def __init__(self) -> None:
        self.silent: SilentDescriptor | None = None
        self._listeners: set[weakref.ref[Listener]] = set()

    def listen(self, listener: Listener) -> None:
        """Tell one more."""
        self._listeners.add(weakref.ref(listener, self._listeners.discard))

    def expect(self, loop: AbstractEventLoop) -> None:
        """Leave something with the loop that nobody else remembers."""

        def never() -> None: ...

        finalizer = weakref.finalize(never, self._tell)
        finalizer.atexit = False
        try:
            if asyncio._get_running_loop() is loop:
                self._leave(loop, never)
            else:  # a loop that is closed before it comes to this forgets it, too
                loop.call_soon_threadsafe(self._leave, loop, never, context=Context())
        except BaseException:
            finalizer.detach()
            del ends[loop]
            raise

    def _leave(self, loop: AbstractEventLoop, never: Callable[[], None]) -> None:
        self.silent = SilentDescriptor()
        try:
            # In a context of its own: the loop would keep the first caller's.
            Context().run(loop.add_reader, self.silent.descriptor, never)
        except NotImplementedError:  # Windows' proactor: a timer is forgotten just so
            self._close()
            loop.call_at(math.inf, never, context=Context())
        except OSError:
            self._close()
            raise

    def _close(self) -> None:
        if self.silent is not None:
            self.silent.close()
            self.silent = None

    def _tell(self) -> None:
        self._close()
        for each in list(self._listeners):
            listener = each()
            if listener is not None:
                listener.loop_closed()


class SilentDescriptor:
    """Hold a descriptor on which nothing ever comes."""

    def __init__(self) -> None:
        self._sockets: tuple[socket.socket, ...] = ()
        if hasattr(os, "eventfd"):
            self.descriptor = os.eventfd(0)
        else:
            self._sockets = socket.socketpair()
            self.descriptor = self._sockets[0].fileno()

    def close(self) -> None:
        """Give it back."""
        if not self._sockets:
            os.close(self.descriptor)
        for each in self._sockets:
            each.close()


ends: weakref.WeakKeyDictionary[AbstractEventLoop, LoopEnd] = weakref.WeakKeyDictionary()
