"""Ctrl-C in two steps: the first stops, the second aborts."""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Interrupts"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Within its context, call ``on_first`` for the first SIGINT or SIGTERM, then ``on_next``.

    Both are called as a signal handler is: in the main thread, between any two instructions, and
    with the signal's number; a loop that waits in that thread is woken for it. A signal that the
    parent process had ignored stays ignored.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_first: Callable[[int], object],
        on_next: Callable[[int], object],
    ) -> None:
        self.received: int | None = None
        """The first signal's number, once there was one."""
        self._loop = loop
        self._on_first = on_first
        self._on_next = on_next
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.getsignal(number)
                # A signal just before the loop goes to sleep would not wake it, but the loop's own
                # handler does. Where there is none, on Windows, the loop needs none.
                with contextlib.suppress(NotImplementedError):
                    self._loop.add_signal_handler(number, lambda: None)
                signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            with contextlib.suppress(NotImplementedError):
                self._loop.remove_signal_handler(number)
            signal.signal(number, before)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.received is None:
            self.received = number
            self._on_first(number)
        else:
            self._on_next(number)
