"""Find a handler by its name, and the batcher that it is served by."""

import importlib
import reprlib
import sys
import traceback
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

from microbatch import Batched, Batcher, BatcherOptions

__all__ = ["HandlerNotFoundError", "batcher_for", "binder", "load", "place"]

WINDOW_BATCHES = 4
CARRIERS = ("microbatch", "anyio")
"""Packages that call handlers: a line of theirs says nothing about what went wrong."""


class HandlerNotFoundError(Exception):
    """Say why a name leads to no handler."""


def load(name: str) -> Any:
    """Import what ``module:attribute`` names; the current directory can be imported from.

    Dots in the attribute go deeper. Raises HandlerNotFoundError, with the error and its place if
    it is the module itself that fails.
    """
    module, colon, path = name.partition(":")
    if not (module and colon and path):
        raise HandlerNotFoundError(f"handler must be module:function, got {name!r}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    found = import_module(module)
    try:
        return reduce(getattr, path.split("."), found)
    except AttributeError as error:
        raise HandlerNotFoundError(str(error)) from error


def import_module(name: str) -> ModuleType:
    """Import a module; raises HandlerNotFoundError with whatever went wrong in it."""
    try:
        return importlib.import_module(name)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise HandlerNotFoundError(f"cannot import {name!r}: {reason}{place(error)}") from error


def place(error: BaseException) -> str:
    """Tell in which file and line an error came up, or nothing when it is not in a file.

    What calls the handler is left out.
    """
    file, line = "<none>", 0
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__", "").partition(".")[0] not in CARRIERS:
            file, line = frame.f_code.co_filename, number
    return "" if file.startswith("<") else f" ({Path(file).name}:{line})"


def batcher_for(handler: Any, options: BatcherOptions) -> tuple[Batcher[Any, Any], int]:
    """Give a batcher for a handler, and how many rows may be outstanding in it.

    A decorated handler, or a Batcher, has its own options; to give others raises ValueError.
    What is no handler, or a wrong option, raises the TypeError or ValueError of Batcher; so does a
    decorated method without its instance.
    """
    own = getattr(handler, "batcher", handler)
    if is_batcher(own):
        return decorated(own, options)
    window = options.get("capacity")
    if window is None:
        window = default_window(Batcher(handler, **options))
        options = {**options, "capacity": window}
    return Batcher(handler, **options), window


def is_batcher(value: object) -> TypeGuard[Batcher[Any, Any]]:
    """Tell whether a value is a batcher."""
    return isinstance(value, Batcher)


def decorated(batcher: Batcher[Any, Any], options: BatcherOptions) -> tuple[Batcher[Any, Any], int]:
    """Check that a batcher is given no other options, and say how many rows it may be given."""
    batcher.statistics()  # a method without its instance has none, and says so
    if options:
        names = ", ".join(options)
        raise ValueError(f"a decorated handler brings its own options, got {names} as well")
    window, capacity = default_window(batcher), batcher.options.capacity
    return batcher, window if capacity is None else min(window, capacity)


def default_window(batcher: Batcher[Any, Any]) -> int:
    """Give enough rows to keep every slot busy behind one slow batch."""
    options = batcher.options
    return WINDOW_BATCHES * options.max_batch_size * options.max_concurrent_batches


def binder(batcher: Batcher[Any, Any]) -> Callable[[Any], Any]:
    """Give what turns a row into an item for a batcher.

    For a handler of several parameters, an object's keys are their names, and an array has one
    value for each in order; a row that does not fit them raises TypeError. For any other handler
    the row is the item.
    """
    if not isinstance(batcher, Batched):
        return unchanged
    definition = batcher.definition
    signature = definition.signature if batcher.instance is None else definition.bound_signature
    if len(signature.parameters) == 1:
        return unchanged
    names = " and ".join(each.name for each in signature.parameters)

    def bind(row: Any) -> Any:
        if isinstance(row, dict):
            return signature.bind(**row)
        if isinstance(row, list):
            return signature.bind(*row)
        raise TypeError(
            f"a row must be an object or an array for the parameters {names}, "
            f"got {reprlib.repr(row)}"
        )

    return bind


def unchanged(row: Any) -> Any:
    """Give a row as it is."""
    return row
