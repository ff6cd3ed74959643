"""Warn of what went wrong elsewhere, in a call that has nothing to do with it."""

import sys
import warnings

__all__ = ["notify"]

PLUMBING = frozenset({"asyncio", "microbatch", "selectors", "uvloop", "weakref"})
"""Modules that a user's call goes through."""


def notify(message: str, category: type[Warning], source: object = None) -> None:
    """Warn, on the line of the user's that is being executed; never raises.

    Where warnings are errors, this one goes to ``sys.unraisablehook``: the call in which something
    is found out is not the one that failed. ``source`` is as in ``warnings.warn``.
    """
    Notice(message, category, source)


class Notice:
    """Warn as it goes, for then an error is reported and does not propagate."""

    def __init__(self, message: str, category: type[Warning], source: object) -> None:
        self._message = message
        self._category = category
        self._source = source

    def __del__(self) -> None:
        level = level_of_user()
        warnings.warn(self._message, self._category, stacklevel=level, source=self._source)


def level_of_user() -> int:
    """Give the stack level, as the caller would hand it to ``warnings.warn``, of a user's line."""
    frame, level = sys._getframe(1), 1  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and module_of(frame.f_globals) in PLUMBING:
        frame, level = frame.f_back, level + 1
    return level


def module_of(names: dict[str, object]) -> str:
    """Give the name of the outermost package of a module."""
    return str(names.get("__name__")).partition(".")[0]
