"""The options of a batcher, and every rule about them."""

import math
import operator
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypedDict, get_args

__all__ = ["BatcherOptions", "Options", "Ordering", "Overflow", "TimeoutPolicy"]

Overflow: TypeAlias = Literal["wait", "reject", "drop_oldest"]
Ordering: TypeAlias = Literal["unordered", "ordered"]
TimeoutPolicy: TypeAlias = Literal["partial", "fail"] | Callable[[list[Any]], Any]


class BatcherOptions(TypedDict, total=False):
    """Name the keyword arguments of Batcher and of the ``batched`` decorator, times in seconds.

    What each means, and its default, stands at the field of Options of the same name.
    """

    max_batch_size: int
    max_latency: float
    max_concurrent_batches: int
    capacity: int | None
    overflow: Overflow
    ordering: Ordering
    timeout: float | None
    timeout_policy: TimeoutPolicy
    cancel_abandoned: bool
    executor: Executor | None
    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Hold checked options; making one raises ValueError or TypeError for whatever is wrong."""

    max_batch_size: int = 64
    """Most items in one handler call."""
    max_latency: float = 0.0
    """Longest that an item waits for companions while a slot is free, in seconds; 0: go when a slot
    is free, with whatever came in the same tick or piled up while it was busy."""
    max_concurrent_batches: int = 1
    """Slots: handler calls under way at once."""
    capacity: int | None = 10_000
    """Most accepted and unsettled items; None: no bound."""
    overflow: Overflow = "wait"
    """At capacity: ``"wait"`` (admitted first come, first served), ``"reject"`` (CapacityError at
    once), ``"drop_oldest"`` (the oldest queued item fails with CapacityError)."""
    ordering: Ordering = "unordered"
    """``"ordered"``: results are released in the order of submission."""
    timeout: float | None = None
    """Longest from submission to result, in seconds: waiting for admission, queueing and handling
    together; None: no limit."""
    timeout_policy: TimeoutPolicy = "partial"
    """``"partial"``: a late item fails alone; ``"fail"``: it fails its batch, and the handler is
    cancelled; a callable: called with the late items, its results are theirs."""
    cancel_abandoned: bool = True
    """The handler is cancelled once nobody waits for any of its items."""
    executor: Executor | None = None
    """Where a plain ``def`` handler runs: a ThreadPoolExecutor, or a ProcessPoolExecutor for one
    that can be pickled; None: a thread of anyio's pool. Closing does not shut it down."""
    name: str | None = None
    """In errors and metrics; None: the handler's."""

    def __post_init__(self) -> None:
        self._set("max_batch_size", count("max_batch_size", self.max_batch_size))
        self._set("max_latency", seconds("max_latency", self.max_latency, least=0.0))
        self._set(
            "max_concurrent_batches", count("max_concurrent_batches", self.max_concurrent_batches)
        )
        if self.capacity is not None:
            self._set("capacity", count("capacity", self.capacity, "an integer or None"))
        one_of("overflow", self.overflow, get_args(Overflow))
        one_of("ordering", self.ordering, get_args(Ordering))
        self._check_timeout()
        if not callable(self.timeout_policy):
            one_of("timeout_policy", self.timeout_policy, ("partial", "fail"), "a callable")
        flag("cancel_abandoned", self.cancel_abandoned)
        pool("executor", self.executor)
        text("name", self.name)

    @classmethod
    def of(cls, given: BatcherOptions) -> "Options":
        """Check options that a user gave as keyword arguments; TypeError for one that is none."""
        for name in given:
            if name not in cls.__dataclass_fields__:
                names = ", ".join(cls.__dataclass_fields__)
                raise TypeError(f"there is no option {name!r}; the options are {names}")
        return cls(**given)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_timeout(self) -> None:
        if self.timeout is None:
            return
        timeout = seconds("timeout", self.timeout)
        if timeout <= 0:
            raise ValueError(f"timeout must be > 0, got {self.timeout!r}")
        if timeout <= self.max_latency:
            raise ValueError(
                f"timeout must be > max_latency ({self.max_latency!r}), "
                f"or items would be late before they are dispatched, got {self.timeout!r}"
            )
        self._set("timeout", timeout)


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


def seconds(name: str, value: Any, *, least: float = -math.inf) -> float:
    """Give ``value`` as a finite float of at least ``least``."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number of seconds, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a finite number of seconds, got {value!r}")
    if number < least:
        raise ValueError(f"{name} must be >= {least:g}, got {value!r}")
    return number


def flag(name: str, value: object) -> None:
    """Raise TypeError unless ``value`` is a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")


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
