"""Waking: the callbacks of settled tickets, many of them in one callback of the loop."""

# The classes of the core share their internals.
# pyright: reportPrivateUsage=false

from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from microbatch._core_py.tickets import Ticket

if TYPE_CHECKING:
    from microbatch._core_py.lanes import Lane


class Waker:
    """Call the callbacks of the tickets that one lane has settled."""

    def __init__(
        self,
        lane: "Lane",
        call_soon: Callable[[Callable[[], object]], object],
        on_callback_error: Callable[[BaseException, Any, Any], object],
    ) -> None:
        self._lane = lane
        self._call_soon = call_soon
        self._on_callback_error = on_callback_error
        self._settled: deque[Ticket] = deque()  # whose callbacks are still to be called
        self._scheduled = False

    def add(self, ticket: Ticket) -> None:
        """Have the callbacks of a settled ticket called when they are next."""
        self._settled.append(ticket)

    def soon(self) -> None:
        """Have run_scheduled() called by the loop."""
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self.run_scheduled)

    def run_scheduled(self) -> None:
        """Be what soon() has called."""
        self._scheduled = False
        self.run()
        self._lane._rest_if_idle()

    def run(self) -> None:
        """Call what stands there now; what a callback adds is for the next time."""
        left = len(self._settled)
        try:
            while left and self._settled:  # a callback may call the others itself
                left -= 1
                self._call_back(self._settled.popleft())
        except BaseException:
            self.soon()
            raise

    def _call_back(self, ticket: Ticket) -> None:
        callbacks, ticket._callbacks = ticket._callbacks, []
        try:
            while callbacks:
                self._call(*callbacks.pop(0), ticket)
        finally:
            if callbacks:  # after an exit request: another time, before later ones
                ticket._callbacks[:0] = callbacks
                self.add(ticket)

    def _call(self, callback: Callable[[Any], object], context: Context, ticket: Ticket) -> None:
        try:
            context.run(callback, ticket)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._on_callback_error(error, callback, ticket)
