"""Give a ticket up where nobody knows which thread it is."""

import asyncio
import contextlib
from contextvars import Context
from typing import Any

from microbatch._core import Ticket

__all__ = ["give_up"]


def give_up(ticket: Ticket[Any]) -> None:
    """Cancel a ticket from whatever thread lets go of it, on its own loop.

    Where that loop is closed there is nobody left to cancel it for.
    """
    loop = ticket.get_loop()
    if asyncio._get_running_loop() is loop:
        ticket.cancel()
    else:
        with contextlib.suppress(RuntimeError):  # of a loop that is closed
            loop.call_soon_threadsafe(ticket.cancel, context=Context())
