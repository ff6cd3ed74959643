"""Make the lane of a batcher on an asyncio loop, and tell it the options."""

import asyncio
import functools
from collections.abc import Callable
from contextvars import Context
from typing import Any

from microbatch._core import InFlightBatch, Lane, Ticket
from microbatch._dispatch.observing import wants_contexts
from microbatch._loops.cancelling import cancel_threadsafe
from microbatch._loops.timer import TimerHandle
from microbatch._streams.channel import of_entry
from microbatch.options import Options

__all__ = ["configure", "make_lane"]


def make_lane(
    loop: asyncio.AbstractEventLoop,
    name: str,
    options: Options,
    *,
    clock: Callable[[], float],
    call_at: Callable[[float, Callable[[], object]], TimerHandle],
    context: Context,
    pin: Callable[[], object] | None,
    on_due: Callable[[], object],
    on_abandoned: Callable[[InFlightBatch[Any]], object],
    on_idle: Callable[[], object],
    on_own_wait: Callable[[], object],
) -> Lane:
    """Make a lane with all of its slots free; what the loop calls back runs in ``context``."""
    done: asyncio.Future[None] = loop.create_future()
    done.set_result(None)
    lane = Lane(
        loop,
        name,
        clock=clock,
        call_soon=functools.partial(loop.call_soon, context=context),
        call_soon_threadsafe=functools.partial(loop.call_soon_threadsafe, context=context),
        call_at=call_at,
        on_due=on_due,
        on_abandoned=on_abandoned,
        on_idle=on_idle,
        on_given_up=cancel_threadsafe,
        on_own_wait=on_own_wait,
        on_callback_error=functools.partial(report, loop),
        pin=pin,
        cancelled_error=asyncio.CancelledError,
        invalid_state_error=asyncio.InvalidStateError,
        done_future=done,
    )
    configure(lane, options)
    lane.free_slots = options.max_concurrent_batches
    return lane


def configure(lane: Lane, options: Options, *, draining: bool = False) -> None:
    """Give a lane its options; while somebody drains, no item waits for companions."""
    lane.configure(
        max_batch_size=options.max_batch_size,
        max_latency=0.0 if options.max_latency == "auto" else options.max_latency,
        learns=options.learns_latency,
        capacity=options.capacity,
        overflow=options.overflow,
        timeout=options.timeout,
        max_batch_weight=options.max_batch_weight,
        key=of_entry(options.key, streams=options.stream),
        weigh=of_entry(options.weigh, streams=options.stream),
        priority=of_entry(options.priority, streams=options.stream),
        dedupe=options.dedupe,
        dedupe_in_flight=options.dedupe_in_flight,
        refuse_overweight=options.overweight == "reject",
        ageing=options.ageing,
        max_batches_per_key=options.max_concurrent_batches_per_key,
        capture=wants_contexts(options),
        draining=draining,
    )


def report(
    loop: asyncio.AbstractEventLoop, error: BaseException, callback: object, ticket: Ticket[Any]
) -> None:
    """Tell the loop of what a callback of a ticket has raised."""
    message = f"Exception in callback {callback!r} of {ticket!r}"
    loop.call_exception_handler({"message": message, "exception": error})
