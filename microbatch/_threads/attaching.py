"""Find the event loop that a BlockingBatcher is attached to."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from typing import TYPE_CHECKING, Any, TypeAlias

from microbatch._loops.missing import cannot_attach

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.from_thread import BlockingPortal

__all__ = ["AttachTarget", "loop_at", "refuse_own_loop"]

AttachTarget: TypeAlias = "AbstractEventLoop | BlockingPortal | None"


def refuse_own_loop(**options: Any) -> None:
    """Raise TypeError for what is said of a loop that one does not have."""
    for name in ("loop_factory", "exit_timeout"):
        if name in options:
            raise TypeError(
                f"{name} must not be given to attached(), whose event loop is not its own, "
                f"got {options[name]!r}"
            )


def loop_at(where: AttachTarget) -> AbstractEventLoop:
    """Give the loop that is meant."""
    if where is None:
        return loop_here()
    if isinstance(where, AbstractEventLoop):
        return where
    call: Callable[..., Any] | None = getattr(where, "call", None)
    if call is None:
        raise TypeError(f"where must be an event loop, a BlockingPortal or None, got {where!r}")
    loop: AbstractEventLoop = call(loop_here)
    return loop


def loop_here() -> AbstractEventLoop:
    """Give the running loop; RuntimeError, which says what to do, where none runs."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise cannot_attach() from None
