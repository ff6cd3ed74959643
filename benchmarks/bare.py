"""What every workload is made of, and the floor it is measured against; needs no library."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

BATCH = 64
CALLERS = 1024


async def echo(items: list[int]) -> list[int]:
    """Answer each item with itself."""
    return items


async def clocked(work: Awaitable[object], count: int) -> float:
    """Give the seconds per item that awaiting ``work`` takes."""
    start = time.perf_counter()
    await work
    return (time.perf_counter() - start) / count


async def by_callers(call: Callable[[int], Awaitable[object]], count: int) -> float:
    """Await ``call(i)`` in many concurrent callers, one item at a time each."""

    async def caller() -> None:
        for index in range(count // CALLERS):
            await call(index)

    callers = asyncio.gather(*(caller() for _ in range(CALLERS)))
    return await clocked(callers, count // CALLERS * CALLERS)


class FutureEcho:
    """What a batch costs at the least: bare futures, resolved a batch at a time."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.pending: deque[asyncio.Future[int]] = deque()

    def submit(self, item: int) -> asyncio.Future[int]:
        """Give a future that one callback resolves, with others of its batch."""
        if not self.pending:
            self.loop.call_soon(self.resolve)
        future = self.loop.create_future()
        self.pending.append(future)
        return future

    def resolve(self) -> None:
        """Resolve one batch, and come back for the next."""
        for _ in range(min(BATCH, len(self.pending))):
            self.pending.popleft().set_result(0)
        if self.pending:
            self.loop.call_soon(self.resolve)


async def bare_future(count: int) -> float:
    """Await bare futures."""
    return await by_callers(FutureEcho().submit, count)
