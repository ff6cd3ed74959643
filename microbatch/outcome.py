"""What a handler's answer means for each caller: results, or errors of their own."""

import copy
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from types import MemberDescriptorType
from typing import Any, TypeVar

from microbatch.errors import BatchError, HandlerCancelledError, ResultCountError

__all__ = ["individual", "results_of"]

E = TypeVar("E", bound=BaseException)


def results_of(answer: Any, size: int, name: str) -> tuple[Any, ...]:
    """Give a handler's answer as one result for each of ``size`` items.

    None stands for a None for each. Raises ResultCountError when the number differs, and
    BatchError when the answer is not a sequence at all.
    """
    if answer is None:
        return (None,) * size
    exact = is_exact(answer)
    if not exact and not is_sequence(answer):
        raise BatchError(
            f"handler {name!r} must return a sequence of results or None, "
            f"got {answer.__class__.__qualname__}"
        )
    if len(answer) != size:
        raise ResultCountError(name, size, len(answer))
    return tuple(answer) if exact else tuple(places_of(answer, size, name))


def is_exact(answer: Any) -> bool:
    """Tell whether iterating over an answer gives just what stands at its places."""
    return type(answer) in (list, tuple)


def places_of(answer: Any, size: int, name: str) -> Iterator[Any]:
    """Give what stands at each place; what has a length may iterate over something else."""
    for place in range(size):
        try:
            yield answer[place]
        except IndexError:
            raise ResultCountError(name, size, place) from None


def is_sequence(answer: Any) -> bool:
    """Tell whether an answer has a length and places; text and mappings are no sequences here."""
    if isinstance(answer, (str, bytes, bytearray, Mapping, AbstractSet)):
        return False
    kind = answer.__class__
    return hasattr(kind, "__len__") and hasattr(kind, "__getitem__")


def individual(error: BaseException) -> BaseException:
    """Make a caller's own copy of an error, with the original as its cause.

    Exceptions are not shared between callers, because each raise adds to the traceback. What
    cannot be copied faithfully comes wrapped in a BatchError, and a request to cancel or to exit
    as a HandlerCancelledError: it was not addressed to the caller.
    """
    own: BaseException
    if isinstance(error, Exception):
        copied = twin(error)
        own = BatchError(describe(error)) if copied is None else copied
    else:
        own = HandlerCancelledError(f"the handler was stopped by {type(error).__qualname__}")
    set_plainly(own, "__cause__", error)
    return own


def describe(error: Exception) -> str:
    """Name an exception and quote it, where it lets itself be quoted."""
    name = type(error).__qualname__
    try:
        return f"{name}: {error}"
    except BaseException:  # whatever its own code does, no caller may hang
        return name


def twin(error: E) -> E | None:
    """Copy an exception, or give None where a copy would differ from it."""
    if isinstance(error, StopIteration):  # no coroutine can raise it
        return None
    try:
        own = bare_twin(error) if is_plain(type(error)) else full_twin(error)
        if not same(own, error):
            return None
        if "__notes__" in own.__dict__:
            set_plainly(own, "__notes__", list(error.__notes__))
    except BaseException:  # whatever its own code does, no caller may hang
        return None
    return own


def set_plainly(error: BaseException, name: str, value: object) -> None:
    """Set an attribute whatever the exception's own ``__setattr__`` makes of it."""
    BaseException.__setattr__(error, name, value)


def is_plain(kind: type[BaseException]) -> bool:
    """Tell whether all that such an exception holds is its ``args`` and its ``__dict__``."""
    heap_type = 1 << 9
    native = next(base for base in kind.__mro__ if not base.__flags__ & heap_type)
    has_slots = any(base.__dict__.get("__slots__") for base in kind.__mro__)
    return native.__basicsize__ == BaseException.__basicsize__ and not has_slots


def bare_twin(error: E) -> E:
    """Copy a plain exception without calling its ``__init__``, whose parameters are not known."""
    own = BaseException.__new__(type(error))
    set_plainly(own, "args", error.args)
    own.__dict__.update(error.__dict__)
    return own


def full_twin(error: E) -> E:
    """Copy an exception as it says, and add the members that it does not tell of."""
    own = copy.copy(error)
    for name in members(type(error)):
        value = getattr(error, name, None)
        if getattr(own, name, None) != value:
            setattr(own, name, value)
    return own


def members(kind: type) -> Iterator[str]:
    """Give the names of ``__slots__``, and of what native types keep in the same way."""
    for base in kind.__mro__:
        for name, value in base.__dict__.items():
            if isinstance(value, MemberDescriptorType) and not name.startswith("__"):
                yield name


def same(own: BaseException, error: BaseException) -> bool:
    """Tell whether a copy is another object of the same type that holds the same."""
    return (
        own is not error
        and type(own) is type(error)
        and len(own.args) == len(error.args)
        and all(mine is its for mine, its in zip(own.args, error.args, strict=True))
        and own.__dict__.keys() == error.__dict__.keys()
        and str(own) == str(error)
    )
