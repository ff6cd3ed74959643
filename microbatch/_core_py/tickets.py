"""Tickets: the awaitables that callers get, in the protocol of asyncio's futures."""

# The classes of the core share their internals.
# pyright: reportPrivateUsage=false

from collections.abc import Callable, Generator
from contextvars import Context, copy_context
from types import EllipsisType, GenericAlias
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from microbatch._core_py.lanes import Lane
    from microbatch._core_py.slots import Slot

Timeout: TypeAlias = float | EllipsisType | None
"""Seconds, None for no limit, or ``...`` for the lane's own."""

QUEUED, IN_FLIGHT = "queued", "in flight"
RETURNED, RAISED, CANCELLED = "returned", "raised", "cancelled"
PENDING = (QUEUED, IN_FLIGHT)


class Ticket:
    """Be the awaitable answer to one submission; made by a batcher, never by hand.

    Await it, or hand it to whatever takes an asyncio future: ``gather``, ``wait``, ``wait_for``,
    ``shield``, ``as_completed``. It settles exactly once. Cancelling it, or the task that awaits
    it, gives up its items and no others.
    """

    __slots__ = (
        "_asyncio_future_blocking",  # the mark of a future, and its handshake with a task
        "_callbacks",
        "_captured",  # the context of the submission, where the lane captures it
        "_lane",
        "_own_deadline",  # out of line, so it stands in the heap
        "_own_timeout",  # given with this ticket alone
        "_slots",
        "_state",
        "_value",  # the result, the exception, or the message of a cancellation
        "deadline",
        "submitted",
    )

    def __class_getitem__(cls, parameters: Any) -> GenericAlias:
        return GenericAlias(cls, parameters)

    def __init__(self) -> None:
        raise TypeError("a Ticket is made by submitting an item, never by hand")

    def _start(self, lane: "Lane", timeout: Timeout) -> None:
        self._asyncio_future_blocking = False
        self._callbacks: list[tuple[Callable[[Any], object], Context]] = []
        self._slots: list[Slot] = []
        self._lane = lane
        self._own_deadline = self._own_timeout = timeout is not ...
        self._captured = copy_context() if lane._capture else None
        self._state = QUEUED
        self._value: Any = None
        self.submitted = lane._clock()
        self.deadline = self.submitted + lane._seconds(timeout)

    def __await__(self) -> Generator[Any, None, Any]:
        while not self.done():
            self._asyncio_future_blocking = True
            yield self
        return self.result()

    def get_loop(self) -> Any:
        """Give the event loop that the ticket belongs to."""
        return self._lane.loop

    def done(self) -> bool:
        """Tell whether the ticket has settled: with a result, an exception or a cancellation."""
        return self._state not in PENDING

    def cancelled(self) -> bool:
        """Tell whether the ticket was cancelled."""
        return self._state == CANCELLED

    def result(self) -> Any:
        """Give the result, or raise what the ticket failed with.

        Raises the loop's CancelledError when it was cancelled, and its InvalidStateError before it
        is done.
        """
        if self._state == RETURNED:
            return self._value
        if self._state == RAISED:
            # Without this every call would add to the same traceback.
            raise self._value.with_traceback(None)
        raise self._why_no_result()

    def exception(self) -> BaseException | None:
        """Give what the ticket failed with, None when it has a result; else raise as result()."""
        if self._state == RETURNED:
            return None
        if self._state == RAISED:
            error: BaseException = self._value
            return error
        raise self._why_no_result()

    def _why_no_result(self) -> BaseException:
        if self._state == CANCELLED:
            return self._make_cancelled_error()
        return self._lane._invalid_state_error("the result is not there yet")

    def _make_cancelled_error(self) -> BaseException:
        """Make the CancelledError of this ticket; asyncio asks for it by this name."""
        message = () if self._value is None else (self._value,)
        return self._lane._cancelled_error(*message)

    @property
    def _cancel_message(self) -> Any:  # asyncio.gather reads it
        return self._value if self._state == CANCELLED else None

    def __reduce__(self) -> Any:
        raise TypeError("cannot copy or pickle a Ticket")

    def cancel(self, msg: Any = None) -> bool:
        """Give up the items, queued or in flight; False when the ticket is done already.

        Settles at once. The handler never sees what was still queued.
        """
        if self.done():
            return False
        self._lane._cancel(self, msg)
        return True

    def add_done_callback(
        self, fn: Callable[[Any], object], /, *, context: Context | None = None
    ) -> None:
        """Have ``fn(ticket)`` called by the loop once the ticket is done, in ``context``.

        Without a context it is called in a copy of this call's. Callbacks are called in the order
        in which they were added, never from within this call.
        """
        self._callbacks.append((fn, copy_context() if context is None else context))
        if self.done() and len(self._callbacks) == 1:
            self._lane._waker.add(self)
            self._lane._waker.soon()

    def remove_done_callback(self, fn: Callable[[Any], object]) -> int:
        """Take back every callback that equals ``fn``; give their number."""
        before = len(self._callbacks)
        self._callbacks = [pair for pair in self._callbacks if pair[0] != fn]
        return before - len(self._callbacks)

    def _store(self, index: int, state: str, value: Any) -> str | None:  # noqa: ARG002
        """Keep an item's outcome, and give the ticket's own once it is known."""
        self._value = value
        return state

    def __repr__(self) -> str:
        return f"<Ticket of {self._lane.name!r}: {self._state}>"


class Many(Ticket):
    """Be the one ticket of many items; its result is the list of theirs, in their order."""

    __slots__ = ("_failures", "_remaining", "_return_exceptions", "_values")

    def _start_many(self, count: int, return_exceptions: bool) -> None:
        self._values: list[Any] = [None] * count
        self._remaining = count
        self._failures: list[int] = []
        self._return_exceptions = return_exceptions

    def _store(self, index: int, state: str, value: Any) -> str | None:
        self._values[index] = value
        if state == RAISED:
            self._failures.append(index)
        self._remaining -= 1
        return None if self._remaining else self._conclude()

    def _conclude(self) -> str:
        """Make one outcome of all: the list, or the first of the failures by its place."""
        if self._failures and not self._return_exceptions:
            self._value = self._values[min(self._failures)]
            return RAISED
        self._value = self._values
        return RETURNED
