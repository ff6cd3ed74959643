"""Copy exceptions faithfully, so that each caller raises one of its own."""

import contextlib
import copy
from collections.abc import Iterator
from types import MemberDescriptorType
from typing import Any, TypeVar

__all__ = ["set_plainly", "twin"]

E = TypeVar("E", bound=BaseException)

HEAP_TYPE = 1 << 9
"""The flag of classes that are made while the program runs."""
POINTER = tuple.__itemsize__


def twin(error: E) -> E | None:
    """Copy an exception, or give None where every copy would differ from it."""
    if isinstance(error, StopIteration):  # no coroutine can raise it
        return None
    ways = (bare_twin,) if is_made_of_python(type(error)) else (copied_twin, native_twin)
    for way in ways:
        try:
            own = way(error)
            if same(own, error):
                if "__notes__" in own.__dict__:
                    set_plainly(own, "__notes__", list(error.__notes__))
                return own
        except BaseException:  # whatever its own code does, no caller may hang
            continue
    return None


def set_plainly(error: BaseException, name: str, value: object) -> None:
    """Set an attribute whatever the exception's own ``__setattr__`` makes of it."""
    BaseException.__setattr__(error, name, value)


def is_made_of_python(kind: type[BaseException]) -> bool:
    """Tell whether all that such an exception holds is ``args``, ``__dict__`` and ``__slots__``."""
    own = sum(1 for _ in slots(kind)) + (kind.__weakrefoffset__ > 0)
    return kind.__basicsize__ == BaseException.__basicsize__ + own * POINTER


def bare_twin(error: E) -> E:
    """Copy an exception without calling its ``__init__``, whose parameters are not known."""
    own = BaseException.__new__(type(error))
    fill(own, error)
    return own


def copied_twin(error: E) -> E:
    """Copy an exception as it says, and add the members that it does not tell of."""
    own = copy.copy(error)
    fill(own, error)
    return own


def native_twin(error: E) -> E:
    """Copy an exception as the native type does that it derives from: a subclass may not know."""
    native: Any = next(base for base in type(error).__mro__ if not base.__flags__ & HEAP_TYPE)
    _, args, *_ = native.__reduce__(error)
    own: E = native.__new__(type(error), *args)
    native.__init__(own, *args)
    fill(own, error)
    return own


def fill(own: BaseException, error: BaseException) -> None:
    """Give a copy the arguments, attributes, slots and native members of its original."""
    set_plainly(own, "args", error.args)
    own.__dict__.update(error.__dict__)
    for slot in slots(type(error)):
        with contextlib.suppress(AttributeError):  # it was never set
            slot.__set__(own, slot.__get__(error))
    for name in native_members(type(error)):
        value = getattr(error, name, None)
        if getattr(own, name, None) != value:
            setattr(own, name, value)


def slots(kind: type) -> Iterator[MemberDescriptorType]:
    """Give what holds the ``__slots__`` of a class and of its bases."""
    return (member for base, member in members(kind) if base.__flags__ & HEAP_TYPE)


def native_members(kind: type) -> Iterator[str]:
    """Give the names of what native types keep as slots are kept."""
    for base, member in members(kind):
        if not (base.__flags__ & HEAP_TYPE or member.__name__.startswith("__")):
            yield member.__name__


def members(kind: type) -> Iterator[tuple[type, MemberDescriptorType]]:
    """Give each member that is kept outside of ``__dict__``, and the class that says so."""
    for base in kind.__mro__:
        for value in base.__dict__.values():
            if isinstance(value, MemberDescriptorType):
                yield base, value


def same(own: BaseException, error: BaseException) -> bool:
    """Tell whether a copy is another object of the same type that holds the same."""
    return (
        own is not error
        and type(own) is type(error)
        and own.args is error.args
        and own.__dict__.keys() == error.__dict__.keys()
        and str(own) == str(error)
    )
