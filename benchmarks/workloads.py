"""The pieces of work that the benchmarks time: each awaitable does ``count`` items or so.

Everything a workload needs is made before its clock starts; each gives seconds per item.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from benchmarks.bare import BATCH, CALLERS, FutureEcho, bare_future, by_callers, clocked, echo
from microbatch import Batcher, batched

__all__ = ["BATCH", "CALLERS", "bare_future", "echo"]

Workload = Callable[[int], Coroutine[Any, Any, float]]


async def sleep_zero(count: int) -> float:
    """Await a bare trip through the loop."""

    async def caller() -> None:
        for _ in range(count // CALLERS):
            await asyncio.sleep(0)

    callers = asyncio.gather(*(caller() for _ in range(CALLERS)))
    return await clocked(callers, count // CALLERS * CALLERS)


async def submit(count: int) -> float:
    """Await submissions, with the options as they come."""
    return await by_callers(Batcher(echo, max_batch_size=BATCH).submit, count)


async def submit_with_timeout(count: int) -> float:
    """Await submissions that have a deadline."""
    return await by_callers(Batcher(echo, max_batch_size=BATCH, timeout=30).submit, count)


async def decorated(count: int) -> float:
    """Await calls of a decorated function."""
    return await by_callers(batched(max_batch_size=BATCH)(echo), count)


async def by_gather(submit: Callable[[int], Awaitable[Any]], count: int) -> float:
    """Gather what each of so many submissions gives."""

    async def gather() -> None:
        await asyncio.gather(*[submit(index) for index in range(count)])

    return await clocked(gather(), count)


async def gather_tickets(count: int) -> float:
    """Gather tickets."""
    return await by_gather(Batcher(echo, max_batch_size=BATCH).submit, count)


async def gather_calls(count: int) -> float:
    """Gather calls of a decorated function."""
    return await by_gather(batched(max_batch_size=BATCH)(echo), count)


async def group_calls(count: int) -> float:
    """Make a task in a group of each call of a decorated function."""
    call = batched(max_batch_size=BATCH)(echo)

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            for index in range(count):
                tasks.create_task(call(index))

    return await clocked(group(), count)


async def group_futures(count: int) -> float:
    """Make a task in a group for each bare future, which takes a coroutine that awaits it."""
    submit = FutureEcho().submit

    async def wait(index: int) -> Any:
        return await submit(index)

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            for index in range(count):
                tasks.create_task(wait(index))

    return await clocked(group(), count)


async def gather_futures(count: int) -> float:
    """Gather bare futures."""
    return await by_gather(FutureEcho().submit, count)


async def lone_submit(count: int) -> float:
    """Await one submission after the other, in batches of one."""
    submit = Batcher(echo, max_batch_size=1).submit

    async def caller() -> None:
        for index in range(count):
            await submit(index)

    return await clocked(caller(), count)


async def lone_task(count: int) -> float:
    """Await one task of the handler after the other."""

    async def caller() -> None:
        for index in range(count):
            await asyncio.create_task(echo([index]))

    return await clocked(caller(), count)


async def submit_many(count: int) -> float:
    """Await one submission of all items."""
    batcher = Batcher(echo, max_batch_size=BATCH)
    return await clocked(batcher.submit_many(range(count)), count)
