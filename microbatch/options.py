"""The options of a batcher, and every rule about them."""

import inspect
import math
import operator
import sys
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, get_args

from microbatch.events import BatchDispatched, BatchEnded

if TYPE_CHECKING:
    from tenacity import AsyncRetrying
else:
    AsyncRetrying = Any  # tenacity is not imported, and may be missing

__all__ = [
    "SECONDS_OR_NONE",
    "BatcherOptions",
    "HandlerOptions",
    "Observer",
    "OnError",
    "Options",
    "Ordering",
    "Overflow",
    "Overweight",
    "Reconfiguration",
    "StreamOverflow",
    "TimeoutPolicy",
]

SECONDS_OR_NONE = "a number of seconds or None"

Overflow: TypeAlias = Literal["wait", "reject", "drop_oldest"]
Ordering: TypeAlias = Literal["unordered", "ordered"]
Weigh: TypeAlias = Callable[[Any], float]
Identify: TypeAlias = Callable[[Any], Hashable]
Overweight: TypeAlias = Literal["alone", "reject"]
OnError: TypeAlias = Literal["fail", "bisect"]
Observer: TypeAlias = Callable[[BatchDispatched | BatchEnded], object]
StreamOverflow: TypeAlias = Literal["wait", "fail"]
NamedPolicy: TypeAlias = Literal["partial", "fail"]
TimeoutPolicy: TypeAlias = NamedPolicy | Callable[[list[Any]], Any]
Latency: TypeAlias = float | Literal["auto"]


class HandlerOptions(TypedDict, total=False):
    """Name the keyword arguments that do not tell what kind of handler it is.

    What each means, and its default, stands at the field of Options of the same name.
    """

    max_batch_size: int
    max_latency: Latency
    max_auto_latency: float | None
    max_concurrent_batches: int
    capacity: int | None
    overflow: Overflow
    ordering: Ordering
    timeout: float | None
    timeout_policy: TimeoutPolicy
    max_batch_weight: float | None
    weigh: Weigh | None
    overweight: Overweight
    key: Identify | None
    max_concurrent_batches_per_key: int | None
    priority: Weigh | None
    ageing: float
    dedupe: Identify | None
    dedupe_in_flight: bool
    retry: AsyncRetrying | None
    on_error: OnError
    cancel_abandoned: bool
    observer: Observer | None
    capture_context: bool
    executor: Executor | None
    name: str | None
    stream_buffer: int
    stream_overflow: StreamOverflow


class BatcherOptions(HandlerOptions, total=False):
    """Name the keyword arguments of Batcher and of the ``batched`` decorator, times in seconds.

    What each means, and its default, stands at the field of Options of the same name.
    """

    stream: bool
    columnar: bool


class Reconfiguration(TypedDict, total=False):
    """Name the options that may be changed while a batcher is in use."""

    max_batch_size: int
    max_latency: Latency
    max_auto_latency: float | None
    max_concurrent_batches: int
    capacity: int | None
    timeout: float | None
    max_batch_weight: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Hold checked options; making one raises ValueError or TypeError for whatever is wrong."""

    max_batch_size: int = 64
    """Most items in one handler call."""
    max_latency: Latency = 0.0
    """Longest that an item waits for companions while a slot is free, in seconds: from its
    submission, or from when the slot became free, whichever is later; 0: go when a slot is free,
    with whatever came in the same tick or piled up while it was busy. ``"auto"``: a slot that
    becomes free waits for those who were just answered, as long as has paid so far, if at all."""
    max_auto_latency: float | None = None
    """Longest that a slot waits with ``max_latency="auto"``, in seconds; None: as long as it pays.
    With a ``timeout`` it is never more than a quarter of that."""
    max_concurrent_batches: int = 1
    """Slots: handler calls under way at once."""
    capacity: int | None = 10_000
    """Most admitted and unsettled items, those that wait for admission apart; None: no bound."""
    overflow: Overflow = "wait"
    """At capacity: ``"wait"`` (admitted first come, first served), ``"reject"`` (CapacityError at
    once), ``"drop_oldest"`` (the oldest queued item fails with CapacityError)."""
    ordering: Ordering = "unordered"
    """``"ordered"``: results are released in the order in which their batches were dispatched, for
    each key. So they come as submitted, but for a submission's ``priority``, which goes first."""
    timeout: float | None = None
    """Longest from submission to result, in seconds: waiting for admission, queueing and handling
    together; None: no limit."""
    timeout_policy: TimeoutPolicy = "partial"
    """``"partial"``: a late item fails alone; ``"fail"``: it fails its batch, and the handler is
    cancelled; a callable: called with the late items, its results are theirs."""
    max_batch_weight: float | None = None
    """Most that the items of one handler call weigh together: tokens, bytes, rows; None: no bound.
    The next item that doesn't fit closes the batch."""
    weigh: Weigh | None = None
    """What an item weighs, >= 0; None: 1, unless it is submitted with a ``weight``."""
    overweight: Overweight = "alone"
    """An item heavier than ``max_batch_weight`` goes ``"alone"``, or ``"reject"``: submitting it
    raises OverweightError."""
    key: Identify | None = None
    """The items of one batch share ``key(item)``; None: all may go together, but those that are
    submitted with a ``key``. Size, weight and latency hold for each key; slots and capacity are
    shared, and of the keys that are due the one goes first whose next item is the oldest, or with
    priorities has the lowest rank."""
    max_concurrent_batches_per_key: int | None = None
    """Slots that one key may take; None: all."""
    priority: Weigh | None = None
    """The lower goes first; None: 0, unless an item is submitted with a ``priority``."""
    ageing: float = 1.0
    """Seconds of waiting that make up for 1 of priority. Of two items that were submitted less than
    that apart, the one with the lower priority goes first; and no item is overtaken by one that was
    submitted more than ``ageing`` times the difference later."""
    dedupe: Identify | None = None
    """Items that are queued together, and whose ``dedupe(item)`` (and key) are equal, are handled
    once; each caller has a ticket, a deadline and a result of its own. The handler sees only the
    first of them: what they differ in otherwise is lost, so ``dedupe`` must tell apart whatever the
    handler looks at. Callers are given the same result, not copies of it."""
    dedupe_in_flight: bool = False
    """Whether an item also joins an equal one that the handler works on already: its result may
    rest on what the handler read before the item was submitted."""
    retry: AsyncRetrying | None = None
    """A tenacity ``AsyncRetrying``, by which a failed batch is handed to the handler again: the
    items of it that somebody still awaits, within their timeouts."""
    on_error: OnError = "fail"
    """``"fail"``: the items of a failed batch fail with it; ``"bisect"``: it is halved until the
    item that makes it fail stands alone, unless it failed with a TimeoutError."""
    cancel_abandoned: bool = True
    """The handler is cancelled once nobody waits for any of its items."""
    observer: Observer | None = None
    """Called with a BatchDispatched before the handler is called for a batch, in the context that
    it will run in, and with a BatchEnded once the batch has ended, however many calls it took. What
    it raises goes to the loop's exception handler."""
    capture_context: bool = False
    """The context of each submission is kept with the item, for ``current_batch().contexts`` and
    the observer. One whose attribute ``captures_context`` is true has it so anyway."""
    executor: Executor | None = None
    """Where a plain ``def`` handler runs: a ThreadPoolExecutor, or a ProcessPoolExecutor for one
    that can be pickled; None: a thread of anyio's pool. Closing does not shut it down."""
    name: str | None = None
    """In logs, errors and metrics; None: the handler's."""
    stream_buffer: int = 64
    """Most chunks of one item that wait for its reader (``stream=True``)."""
    stream_overflow: StreamOverflow = "wait"
    """When an item's chunks fill its buffer: ``"wait"`` (its batch takes the next step when there
    is room), ``"fail"`` (it leaves the batch, and its reader gets CapacityError after those)."""
    stream: bool = False
    """The handler is an async generator that yields chunks, step by step, for ``stream()``."""
    columnar: bool = False
    """The handler answers columns, each as long as the batch, and each caller gets its row: a dict
    of a mapping or a table, a named tuple of one, a tuple of any other tuple or list. An exception
    in a column is raised to its row's caller alone; None is None for each, as a column too."""

    def __post_init__(self) -> None:
        self._set("max_batch_size", count("max_batch_size", self.max_batch_size))
        self._check_latency()
        self._set(
            "max_concurrent_batches", count("max_concurrent_batches", self.max_concurrent_batches)
        )
        if self.capacity is not None:
            self._set("capacity", count("capacity", self.capacity, "an integer or None"))
        one_of("overflow", self.overflow, get_args(Overflow))
        one_of("ordering", self.ordering, get_args(Ordering))
        self._check_timeout()
        if not callable(self.timeout_policy):
            one_of("timeout_policy", self.timeout_policy, get_args(NamedPolicy), "a callable")
        self._check_weights()
        self._check_keys()
        retrying("retry", self.retry)
        one_of("on_error", self.on_error, get_args(OnError))
        flag("cancel_abandoned", self.cancel_abandoned)
        plain_callable("observer", self.observer)
        flag("capture_context", self.capture_context)
        pool("executor", self.executor)
        text("name", self.name)
        self._set("stream_buffer", count("stream_buffer", self.stream_buffer))
        one_of("stream_overflow", self.stream_overflow, get_args(StreamOverflow))
        flag("stream", self.stream)
        flag("columnar", self.columnar)
        if self.stream:
            self._check_stream()

    @property
    def learns_latency(self) -> bool:
        """Whether it is learned how long a slot waits for companions."""
        return self.max_latency == "auto"

    @property
    def longest_learned_wait(self) -> float:
        """The bound of what is learned, in seconds."""
        bounds = self.max_auto_latency, None if self.timeout is None else self.timeout / 4
        return min((bound for bound in bounds if bound is not None), default=math.inf)

    @property
    def rules_of_learning(self) -> tuple[object, ...]:
        """What is learned holds while these are the same."""
        slots, size = self.max_concurrent_batches, self.max_batch_size
        return self.learns_latency, self.longest_learned_wait, slots, size

    @property
    def is_ordered(self) -> bool:
        """Whether results are released in order."""
        return self.ordering == "ordered"

    @property
    def leaves_out_late(self) -> bool:
        """Whether ``map`` leaves out the items that are late."""
        return self.timeout_policy == "partial"

    @property
    def fails_when_late(self) -> bool:
        """Whether a handler call is cancelled, and its items fail, once one of them is late."""
        return self.timeout_policy == "fail"

    def changed(self, changes: Reconfiguration) -> "Options":
        """Give these options with some changed; TypeError for one that must stay as it is."""
        for name in changes:
            if name not in Reconfiguration.__annotations__:
                names = ", ".join(Reconfiguration.__annotations__)
                raise TypeError(f"{name!r} cannot be changed while in use; these can: {names}")
        return replace(self, **changes)

    @classmethod
    def of(cls, given: BatcherOptions) -> "Options":
        """Check options that a user gave as keyword arguments; TypeError for one that is none."""
        for name in given:
            if name not in cls.__dataclass_fields__:
                names = ", ".join(cls.__dataclass_fields__)
                raise TypeError(f"there is no option {name!r}; the options are {names}")
        return cls(**given)

    def _check_weights(self) -> None:
        one_of("overweight", self.overweight, get_args(Overweight))
        plain_callable("weigh", self.weigh)
        if self.max_batch_weight is not None:
            self._set("max_batch_weight", number("max_batch_weight", self.max_batch_weight))
        elif self.weigh is not None:
            raise ValueError(
                f"weigh must not be given without max_batch_weight, got {self.weigh!r}"
            )
        elif self.overweight != "alone":
            raise ValueError(
                f"overweight must be 'alone' without max_batch_weight, got {self.overweight!r}"
            )

    def _check_keys(self) -> None:
        for name in ("key", "priority", "dedupe"):
            plain_callable(name, getattr(self, name))
        flag("dedupe_in_flight", self.dedupe_in_flight)
        if self.dedupe_in_flight and self.dedupe is None:
            raise ValueError("dedupe_in_flight must be False without dedupe, got True")
        most, name = self.max_concurrent_batches_per_key, "max_concurrent_batches_per_key"
        if most is not None:
            self._set(name, count(name, most, "an integer or None"))
        ageing = seconds("ageing", self.ageing)
        if ageing <= 0:
            raise ValueError(f"ageing must be > 0, got {self.ageing!r}")
        self._set("ageing", ageing)
        if self.priority is not None and self.is_ordered:
            raise ValueError("ordering must be 'unordered' with a priority, got 'ordered'")

    def _check_latency(self) -> None:
        if self.max_latency != "auto":
            kind = "a number of seconds or 'auto'"
            self._set("max_latency", seconds("max_latency", self.max_latency, kind, least=0.0))
        if self.max_auto_latency is not None:
            longest = seconds("max_auto_latency", self.max_auto_latency, SECONDS_OR_NONE, least=0.0)
            self._set("max_auto_latency", longest)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_timeout(self) -> None:
        if self.timeout is None:
            return
        timeout = seconds("timeout", self.timeout, SECONDS_OR_NONE)
        if timeout <= 0:
            raise ValueError(f"timeout must be > 0, got {self.timeout!r}")
        if self.max_latency != "auto" and timeout <= self.max_latency:
            raise ValueError(
                f"timeout must be > max_latency ({self.max_latency!r}), "
                f"or items would be late before they are dispatched, got {self.timeout!r}"
            )
        self._set("timeout", timeout)

    def _check_stream(self) -> None:
        """Refuse what cannot go with chunks that are given while the handler runs."""
        named = f"one of {', '.join(map(repr, get_args(NamedPolicy)))}"
        for name, rule, chunks, is_refused in (
            ("ordering", "'unordered'", "each chunk at once", self.is_ordered),
            ("timeout_policy", named, "chunks and no results", callable(self.timeout_policy)),
            ("columnar", "False", "lists of chunks", self.columnar),
            ("dedupe", "None", "each chunk to one reader", self.dedupe is not None),
            ("retry", "None", "chunks that cannot be taken back", self.retry is not None),
            ("on_error", "'fail'", "chunks that cannot be taken back", self.on_error != "fail"),
        ):
            if is_refused:
                value = getattr(self, name)
                raise ValueError(
                    f"stream=True gives {chunks}, so {name} must be {rule}, got {value!r}"
                )


def number(name: str, value: Any) -> float:
    """Give ``value`` as a float that is positive and finite."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, got {value!r}")
    number = as_float(value)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be > 0 and finite, got {value!r}")
    return number


def as_float(value: Any) -> float:
    """Give a number as a float; infinity for one beyond every float."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def count(name: str, value: Any, kind: str = "an integer") -> int:
    """Give ``value`` as an int of at least 1."""
    if isinstance(value, bool):
        raise TypeError(f"{name} must be {kind}, got {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be {kind}, got {value!r}") from None
    if number < 1:
        raise ValueError(f"{name} must be >= 1, got {value!r}")
    if number > sys.maxsize:
        raise ValueError(f"{name} must be <= {sys.maxsize}, got {value!r}")
    return number


def seconds(
    name: str, value: Any, kind: str = "a number of seconds", *, least: float = -math.inf
) -> float:
    """Give ``value`` as a finite float of at least ``least``; ``kind`` says what it may be."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be {kind}, got {value!r}")
    number = as_float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a finite number of seconds, got {value!r}")
    if number < least:
        raise ValueError(f"{name} must be >= {least:g}, got {value!r}")
    return number


def flag(name: str, value: object) -> None:
    """Raise TypeError unless ``value`` is a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")


def plain_callable(name: str, value: object) -> None:
    """Raise TypeError unless ``value`` is None, or can be called and then needs no ``await``."""
    if value is None:
        return
    if not callable(value):
        raise TypeError(f"{name} must be a callable or None, got {value!r}")
    if inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(type(value).__call__):
        raise TypeError(f"{name} must be called without await, got {value!r}")


def retrying(name: str, value: object) -> None:
    """Raise TypeError unless ``value`` is a tenacity ``AsyncRetrying`` or None."""
    kind = getattr(sys.modules.get("tenacity"), "AsyncRetrying", ())  # who has one imported it
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} must be a tenacity.AsyncRetrying or None, got {value!r}")


def pool(name: str, value: object) -> None:
    """Raise TypeError unless ``value`` is an executor or None."""
    if value is not None and not isinstance(value, Executor):
        raise TypeError(f"{name} must be a concurrent.futures.Executor or None, got {value!r}")


def text(name: str, value: object) -> None:
    """Raise TypeError unless ``value`` is a string that is not empty, or None."""
    if value is not None and (not isinstance(value, str) or not value):
        raise TypeError(f"{name} must be a string that is not empty, or None, got {value!r}")


def one_of(name: str, value: object, words: Sequence[str], *others: str) -> None:
    """Raise ValueError unless ``value`` is one of the words; ``others`` would be allowed too."""
    if not isinstance(value, str) or value not in words:
        allowed = ", ".join([*map(repr, words), *others])
        raise ValueError(f"{name} must be one of {allowed}, got {value!r}")


def keeps_order(ordering: Ordering) -> bool:
    """Check the ordering that is asked of ``map``, and tell whether results come in order."""
    one_of("ordering", ordering, get_args(Ordering))
    return ordering == "ordered"
