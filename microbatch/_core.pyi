"""The contract of the core."""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextvars import Context
from types import GenericAlias
from typing import Any, Generic, Literal, Never, ParamSpec, Self, TypeVar, final, overload

from typing_extensions import disjoint_base

from microbatch.errors import CapacityError

_T = TypeVar("_T")
_T_contra = TypeVar("_T_contra", contravariant=True)
_R_co = TypeVar("_R_co", covariant=True)
_P = ParamSpec("_P")

@disjoint_base
class Ticket(Generic[_R_co]):
    """The awaitable answer to one submission; made by a batcher, never by hand.

    Await it, or hand it to whatever takes an asyncio future: ``gather``, ``wait``, ``wait_for``,
    ``shield``, ``as_completed``. It settles exactly once. Cancelling it, or the task that awaits
    it, gives up its items and no others.
    """

    _asyncio_future_blocking: bool
    def __init__(self, *args: Never, **kwargs: Never) -> None: ...
    def __class_getitem__(cls, parameters: Any, /) -> GenericAlias: ...
    @property
    def submitted(self) -> float:
        """When it was submitted, on the loop's clock."""
    @property
    def deadline(self) -> float:
        """When its timeout passes, on the loop's clock; infinity without one."""
    def get_loop(self) -> AbstractEventLoop:
        """Give the event loop that the ticket belongs to."""
    def __await__(self) -> Generator[Any, None, _R_co]: ...
    def done(self) -> bool:
        """Tell whether the ticket has settled: with a result, an exception or a cancellation."""
    def cancelled(self) -> bool:
        """Tell whether the ticket was cancelled."""
    def result(self) -> _R_co:
        """Give the result, or raise what the ticket failed with.

        It is raised each time with the traceback that it came with, so that none grows.
        Raises the loop's CancelledError when it was cancelled, and its InvalidStateError before it
        is done.
        """
    def exception(self) -> BaseException | None:
        """Give what the ticket failed with, None when it has a result; else raise as result()."""
    def cancel(self, msg: Any = None) -> bool:
        """Give up the items, queued or in flight; False when the ticket is done already.

        Settles at once. The handler never sees what was still queued.
        """
    def add_done_callback(
        self, fn: Callable[[Self], object], /, *, context: Context | None = None
    ) -> None:
        """Have ``fn(ticket)`` called by the loop once the ticket is done, in ``context``.

        Without a context it is called in a copy of this call's. Callbacks are called in the order
        in which they were added, never from within this call.
        """
    def remove_done_callback(self, fn: Callable[[Self], object]) -> int:
        """Take back every callback that equals ``fn``; give their number."""

@final
class BatchedCall(Ticket[_R_co], Coroutine[Any, Any, _R_co]):
    """One call of a batched function: a coroutine to whoever asks for one, and a ticket.

    It has been submitted by the call, so awaiting it, a task of it, and ``gather`` wait for the
    same item. A task that is cancelled before its first step gives the item up, and so does
    ``close()``. ``asyncio.wait`` takes no coroutines: ``submit()`` gives what it wants.
    """

    def __await__(self) -> Generator[Any, None, _R_co]: ...
    def send(self, value: Any, /) -> Self: ...
    @overload
    def throw(
        self, kind: type[BaseException], value: Any = None, traceback: Any = None, /
    ) -> Never: ...
    @overload
    def throw(self, kind: BaseException, value: None = None, traceback: Any = None, /) -> Never: ...
    def close(self) -> None:
        """Give the item up, unless it is done."""

@final
class Flight(Generic[_T]):
    """The items of one handler call, from taking them to settling the last."""

    task: Any
    reason: Any
    places: Any
    attempt: int
    @property
    def name(self) -> str: ...
    @property
    def group(self) -> Group | None: ...
    @property
    def batch(self) -> Flight[_T]:
        """What it is a part of, or itself."""
    @property
    def weight(self) -> float: ...
    def __class_getitem__(cls, parameters: Any, /) -> GenericAlias: ...
    @property
    def size(self) -> int: ...
    @property
    def alive(self) -> int: ...
    @property
    def departed(self) -> float: ...
    @property
    def items(self) -> list[_T]: ...
    @property
    def waits(self) -> list[float]: ...
    @property
    def awaited(self) -> tuple[int, ...]: ...
    @property
    def contexts(self) -> list[Context | None]: ...
    @property
    def deadlines(self) -> list[float | None]: ...
    @property
    def first_deadline(self) -> float:
        """When the first of the callers is late; infinity where none ever is."""

    @property
    def failed(self) -> int: ...
    @property
    def ended(self) -> float: ...
    def end(self) -> None: ...
    def settle(
        self, place: int, value: Any, individual: Callable[[BaseException], BaseException]
    ) -> bool: ...
    def part(self, start: int, stop: int) -> Flight[_T]: ...
    def resolve(
        self, results: tuple[Any, ...], individual: Callable[[BaseException], BaseException]
    ) -> None: ...
    def answer(
        self,
        results: tuple[Any, ...],
        own_errors: Callable[
            [Flight[_T], tuple[Any, ...]], Callable[[BaseException], BaseException]
        ],
    ) -> None:
        """Resolve it; ``own_errors`` gives ``individual``, and is asked at the first exception."""
    def fail(self, make_error: Callable[[Ticket[Any]], BaseException]) -> None: ...

@final
class Group:
    """The queued items of one key, in the order in which they are taken.

    ``queued`` counts those that could be taken, and ``weight`` is theirs together. ``in_flight``
    counts the batches of this key that are under way.
    """

    @property
    def key(self) -> Any: ...
    @property
    def queued(self) -> int: ...
    @property
    def weight(self) -> float: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def full(self) -> bool:
        """Whether a batch of it would have no place left."""
    @property
    def heavy(self) -> bool:
        """Whether a batch of it would be as heavy as it may."""
    @property
    def oldest(self) -> float:
        """When the oldest of its queued items was submitted; infinity without one."""

@final
class Histogram:
    """Count values in buckets that grow with them: sixteen for each doubling."""

    def __init__(self) -> None: ...
    @property
    def sum(self) -> float: ...
    @property
    def min(self) -> float: ...
    @property
    def max(self) -> float: ...
    @property
    def buckets(self) -> list[tuple[float, int]]: ...
    def add(self, value: float) -> None: ...

@final
class Measures:
    """The histograms of one lane."""

    @property
    def batch_size(self) -> Histogram: ...
    @property
    def occupancy(self) -> Histogram: ...
    @property
    def queue_wait(self) -> Histogram: ...
    @property
    def handler_time(self) -> Histogram: ...

@final
class Lane:
    """The queue, the deadlines and the wake-ups of one batcher on one loop."""

    slot_free: bool
    in_line: bool
    """Whether handlers may wait in vain for their own batcher though a slot is free."""
    def __init__(
        self,
        loop: Any,
        name: str,
        *,
        clock: Callable[[], float],
        call_soon: Callable[[Callable[[], object]], object],
        call_soon_threadsafe: Callable[[Callable[[], object]], object],
        call_at: Callable[[float, Callable[[], object]], Any],
        on_due: Callable[[], object],
        on_abandoned: Callable[[Flight[Any]], object],
        on_idle: Callable[[], object],
        on_given_up: Callable[[Ticket[Any]], object],
        on_own_wait: Callable[[], object],
        on_callback_error: Callable[[BaseException, Any, Ticket[Any]], object],
        hold: Callable[[], object] | None,
        cancelled_error: Callable[..., BaseException],
        invalid_state_error: Callable[..., BaseException],
        done_future: object,
    ) -> None: ...
    @property
    def loop(self) -> Any: ...
    @property
    def name(self) -> str: ...
    @property
    def closed(self) -> bool: ...
    @property
    def unsettled(self) -> int: ...
    @property
    def joined(self) -> int: ...
    @property
    def grouped(self) -> bool: ...
    @property
    def crowded(self) -> bool: ...
    @property
    def queued(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def submitted(self) -> int: ...
    @property
    def completed(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def cancelled(self) -> int: ...
    @property
    def late(self) -> int: ...
    @property
    def rejected(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def deduplicated(self) -> int: ...
    @property
    def oldest(self) -> float: ...
    @property
    def overdue(self) -> bool: ...
    @property
    def measures(self) -> Measures: ...
    def configure(
        self,
        *,
        max_batch_size: int,
        max_latency: float,
        capacity: int | None,
        overflow: str,
        timeout: float | None,
        max_batch_weight: float | None = None,
        capture: bool = False,
    ) -> None: ...
    def group(
        self,
        *,
        key: Callable[[Any], Any] | None = None,
        weigh: Callable[[Any], float] | None = None,
        priority: Callable[[Any], float] | None = None,
        dedupe: Callable[[Any], Any] | None = None,
        dedupe_in_flight: bool = False,
        refuse_overweight: bool = False,
        ageing: float = 1.0,
        max_batches_per_key: int | None = None,
    ) -> None: ...
    def close(self) -> None: ...
    def dropped_error(self, ticket: Ticket[Any]) -> CapacityError: ...
    def waited(self, seconds: float) -> bool: ...
    def take(self, limit: int) -> Flight[Any]: ...
    def next_group(self, before: float, anyway: bool) -> Group | None: ...
    def take_group(self, group: Group) -> Flight[Any]: ...
    def leave_group(self, flight: Flight[Any]) -> None: ...
    def take_late(self) -> tuple[Flight[Any], Flight[Any], list[Flight[Any]]]: ...
    def take_all(self) -> Flight[Any]: ...
    def began(self, flight: Flight[Any], context: Context) -> None:
        """Know that a handler call for a flight runs in a context, until ended()."""
    def ended(self, flight: Flight[Any]) -> None: ...
    def look_at_waits(self) -> None:
        """Have ``on_own_wait`` called soon."""

    def tell_waits(self) -> None: ...
    def whereabouts(
        self, ticket: Ticket[Any]
    ) -> tuple[list[Flight[Any]], list[Group | None]] | None:
        """Give the batches that a ticket's items are in, and the groups of those that are queued.

        None where it is done, or is no ticket of this lane.
        """
    def take_ticket(self, ticket: Ticket[Any]) -> Flight[Any]:
        """Take what is left of one ticket, which is not done."""
    def fire(self) -> None: ...
    def due(self) -> None: ...
    def rearm(self) -> None: ...
    def wake_soon(self) -> None: ...
    def wake(self) -> None: ...

@disjoint_base
class Router:
    """Know the lane of the running loop."""

    def __init__(self, running_loop: Callable[[], object]) -> None: ...
    def find_lane(self) -> Lane:
        """Give the running loop's lane; for the subclass to say."""

    def check_items(self, items: object) -> None:
        """Raise TypeError for what are not several items; for the subclass to say."""

@disjoint_base
class Front(Generic[_T_contra, _R_co]):
    """What items are submitted to."""

    def __class_getitem__(cls, parameters: Any, /) -> GenericAlias: ...
    def __init__(self, router: Router) -> None: ...
    @property
    def router(self) -> Router: ...
    def submit(
        self,
        item: _T_contra,
        *,
        timeout: float | None = ...,
        weight: float = ...,
        key: Any = ...,
        priority: float = ...,
    ) -> Ticket[_R_co]:
        """Submit one item, and give the ticket to await for its result.

        ``timeout``, in seconds, replaces the option of that name for this item; None is no limit.
        ``weight``, ``key`` and ``priority`` replace what the options would say of it.
        At capacity the item waits for admission, or CapacityError is raised, or the oldest queued
        item is dropped, as ``overflow`` says. Raises BatcherClosedError after closing, and
        RuntimeError where no event loop runs.
        """
    def submit_nowait(
        self,
        item: _T_contra,
        *,
        timeout: float | None = ...,
        weight: float = ...,
        key: Any = ...,
        priority: float = ...,
    ) -> Ticket[_R_co]:
        """Submit one item as submit() does; raise CapacityError where it would have to wait."""
    def _submit_waiting(self, item: _T_contra) -> Ticket[_R_co]:
        """Submit one item as submit() does, and at capacity wait, whatever ``overflow`` says."""
    @overload
    def submit_many(
        self,
        items: Iterable[_T_contra],
        *,
        timeout: float | None = ...,
        key: Any = ...,
        priority: float = ...,
        return_exceptions: Literal[False] = False,
    ) -> Ticket[list[_R_co]]:
        """Submit items with one ticket for all, whose result is the list of their results.

        It settles when all have. Where items fail, it raises the exception of the first of them
        by place, or with ``return_exceptions`` has each exception in its place. The items may be
        handled in several batches. Raises TypeError for what is one item, or has no order, or is a
        table: text, bytes, a mapping, a set, a data frame. For the rest it is as submit().
        """
    @overload
    def submit_many(
        self,
        items: Iterable[_T_contra],
        *,
        timeout: float | None = ...,
        key: Any = ...,
        priority: float = ...,
        return_exceptions: bool,
    ) -> Ticket[list[_R_co | Exception]]: ...

@disjoint_base
class CallableFront(Front[_T_contra, _R_co], Generic[_P, _T_contra, _R_co]):
    """A front that is called as its function would be, and is bound to instances as a method."""

    definition: Any
    @property
    def bound(self) -> dict[int, Any]: ...
    @property
    def instance(self) -> Any: ...
    def set_call(self, arity: int, bind: Callable[..., Any] | None, width: int = 1) -> None: ...
    def pinned(self, instance: Any) -> Self: ...
    def __get__(self, instance: Any, owner: Any = None, /) -> Self: ...
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> BatchedCall[_R_co]: ...

@final
class TimerDescriptor:
    """A Linux timerfd on the monotonic clock, to the microsecond; ``fd`` is -1 without one."""

    def __init__(self) -> None: ...
    @property
    def fd(self) -> int: ...
    def arm(self, when: float) -> None: ...
    def disarm(self) -> None: ...
    def close(self) -> None: ...
