"""A lane of one core in a world where nothing moves by itself: clock, timers and calls by hand."""

from __future__ import annotations

import contextvars
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

CALLER: contextvars.ContextVar[str] = contextvars.ContextVar("caller", default="nobody")


class Cancelled(BaseException):
    """Stand for asyncio.CancelledError."""


class InvalidState(Exception):
    """Stand for asyncio.InvalidStateError."""


class Handle:
    """What ``call_at`` gives."""

    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class World:
    """Drive one lane, and write down whatever it says in ``log``."""

    def __init__(
        self,
        core: ModuleType,
        *,
        pin: Callable[[], object] | None = None,
        free_slots: int = 1000,
        **options: Any,
    ) -> None:
        self.core = core
        self.now = 100.0
        self.log: list[tuple[Any, ...]] = []
        self.soon: list[Callable[[], object]] = []
        self.handles: list[Handle] = []
        self.on_due: Callable[[], object] = lambda: self.log.append(("due",))
        self.lane = self._make_lane(core, pin)
        self.options: dict[str, Any] = {
            "max_batch_size": 4,
            "max_latency": 0.0,
            "capacity": None,
            "overflow": "wait",
            "timeout": None,
        }
        self.configure(**options)
        self.lane.free_slots = free_slots
        self.submitter = core.Submitter(make_router(core, self.lane))

    def _make_lane(self, core: ModuleType, pin: Callable[[], object] | None) -> Any:
        return core.Lane(
            "the loop",
            "embed",
            clock=lambda: self.now,
            call_soon=self.soon.append,
            call_soon_threadsafe=self.soon.append,
            call_at=self._call_at,
            on_due=lambda: self.on_due(),  # noqa: PLW0108 (tests replace it)
            on_abandoned=lambda batch: self.log.append(("abandoned", batch)),
            on_idle=lambda: self.log.append(("idle",)),
            on_given_up=lambda ticket: ticket.cancel(),
            on_own_wait=lambda: self.log.append(("own wait",)),
            on_callback_error=lambda error, callback, ticket: self.log.append(
                ("reported", error, callback, ticket)
            ),
            pin=pin,
            cancelled_error=Cancelled,
            invalid_state_error=InvalidState,
            done_future="done",
        )

    def _call_at(self, when: float, callback: Callable[[], object]) -> Handle:
        self.handles.append(Handle(when, callback))
        return self.handles[-1]

    # ------------------------------------------------------------------------------- what happens
    @property
    def armed(self) -> float:
        """When the timer goes off; infinity while none is set."""
        outstanding = [handle.when for handle in self.handles if not handle.cancelled]
        assert len(outstanding) <= 1
        return outstanding[0] if outstanding else math.inf

    def run_soon(self) -> None:
        """Do what an event loop does in one turn, but for its timers."""
        callbacks, self.soon[:] = self.soon[:], []
        while callbacks:
            try:
                callbacks.pop(0)()
            except BaseException:
                self.soon[:0] = callbacks
                raise

    def run_all(self) -> None:
        """Take turns until nothing is left to do."""
        while self.soon:
            self.run_soon()

    def advance(self, seconds: float) -> None:
        """Let time pass, and then fire the timer that went off meanwhile."""
        self.now += seconds
        for handle in self.handles:
            if not handle.cancelled and handle.when <= self.now:
                handle.cancelled = True
                handle.callback()

    # -------------------------------------------------------------------------------- short hands
    def submit(self, *items: Any, **options: Any) -> list[Any]:
        """Submit items one by one, and give their tickets."""
        return [self.submitter.submit(item, **options) for item in items]

    def configure(self, **options: Any) -> None:
        """Change these options, and leave the others as they are."""
        self.options = {**self.options, **options}
        self.lane.configure(**self.options)

    def next_batch(self) -> Any:
        """Take the batch that should go now; None where none should."""
        taken = self.lane.next_batch()
        if taken is None:
            return None
        batch, items = taken
        assert items == batch.items
        return batch

    def take(self, limit: int | None = None) -> Any:
        """Take a batch of what is queued now, with a slot of its own; None of nothing."""
        usual, free = self.options["max_batch_size"], self.lane.free_slots
        if limit is not None:
            self.configure(max_batch_size=limit)
        self.lane.free_slots = 1
        self.lane.flush()
        batch = self.next_batch()
        self.lane.free_slots = free
        if limit is not None:
            self.configure(max_batch_size=usual)
        return batch

    def take_items(self, limit: int | None = None) -> list[Any]:
        """Take a batch of what is queued now, and give its items."""
        batch = self.take(limit)
        return [] if batch is None else batch.items

    def due_items(self) -> list[Any]:
        """Take the batch that should go now, and give its items; none where all should wait."""
        batch = self.next_batch()
        return [] if batch is None else batch.items

    def handle(self, limit: int | None = None) -> Any:
        """Take a batch, and settle each item with itself, in upper case."""
        batch = self.take(limit)
        batch.resolve(tuple(item.upper() for item in batch.items), own)
        return batch

    def watch(self, ticket: Any, name: str, act: Callable[[], object] = lambda: None) -> Any:
        """Add a callback that writes down its call and then acts; give the callback."""

        def callback(ticket: Any) -> None:
            self.log.append(("called", name, CALLER.get()))
            act()

        ticket.add_done_callback(callback)
        return callback

    def called(self) -> list[str]:
        """Name the callbacks that were called, in order."""
        return [entry[1] for entry in self.log if entry[0] == "called"]

    def counters(self) -> dict[str, int]:
        names = ("submitted", "completed", "failed", "cancelled", "late", "dropped", "rejected")
        return {name: getattr(self.lane, name) for name in names if getattr(self.lane, name)}


def make_router(core: ModuleType, lane: Any) -> Any:
    class OneLane(core.Router):  # type: ignore[name-defined,misc]
        def find_lane(self) -> Any:
            return lane

    return OneLane(lambda: lane.loop)


def own(error: BaseException) -> BaseException:
    """Make one caller's own copy of an error, as the lane's owner does."""
    return type(error)(*error.args, "own")


def outcome(ticket: Any) -> Any:
    """Give a ticket's result, or the exception that ``result()`` raises."""
    try:
        return ticket.result()
    except BaseException as error:
        return error
