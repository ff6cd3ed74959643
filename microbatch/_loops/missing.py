"""What to use where no asyncio event loop runs: the advice depends on what runs there instead.

Only what has been imported by others is asked, and only where something fails anyway.
"""

import sys
from typing import Any

__all__ = ["cannot_attach", "cannot_await", "no_loop", "refuse_patched_threads"]


def no_loop(name: str) -> RuntimeError:
    """Make the error of a batcher that was used where no event loop runs."""
    if under_trio():
        return RuntimeError(
            f"batcher {name!r} needs asyncio, and was used under trio: run the program on asyncio "
            "(with anyio: backend='asyncio'), or make a BlockingBatcher, and wait for it with "
            "await trio.to_thread.run_sync(blocking_batcher.submit(item).result)"
        )
    if patched_by_gevent():
        return RuntimeError(f"batcher {name!r} needs asyncio, {PATCHED}")
    if under_gevent():
        return RuntimeError(
            f"batcher {name!r} needs asyncio, and was used under gevent: make a BlockingBatcher, "
            "and wait for it with "
            "gevent.get_hub().threadpool.apply(blocking_batcher.submit(item).result)"
        )
    return RuntimeError(
        f"batcher {name!r} was used where no event loop runs: "
        "submit from a coroutine or a callback of a loop, such as asyncio.run() starts, "
        "or from threads and synchronous code through a BlockingBatcher"
    )


def cannot_await(name: str) -> RuntimeError:
    """Make the error of a BlockingBatcher that was awaited where no event loop runs."""
    if under_trio():
        return RuntimeError(
            f"batcher {name!r} can be awaited under asyncio, and not under trio: close it with "
            "await trio.to_thread.run_sync(blocking_batcher.close)"
        )
    return RuntimeError(
        f"batcher {name!r} was awaited where no event loop runs: use `with` or close()"
    )


def cannot_attach() -> RuntimeError:
    """Make the error of a BlockingBatcher that has no event loop to work on."""
    if under_trio():
        return RuntimeError(
            "attached() needs an asyncio event loop, and trio runs here: BlockingBatcher(handler) "
            "has a loop of its own; wait for it with "
            "await trio.to_thread.run_sync(blocking_batcher.submit(item).result)"
        )
    return RuntimeError(
        "attached() must be given an event loop or a portal where no event loop runs"
    )


def refuse_patched_threads(name: str) -> None:
    """Raise RuntimeError where a thread would be no thread, or its loop's sockets no sockets."""
    if patched_by_gevent():
        raise RuntimeError(f"batcher {name!r} needs a thread that runs asyncio, {PATCHED}")


PATCHED = (
    "and gevent.monkey has patched what that is built on: "
    "use it in a process of its own that is not patched"
)


def under_trio() -> bool:
    """Tell whether trio runs this code."""
    lowlevel: Any = sys.modules.get("trio.lowlevel")
    if lowlevel is None:
        return False
    try:
        lowlevel.current_trio_token()
    except RuntimeError:
        return False
    return True


def under_gevent() -> bool:
    """Tell whether this code runs in a greenlet of gevent."""
    gevent: Any = sys.modules.get("gevent")
    return gevent is not None and isinstance(gevent.getcurrent(), gevent.Greenlet)


def patched_by_gevent() -> bool:
    """Tell whether gevent stands in for threads or sockets."""
    monkey: Any = sys.modules.get("gevent.monkey")
    return monkey is not None and any(map(monkey.is_module_patched, ("threading", "socket")))
