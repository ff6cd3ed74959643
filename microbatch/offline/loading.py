"""Find a handler by its name, and the batcher that it is served by."""

import importlib
import sys
import traceback
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

from microbatch import Batcher, BatcherOptions

__all__ = ["HandlerNotFoundError", "batcher_for", "load"]

WINDOW_BATCHES = 4


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
    """Tell in which file and line an error came up, or nothing when it is not in a file."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or frames[-1].filename.startswith("<"):
        return ""
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})"


def batcher_for(handler: Any, options: BatcherOptions) -> tuple[Batcher[Any, Any], int]:
    """Give a batcher for a handler, and how many rows may be outstanding in it.

    A decorated handler, or a Batcher, has its own options; to give others raises ValueError.
    What is no handler, or a wrong option, raises the TypeError or ValueError of Batcher.
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
    if options:
        names = ", ".join(options)
        raise ValueError(f"a decorated handler brings its own options, got {names} as well")
    window, capacity = default_window(batcher), batcher.options.capacity
    return batcher, window if capacity is None else min(window, capacity)


def default_window(batcher: Batcher[Any, Any]) -> int:
    """Give enough rows to keep every slot busy behind one slow batch."""
    options = batcher.options
    return WINDOW_BATCHES * options.max_batch_size * options.max_concurrent_batches
