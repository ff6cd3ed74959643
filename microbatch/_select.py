"""Pick one of the two cores, by the environment variable MICROBATCH_CORE.

``cython`` is the compiled one, ``python`` its twin, and ``auto`` (the default) the compiled one
unless it was never built. A compiled core that is there and does not import is an error.
"""

import importlib.util
import os
from typing import TYPE_CHECKING

__all__ = [
    "CORE",
    "CallableFront",
    "Flight",
    "Front",
    "Group",
    "Histogram",
    "Lane",
    "Router",
    "Ticket",
    "TimerDescriptor",
]


def choose(wanted: str) -> str:
    """Give the core to import, ``cython`` or ``python``."""
    if wanted not in ("auto", "cython", "python"):
        raise ValueError(f"MICROBATCH_CORE must be one of auto, cython, python, got {wanted!r}")
    if wanted != "auto":
        return wanted
    return "cython" if importlib.util.find_spec("microbatch._core") else "python"


CORE = choose(os.environ.get("MICROBATCH_CORE", "auto"))

if TYPE_CHECKING or CORE == "cython":
    from microbatch._core import (
        CallableFront,
        Flight,
        Front,
        Group,
        Histogram,
        Lane,
        Router,
        Ticket,
        TimerDescriptor,
    )
else:
    from microbatch._core_py import (
        CallableFront,
        Flight,
        Front,
        Group,
        Histogram,
        Lane,
        Router,
        Ticket,
        TimerDescriptor,
    )
