"""What becomes of items whose deadline has passed."""

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from microbatch._core import InFlightBatch, Lane, Ticket
from microbatch.errors import BatchTimeoutError
from microbatch.options import TimeoutPolicy

__all__ = ["Timeouts"]


class Timeouts:
    """Settle the late items of one lane as the ``timeout_policy`` says.

    ``ask(batch, work)`` has work done that asks a policy, and settles with its answers;
    ``cancel(batch)`` cancels a handler call.
    """

    def __init__(
        self,
        lane: Lane,
        policy: TimeoutPolicy,
        name: str,
        *,
        ask: Callable[[InFlightBatch[Any], Coroutine[Any, Any, Any]], object],
        cancel: Callable[[InFlightBatch[Any]], object],
    ) -> None:
        self._lane = lane
        self._policy = policy
        self._name = name
        self._ask = ask
        self._cancel = cancel

    def settle(self) -> None:
        """Take what is late now, and settle it, or have the policy asked."""
        queued, in_flight, hit = self._lane.take_late()
        if self._policy == "fail":
            for batch in hit:
                batch.fail(self._batch_error)
                self._cancel(batch)
        if callable(self._policy):
            for batch in (queued, in_flight):
                # Handlers have been cancelled, and may have waited for others of these.
                if batch.alive:
                    late = batch.part(0, batch.size)
                    self._ask(late, asking(self._policy, late.items))
        else:
            queued.fail(functools.partial(self._error, "while it was queued"))
            in_flight.fail(functools.partial(self._error, "while it was in flight"))
        self._lane.wake_soon()

    def _error(self, where: str, ticket: Ticket[Any]) -> BatchTimeoutError:
        seconds = ticket.deadline - ticket.submitted
        return BatchTimeoutError(
            f"an item of batcher {self._name!r} passed its timeout of {seconds:g} s {where}"
        )

    def _batch_error(self, _: Ticket[Any]) -> BatchTimeoutError:
        return BatchTimeoutError(
            f"an item of batcher {self._name!r} failed with its batch, in which one was late"
        )


async def asking(policy: Callable[[list[Any]], Any], items: list[Any]) -> Any:
    """Ask a policy for all ``items``, whoever leaves before it is asked."""
    answer = policy(items)
    return await answer if inspect.isawaitable(answer) else answer
