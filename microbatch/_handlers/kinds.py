"""Make of every kind of handler what gives a coroutine, or an async generator, for a list."""

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import copy_context
from typing import Any, TypeAlias

import anyio
import anyio.to_thread

from microbatch._handlers.worker_calls import WorkerAnswer, WorkerCall
from microbatch._loops.cancelling import outlast

__all__ = [
    "as_coroutine_function",
    "check_columnar",
    "check_stream",
    "name_of",
    "tells_of_shutdown",
]

Started: TypeAlias = tuple[Coroutine[Any, Any, WorkerAnswer], Callable[[], object]]
"""What waits for a call that was started, and what takes the call back if it can be."""


def name_of(handler: Any) -> str:
    """Give the name that a handler goes by in logs and errors."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    name = getattr(handler, "__qualname__", None) or getattr(handler, "__name__", None)
    return (name or type(handler).__qualname__).rpartition("<locals>.")[2]


def as_coroutine_function(
    handler: Callable[..., Any], executor: Executor | None = None
) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Give a handler that can be awaited: as it is, or run by the executor or in anyio's pool.

    An async generator function is given back as it is too; its calls are for whoever makes them to
    iterate over. Raises TypeError for what is no handler, and for an ``async def`` with an
    executor.
    """
    if not callable(handler):
        raise TypeError(f"handler must be callable, got {handler!r}")
    if isinstance(handler, type):
        raise TypeError(f"handler must be a function of a list of items, got the class {handler!r}")
    if not is_async(handler):
        return elsewhere(handler, in_pool if executor is None else in_executor(executor))
    if executor is not None:
        raise TypeError(
            f"executor must be None for an async def, which {name_of(handler)!r} is, "
            f"got {executor!r}"
        )
    return handler


def is_async(handler: object) -> bool:
    """Tell whether a handler is an ``async def``, one that yields too."""
    is_coroutine_function = any(map(inspect.iscoroutinefunction, faces_of(handler)))
    return is_coroutine_function or is_async_generator(handler)


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


def check_columnar(handler: object, columnar: bool) -> None:
    """Raise ValueError where a handler that should answer columns is an async generator."""
    if columnar and is_async_generator(handler):
        raise ValueError(
            "columnar=True needs a handler that returns its columns, "
            f"and {name_of(handler)!r} is an async generator, which yields (index, result) pairs"
        )


def faces_of(handler: object) -> tuple[Any, ...]:
    """Give what may carry the mark of ``async def``: a function, or an instance's ``__call__``."""
    return (handler, getattr(type(handler), "__call__", None))  # noqa: B004 (whose it is)


def elsewhere(
    handler: Callable[..., Any], start: Callable[[WorkerCall], Started]
) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Run a plain function off the loop; what it returns may still be awaitable.

    What has begun there cannot be cancelled, so a cancelled call ends when it has: until then its
    slot is taken.
    """

    async def call(*lists: list[Any], **named: list[Any]) -> Any:
        work, take_back = start(WorkerCall(handler, lists, named, copy_context()))
        answer, exit_request = await finished(asyncio.create_task(work), take_back)
        if exit_request is not None:
            try:  # an eager task that exits in its first step is one that nobody can ask
                await asyncio.sleep(0)
            finally:
                raise exit_request
        return await answer if inspect.isawaitable(answer) else answer

    return call


def in_pool(call: WorkerCall) -> Started:
    """Start a call in a thread of anyio's pool."""
    return pooled(call), lambda: None


async def pooled(call: WorkerCall) -> WorkerAnswer:
    """Make a call in a thread of anyio's pool, or here once the interpreter ends without one."""
    begun = False

    def work() -> WorkerAnswer:
        nonlocal begun
        begun = True
        return call.answer()

    try:
        # The slots bound the threads; the pool's common limit is for those who have no other.
        return await anyio.to_thread.run_sync(work, limiter=anyio.CapacityLimiter(1))
    except RuntimeError as error:
        # The last items before the end had better be handled on the loop than not at all.
        if begun or not tells_of_shutdown(error):
            raise
    return call.answer()


def tells_of_shutdown(error: RuntimeError) -> bool:
    """Tell whether an error says that the interpreter ends and starts no more threads."""
    return "interpreter shutdown" in str(error)


def in_executor(executor: Executor) -> Callable[[WorkerCall], Started]:
    """Start calls in an executor, which lets those be taken back that it has not begun."""

    def start(call: WorkerCall) -> Started:
        future = executor.submit(call)

        async def wait() -> WorkerAnswer:
            return await asyncio.wrap_future(future)

        return wait(), future.cancel

    return start


async def finished(task: asyncio.Task[Any], take_back: Callable[[], object]) -> Any:
    """Wait for a task to the end; a cancellation meanwhile is raised only then."""
    if not await outlast(task, take_back):
        return task.result()
    if not task.cancelled():
        task.exception()  # seen, though nobody is left to hear of it
    raise asyncio.CancelledError
