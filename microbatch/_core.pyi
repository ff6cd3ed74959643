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
class InFlightBatch(Generic[_T]):
    """Items that were taken together, for a handler call or to be settled without one."""

    task: Any
    """Whatever its owner has at work on it; so are ``places`` and ``attempt`` its owner's."""
    reason: Any
    """Why it was taken when it was; None where it has no slot: late items and the like."""
    places: Any
    attempt: int
    def __class_getitem__(cls, parameters: Any, /) -> GenericAlias: ...
    @property
    def name(self) -> str:
        """The name of its lane."""
    @property
    def batch(self) -> InFlightBatch[_T]:
        """What it is a part of, or itself."""
    @property
    def queue(self) -> KeyQueue | None:
        """What it was taken from; None where its items come from here and there."""
    @property
    def key(self) -> Any:
        """The key of its items; None without one."""
    @property
    def size(self) -> int:
        """How many items were taken, settled ones too."""
    @property
    def weight(self) -> float:
        """What the items weighed together that were taken."""
    @property
    def departed(self) -> float:
        """When it was taken, on the lane's clock."""
    @property
    def ended(self) -> float:
        """When its handler call ended, the last where it took several; 0 until then."""
    @property
    def alive(self) -> int:
        """How many items are neither settled nor given up."""
    @property
    def items(self) -> list[_T]:
        """The items that are neither settled nor given up, in order."""
    @property
    def awaited(self) -> tuple[int, ...]:
        """The places of the items that are neither settled nor given up."""
    @property
    def waits(self) -> list[float]:
        """How many seconds each item had waited when it was taken."""
    @property
    def contexts(self) -> list[Context | None]:
        """The context of each item's submission, where it is captured and the item is awaited."""
    @property
    def deadlines(self) -> list[float | None]:
        """When the last caller of each item is late; None where none awaits it any more."""
    @property
    def first_deadline(self) -> float:
        """When the first of the callers is late; infinity where none ever is."""
    @property
    def failed(self) -> int:
        """How many items got an exception, those of its parts too."""
    @property
    def number(self) -> int:
        """Its number among those that were taken for a slot, from 1 on; 0 of others."""
    @property
    def origins(self) -> list[int]:
        """Where the items of a part were seated in what it was parted from."""
    def part(self, start: int, stop: int) -> InFlightBatch[_T]:
        """Move the awaited items of these places into a batch of their own."""
    def settle(
        self, place: int, value: Any, individual: Callable[[BaseException], BaseException]
    ) -> bool:
        """Settle the item at one place as resolve() does; False where nobody awaits it."""
    def resolve(
        self, results: tuple[Any, ...], individual: Callable[[BaseException], BaseException]
    ) -> None:
        """Settle each item with its result; each caller gets ``individual(exception)`` of its own.

        Raises ValueError for another number of results than items.
        """
    def answer(
        self,
        results: tuple[Any, ...],
        own_errors: Callable[
            [InFlightBatch[_T], tuple[Any, ...]], Callable[[BaseException], BaseException]
        ],
    ) -> None:
        """Resolve it; ``own_errors`` gives ``individual``, and is asked at the first exception."""
    def fail(self, make_error: Callable[[Ticket[Any]], BaseException]) -> None:
        """Settle what is awaited with an exception for each caller's ticket."""
    def end(self) -> None:
        """Tell that its last handler call has ended: its key may have another batch under way."""

@final
class KeyQueue:
    """The queued items of one key; what has no key has a queue too, that of None."""

    @property
    def key(self) -> Any: ...
    @property
    def queued(self) -> int:
        """How many admitted items are queued."""
    @property
    def weight(self) -> float:
        """What these weigh together."""
    @property
    def in_flight(self) -> int:
        """How many batches of this key are under way."""

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
    def buckets(self) -> list[tuple[float, int]]:
        """The upper bound and the count of each bucket that holds something, in order."""
    def add(self, value: float) -> None:
        """Count a value."""

@final
class Measures:
    """The histograms of one lane."""

    @property
    def batch_size(self) -> Histogram:
        """How many items each batch had."""
    @property
    def occupancy(self) -> Histogram:
        """How full each batch was, up to 1."""
    @property
    def queue_wait(self) -> Histogram:
        """How many seconds each item waited until it was taken, for admission too."""
    @property
    def handler_time(self) -> Histogram:
        """How many seconds each batch took, to the end of its last handler call.

        All its calls are in it, and the pauses between them.
        """

@final
class Lane:
    """The queue, the deadlines and the wake-ups of one batcher on one loop.

    Its owner gives it a clock and ways to be called back, and takes batches while slots are free.
    ``on_due`` asks the owner to look: at what is late, at what should go, and then to rearm().
    """

    free_slots: int
    """How many slots are free: next_batch() takes one, its owner gives it back."""
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
        on_abandoned: Callable[[InFlightBatch[Any]], object],
        on_idle: Callable[[], object],
        on_given_up: Callable[[Ticket[Any]], object],
        on_own_wait: Callable[[], object],
        on_callback_error: Callable[[BaseException, Any, Ticket[Any]], object],
        pin: Callable[[], object] | None,
        cancelled_error: Callable[..., BaseException],
        invalid_state_error: Callable[..., BaseException],
        done_future: object,
    ) -> None: ...
    def configure(
        self,
        *,
        max_batch_size: int,
        max_latency: float,
        capacity: int | None,
        overflow: str,
        timeout: float | None,
        max_batch_weight: float | None = None,
        key: Callable[[Any], Any] | None = None,
        weigh: Callable[[Any], float] | None = None,
        priority: Callable[[Any], float] | None = None,
        dedupe: Callable[[Any], Any] | None = None,
        dedupe_in_flight: bool = False,
        refuse_overweight: bool = False,
        ageing: float = 1.0,
        max_batches_per_key: int | None = None,
        learns: bool = False,
        capture: bool = False,
        draining: bool = False,
    ) -> None:
        """Go by these options from now on; what is queued goes by its own key, weight and rank.

        ``capture`` keeps the context of each submission. A lane that ``learns`` counts who comes
        back after each batch. While it is ``draining`` nothing waits for company. What is admitted
        stays so when the capacity shrinks.
        """
    @property
    def loop(self) -> Any: ...
    @property
    def name(self) -> str: ...
    @property
    def closed(self) -> bool: ...
    @property
    def draining(self) -> bool: ...
    @property
    def unsettled(self) -> int:
        """How many items of callers are not settled."""
    @property
    def queued(self) -> int:
        """How many items are admitted and in no batch."""
    @property
    def waiting(self) -> int:
        """How many items wait for admission."""
    @property
    def joined(self) -> int:
        """How many unsettled items are handled with an equal one."""
    @property
    def in_flight(self) -> int:
        """How many items are in batches, and not settled."""
    @property
    def submitted(self) -> int:
        """How many items were accepted; each is counted once in what became of it."""
    @property
    def completed(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def cancelled(self) -> int: ...
    @property
    def late(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def rejected(self) -> int:
        """How many items were not accepted."""
    @property
    def deduplicated(self) -> int:
        """How many items have joined an equal one."""
    @property
    def overdue(self) -> bool:
        """Whether take_late() would find something."""
    @property
    def measures(self) -> Measures: ...
    def close(self) -> None:
        """Refuse new items; what is queued waits for no company any more."""
    def flush(self) -> None:
        """Let what is queued now wait for no company any more."""
    def next_batch(self) -> tuple[InFlightBatch[Any], list[Any]] | None:
        """Take the batch that should go now, and a slot; give it with its items.

        None where none should go, or no slot is free. Its ``reason`` is "size", "weight",
        "capacity", "close", "flush", "expected", "latency" or "natural".
        """
    def take_arrivals(self, width: float) -> list[int]:
        """Give how many items have come back after batches, by how soon, and begin anew.

        The first number is of those who came before next_batch() was asked; each other is of
        ``width`` seconds, as it was given the time before.
        """
    def take_ended(self) -> tuple[float, float, float, float, float, float, float, float]:
        """Give sums over the batches that have ended, and begin anew.

        How many they were; their items; these and all other items that were queued or in flight as
        each ended; seconds of handler time; squares of sizes; products of sizes and seconds;
        seconds until the next batch was taken, where one went as soon as it could, and wherever.
        """
    def wait(self, until: float, answered: float, enough: int) -> None:
        """Wait for those who come back after the latest batch, at most until a point in time.

        It ends before when ``enough`` are queued, or when somebody's deadline comes before
        ``answered``, when whoever comes is expected to be answered.
        """
    def take_late(
        self,
    ) -> tuple[InFlightBatch[Any], InFlightBatch[Any], list[InFlightBatch[Any]]]:
        """Take what is late and was not so before: what was queued, and what was in flight.

        The third are the batches that these were in.
        """
    def take_all(self) -> InFlightBatch[Any]:
        """Take every unsettled item, in flight ones too: what is left when closing times out."""
    def take_ticket(self, ticket: Ticket[Any]) -> InFlightBatch[Any]:
        """Take what is left of one ticket, which is not done."""
    def dropped_error(self, ticket: Ticket[Any]) -> CapacityError:
        """Make the error of an item that was dropped."""
    def began(self, batch: InFlightBatch[Any], context: Context) -> None:
        """Know that a handler call for a batch runs in a context, until ended()."""
    def ended(self, batch: InFlightBatch[Any]) -> None:
        """Know that it does not any more."""
    def look_at_waits(self) -> None:
        """Have ``on_own_wait`` called soon."""
    def tell_waits(self) -> None:
        """Call ``on_own_wait``."""
    def whereabouts(
        self, ticket: Ticket[Any]
    ) -> tuple[list[InFlightBatch[Any]], list[KeyQueue]] | None:
        """Give the batches that a ticket's items are in, and the queues of those that are queued.

        None where it is done, or is no ticket of this lane.
        """
    def fire(self) -> None:
        """Call ``on_due``: the timer has gone off."""
    def due(self) -> None:
        """Call ``on_due``, as was to happen soon."""
    def rearm(self) -> None:
        """Have the timer go off when there is something to do next; with nothing left, rest."""
    def wake(self) -> None:
        """Call the callbacks of the tickets that are done."""
    def wake_soon(self) -> None:
        """Have wake() called soon."""

@disjoint_base
class Router:
    """What knows the lane of the running loop."""

    def __init__(self, running_loop: Callable[[], object]) -> None: ...
    def find_lane(self) -> Lane:
        """Give the running loop's lane; for the subclass to say."""

    def check_items(self, items: object) -> None:
        """Raise TypeError for what are not several items; for the subclass to say."""

@disjoint_base
class Submitter(Generic[_T_contra, _R_co]):
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
class CallableSubmitter(Submitter[_T_contra, _R_co], Generic[_P, _T_contra, _R_co]):
    """A submitter that is called as its function is, and is bound to instances as a method."""

    definition: Any
    """What was decorated."""
    @property
    def bound(self) -> dict[int, Any]:
        """The submitter of each instance, by the instance's ``id()``."""
    @property
    def instance(self) -> Any:
        """What it is bound to, alive as long as this."""
    def set_call(self, arity: int, bind: Callable[..., Any] | None, width: int = 1) -> None:
        """Take ``arity`` arguments for an item, and have ``bind`` make one of any others.

        An arity of 0 is for what has to be bound to an instance first. With a ``width`` above 1
        an item is a tuple of so many values.
        """
    def pinned(self, instance: Any) -> Self:
        """Give a submitter like this one that keeps ``instance`` alive."""
    def __get__(self, instance: Any, owner: Any = None, /) -> Self: ...
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> BatchedCall[_R_co]: ...

@final
class TimerDescriptor:
    """A Linux timerfd on the monotonic clock, to the microsecond; ``fd`` is -1 without one."""

    def __init__(self) -> None: ...
    @property
    def fd(self) -> int: ...
    def arm(self, when: float) -> None:
        """Make the descriptor readable at that time; at once where it has passed."""
    def disarm(self) -> None:
        """Make the descriptor readable no more."""
    def close(self) -> None:
        """Close the descriptor; once more does nothing."""
