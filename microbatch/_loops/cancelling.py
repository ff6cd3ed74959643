"""Cancel what is under way on a loop, from whatever thread; outlast being cancelled oneself."""

import asyncio
import contextlib
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microbatch._core import Ticket

__all__ = ["cancel_threadsafe", "outlast"]


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


async def outlast(task: "asyncio.Task[Any]", on_cancel: Callable[[], object]) -> bool:
    """Wait until a task has ended, and tell whether the waiting was cancelled meanwhile.

    ``on_cancel`` is called each time that it is. What the task raised is not raised here, or it
    would know the frames that know the task.
    """
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
            on_cancel()
    return cancelled
