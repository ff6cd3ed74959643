"""Cancel what is under way on a loop, from whatever thread."""

import asyncio
import contextlib
from contextvars import Context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microbatch._core import Ticket

__all__ = ["cancel_threadsafe"]


def cancel_threadsafe(work: "Ticket[Any] | asyncio.Task[Any]") -> None:
    """Cancel a ticket or a task, at once on its own loop, and soon from elsewhere.

    Where that loop is closed there is nobody left to cancel it for.
    """
    loop = work.get_loop()
    if asyncio._get_running_loop() is loop:
        work.cancel()
    else:
        with contextlib.suppress(RuntimeError):  # of a loop that is closed
            loop.call_soon_threadsafe(work.cancel, context=Context())
