"""Call a handler for the items of a batch, whatever kind of handler it is."""

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from microbatch._core import InFlightBatch, Lane
from microbatch._handlers.partial_results import answer_one_by_one, answer_together
from microbatch._handlers.settling import only_caller
from microbatch._handlers.stream_calls import StreamCall
from microbatch.batch import served
from microbatch.options import Options

__all__ = ["Handler", "HandlerCall", "caller_of", "take_answer"]

Handler: TypeAlias = Callable[[list[Any]], Any]
"""Gives a coroutine, or an async generator, for a list of items."""
HandlerCall: TypeAlias = Callable[[list[Any]], Coroutine[Any, Any, Any]]
"""Gives the coroutine of a batch's task, for the items that it departed with.

It is called where ``served()`` gives the batch. The coroutine answers the results, or
SETTLED, or as much as was answered before a failure."""


def caller_of(handler: Handler, lane: Lane, options: Options, name: str) -> HandlerCall:
    """Give the function that calls a handler for the items of a batch."""
    if options.stream:
        return functools.partial(
            stream_call, handler, functools.partial(StreamCall, lane, options, name)
        )
    if inspect.iscoroutinefunction(handler):
        return handler
    return functools.partial(
        plain_call, handler, functools.partial(take_answer, lane, options, name)
    )


def plain_call(
    handler: Handler,
    take: Callable[[InFlightBatch[Any], Any], Coroutine[Any, Any, Any]],
    items: list[Any],
) -> Coroutine[Any, Any, Any]:
    """Call a handler once with all items; what it answers is theirs, in one or in parts."""
    return take(served(), handler(items))


def take_answer(
    lane: Lane, options: Options, name: str, batch: InFlightBatch[Any], answer: Any
) -> Coroutine[Any, Any, Any]:
    """Give what awaits the answer to a handler call for a batch, as a whole or item by item."""
    if not inspect.isasyncgen(answer):
        work: Coroutine[Any, Any, Any] = answer
        return work
    if options.is_ordered:
        return answer_together(answer, batch, name)
    return answer_one_by_one(answer, batch, name, lane.wake_soon, only_caller(options))


def stream_call(
    handler: Handler,
    make_call: Callable[[InFlightBatch[Any], list[Any]], StreamCall],
    items: list[Any],
) -> Coroutine[Any, Any, Any]:
    """Call a handler once with all items, and take its steps."""
    batch = served()
    call = make_call(batch, items)
    batch.places = call.places
    return call.run(handler(call.items))
