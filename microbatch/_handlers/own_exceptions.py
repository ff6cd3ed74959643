"""Make each caller an exception of its own of what a handler raised or answered."""

from microbatch._handlers.exception_copies import set_plainly, twin
from microbatch.errors import BatchError, HandlerCancelledError

__all__ = ["individual", "original"]

TOLD = "__microbatch_told__"
"""Where an error that went to a caller as it is has its identity; a pickle of it is another."""


def individual(error: BaseException) -> BaseException:
    """Make a caller's own copy of an error, with the original as its cause.

    Exceptions are not shared between callers, because each raise adds to the traceback. What
    cannot be copied faithfully comes wrapped in a BatchError, and a request to cancel or to exit
    as a HandlerCancelledError: it was not addressed to the caller.
    """
    own = own_copy(error)
    return wrapped(error) if own is None else own


def original(error: BaseException) -> BaseException:
    """Make the only caller's copy of an error, or give the error itself where it resists copying.

    An error goes to a caller as it is only once. Where a handler keeps it, and raises or answers
    it again, the next caller gets what individual() makes.
    """
    own = own_copy(error)
    if own is not None:
        return own
    return error if not isinstance(error, StopIteration) and mark(error) else wrapped(error)


def own_copy(error: BaseException) -> BaseException | None:
    """Copy an error, with the original as its cause; None where it resists."""
    own: BaseException | None
    if isinstance(error, Exception):
        own = twin(error)
    else:
        own = HandlerCancelledError(f"the handler was stopped by {type(error).__qualname__}")
    if own is not None:
        set_plainly(own, "__cause__", error)
    return own


def wrapped(error: BaseException) -> BatchError:
    """Wrap an error that resists copying."""
    own = BatchError(describe(error))
    own.__cause__ = error
    return own


def mark(error: BaseException) -> bool:
    """Note that an error goes to a caller as it is; False where it did, or cannot be marked."""
    try:
        first = error.__dict__.get(TOLD) != id(error)
        error.__dict__[TOLD] = id(error)
    except BaseException:  # whatever its own code does, no caller may hang
        return False
    return first


def describe(error: BaseException) -> str:
    """Name an exception and quote it, where it lets itself be quoted."""
    name = type(error).__qualname__
    try:
        return f"{name}: {error}"
    except BaseException:  # whatever its own code does, no caller may hang
        return name
