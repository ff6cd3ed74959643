"""What a BlockingBatcher does besides submitting: find its loop, wait, and close."""

import asyncio
import functools
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from microbatch.batcher import Batcher
from microbatch.inbox import Answer, Inbox
from microbatch.options import BatcherOptions

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

__all__ = ["Place", "finish", "loop_at", "maker_of", "wait_for"]

R = TypeVar("R")

Place: TypeAlias = "AbstractEventLoop | BlockingPortal | None"


def finish(
    batcher: Batcher[Any, Any],
    owned: bool,
    inbox: Inbox,
    timeout: float | None,
    stop: Callable[[], object] | None,
) -> "asyncio.Task[int]":
    """Refuse items, finish what was accepted, and give up the rest after the timeout; on the loop.

    The task answers how many were given up. A batcher that is owned is closed. ``stop`` ends the
    loop, where it is the batcher's own.
    """
    inbox.closed = True

    async def end() -> int:
        try:
            if owned:
                return await batcher.aclose(timeout)
            given_up = await settle(batcher, inbox, timeout)
            if stop is not None:
                await batcher.drain()
            return given_up
        finally:
            inbox.unwatch()
            if stop is not None:
                stop()

    return asyncio.create_task(end())


async def settle(batcher: Batcher[Any, Any], inbox: Inbox, timeout: float | None) -> int:
    """Wait for what came through an inbox, and give up the rest after the timeout."""
    batcher.flush()
    if works := [work for answer, work in inbox.pending.items() if answer.size]:
        await asyncio.wait(cast("list[asyncio.Future[Any]]", works), timeout=timeout)
    return inbox.give_up()


def wait_for(answer: Answer[R]) -> R:
    """Wait for an errand; an interrupted wait takes it back."""
    try:
        return answer.result()
    finally:
        answer.cancel()


def maker_of(handler: Any, options: BatcherOptions) -> Callable[[], Batcher[Any, Any]]:
    """Give what gives the batcher: the one that is given, or each time a new one of a handler."""
    if not isinstance(handler, Batcher):
        return functools.partial(Batcher, handler, **options)
    given: Batcher[Any, Any] = handler  # pyright: ignore[reportUnknownVariableType]
    if options:
        raise TypeError(
            f"options must be given to the batcher itself, {given.name!r}, got {', '.join(options)}"
        )
    given.statistics()  # a method without its instance says so
    return lambda: given


def loop_at(where: Place) -> AbstractEventLoop:
    """Give the loop that is meant."""
    if where is None:
        try:
            return asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "attached() must be given an event loop or a portal where no event loop runs"
            ) from None
    if isinstance(where, AbstractEventLoop):
        return where
    call: Callable[..., Any] | None = getattr(where, "call", None)
    if call is None:
        raise TypeError(f"where must be an event loop, a BlockingPortal or None, got {where!r}")
    loop: AbstractEventLoop = call(asyncio.get_running_loop)
    return loop
