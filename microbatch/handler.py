"""Make of every kind of handler what gives a coroutine, or an async generator, for a list."""

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.to_thread

__all__ = ["as_coroutine_function", "check_stream", "name_of"]


def name_of(handler: Any) -> str:
    """Give the name that a handler goes by in logs and errors."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    name = getattr(handler, "__qualname__", None) or getattr(handler, "__name__", None)
    return (name or type(handler).__qualname__).rpartition("<locals>.")[2]


def as_coroutine_function(handler: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Give a handler that can be awaited: as it is, or run in a thread of anyio's pool.

    An async generator function is given back as it is too; its calls are for whoever makes them to
    iterate over. Raises TypeError for what is no handler.
    """
    if not callable(handler):
        raise TypeError(f"handler must be callable, got {handler!r}")
    if isinstance(handler, type):
        raise TypeError(f"handler must be a function of a list of items, got the class {handler!r}")
    if is_async_generator(handler) or any(map(inspect.iscoroutinefunction, faces_of(handler))):
        return handler
    return in_thread(handler)


def is_async_generator(handler: object) -> bool:
    """Tell whether calling a handler gives an async generator."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return any(map(inspect.isasyncgenfunction, faces_of(handler)))


def check_stream(handler: object, stream: bool) -> None:
    """Raise ValueError where a handler that should stream is no async generator."""
    if stream and not is_async_generator(handler):
        raise ValueError(
            "stream=True needs an async generator for a handler, "
            f"and {name_of(handler)!r} is not one: let it yield"
        )


def faces_of(handler: object) -> tuple[Any, ...]:
    """Give what may carry the mark of ``async def``: a function, or an instance's ``__call__``."""
    return (handler, getattr(type(handler), "__call__", None))  # noqa: B004 (whose it is)


def in_thread(handler: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Run a plain function in a worker thread; what it returns may still be awaitable.

    A thread cannot be cancelled, so a cancelled call ends when its thread does: until then its
    slot is taken.
    """

    async def call(*lists: list[Any], **named: list[Any]) -> Any:
        work = functools.partial(outcome_of, handler, *lists, **named)
        # The slots bound the threads; the pool's common limit is for those who have no other.
        in_pool = anyio.to_thread.run_sync(work, limiter=anyio.CapacityLimiter(1))
        answer, exit_request = await finished(asyncio.create_task(in_pool))
        if exit_request is not None:
            raise exit_request
        return await answer if inspect.isawaitable(answer) else answer

    return call


def outcome_of(
    handler: Callable[..., Any], *lists: list[Any], **named: list[Any]
) -> tuple[Any, BaseException | None]:
    """Call a handler; an exit request is handed over, for two tasks would propagate it twice."""
    try:
        return handler(*lists, **named), None
    except (KeyboardInterrupt, SystemExit) as error:
        return None, error


async def finished(task: asyncio.Task[Any]) -> Any:
    """Wait for a task to the end; a cancellation meanwhile is raised only then."""
    cancelled = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # seen, though nobody is left to hear of it
    raise cancelled
