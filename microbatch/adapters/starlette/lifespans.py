"""Finish what batchers have accepted when their app ends."""

import asyncio
import functools
import inspect
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, TypeAlias

from microbatch import Batcher, BlockingBatcher

__all__ = ["AppLifespan", "closing", "lifespan"]

AppLifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Any]]
AnyBatcher: TypeAlias = Batcher[Any, Any]
Closable: TypeAlias = AnyBatcher | BlockingBatcher[Any, Any]

log = logging.getLogger("microbatch")


def lifespan(
    *batchers: Batcher[Any, Any],
    timeout: float | None = 10.0,
    around: AppLifespan | None = None,
) -> AppLifespan:
    """Make the lifespan of an app that uses batchers which live longer than it.

    ::

        app = FastAPI(lifespan=lifespan(embed, rerank))

    When the app ends, the batchers are drained, one after another in the order given: what they
    have accepted is finished, for up to ``timeout`` seconds in all; None is no limit. A warning in
    the log ``microbatch`` counts what was not. They stay open, so that the same app can start
    again, as it does in tests; what an app makes for itself it closes with ``closing``.

    ``around`` is the app's own lifespan. It begins before and ends after, so handlers can use to
    the last what it opens, and its state is the app's. An app that is cancelled, instead of shut
    down, waits for nothing.

    Raises TypeError or ValueError for what is wrong, here and not when the app ends.
    """
    for batcher in batchers:
        check_batcher(batcher)
    check_timeout(timeout)
    check_around(around)

    @asynccontextmanager
    async def living(app: Any) -> AsyncGenerator[Any]:
        own = nullcontext() if around is None else around(app)
        async with own as state, at_the_end(functools.partial(drain, batchers, timeout)):
            yield state

    return living


def closing(
    *batchers: Batcher[Any, Any] | BlockingBatcher[Any, Any], timeout: float | None = 10.0
) -> AbstractAsyncContextManager[None]:
    """Close batchers at the end of an ``async with`` block, as in the lifespan that makes them.

    ::

        @asynccontextmanager
        async def lifespan(app):
            batcher = Batcher(load_model())
            async with closing(batcher):
                yield {"batcher": batcher}

    They are closed one after another, in the order given: one whose handler submits to another
    stands before it. What they have accepted is finished, for up to ``timeout`` seconds in all;
    None is no limit. The rest fails with BatcherClosedError and its handlers are cancelled, and a
    warning in the log ``microbatch`` counts it. A block that is cancelled waits for nothing, and
    leaves them open.

    Raises TypeError or ValueError for what is wrong, here and not at the end.
    """
    for batcher in batchers:
        if not isinstance(batcher, BlockingBatcher):
            check_batcher(batcher)
    check_timeout(timeout)
    return at_the_end(functools.partial(close, batchers, timeout))


# --------------------------------------------------------------------------------------- at the end
@asynccontextmanager
async def at_the_end(finish: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """Finish at the end of the block, whether it raised or not, unless it is cancelled."""
    try:
        yield
    except Exception:
        await finish()
        raise
    await finish()


async def drain(batchers: Sequence[AnyBatcher], timeout: float | None) -> None:
    """Wait for what batchers have accepted, and tell of what is not finished in time."""
    deadline = deadline_of(timeout)
    for batcher in batchers:
        try:
            async with asyncio.timeout_at(deadline):
                await batcher.drain()
        except TimeoutError:
            now = batcher.statistics()
            log.warning(
                "batcher %r was not drained within %g s: unfinished items: %d, handler calls: %d",
                batcher.name,
                timeout,
                now.waiting + now.queued + now.joined + now.in_flight,
                now.slots_busy,
            )


async def close(batchers: Sequence[Closable], timeout: float | None) -> None:
    """Close batchers, and tell of what was given up."""
    deadline = deadline_of(timeout)
    for batcher in batchers:
        if given_up := await batcher.aclose(time_until(deadline)):
            log.warning(
                "batcher %r did not finish within %g s: items given up: %d",
                batcher.name,
                timeout,
                given_up,
            )


def deadline_of(timeout: float | None) -> float | None:
    """Give the loop's time when a timeout passes that begins now."""
    return None if timeout is None else asyncio.get_running_loop().time() + timeout


def time_until(deadline: float | None) -> float | None:
    """Give the seconds that are left."""
    if deadline is None:
        return None
    return max(0.0, deadline - asyncio.get_running_loop().time())


# ----------------------------------------------------------------------------------------- checking
def check_batcher(batcher: object) -> None:
    """Raise TypeError for what is no batcher, or is one only through an instance."""
    if isinstance(batcher, BlockingBatcher):
        raise TypeError(
            "batchers must be Batchers or @batched functions, and closing() takes a "
            f"BlockingBatcher, got {batcher!r}"
        )
    if not isinstance(batcher, Batcher):
        raise TypeError(f"batchers must be Batchers or @batched functions, got {batcher!r}")
    batcher.statistics()  # raises for a method that has no instance


def check_timeout(timeout: object) -> None:
    """Raise TypeError or ValueError unless it is a number of seconds, or None."""
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds or None, got {timeout!r}")
    if not 0.0 <= timeout < math.inf:
        raise ValueError(f"timeout must be >= 0 and finite, got {timeout!r}")


def check_around(around: object) -> None:
    """Raise TypeError unless it can be a lifespan."""
    if around is None:
        return
    if not callable(around) or inspect.isasyncgenfunction(around):
        raise TypeError(
            "around must be a function of the app that gives an async context manager, "
            f"such as @asynccontextmanager makes, got {around!r}"
        )
