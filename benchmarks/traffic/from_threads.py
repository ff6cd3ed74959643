"""Threads that each submit one item after the other; all in a process of its own.

microbatch has BlockingBatcher for them. A library without such a face runs on a loop in a thread,
and is called as asyncio offers it: with ``run_coroutine_threadsafe``.
"""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.traffic.handling import WARM_UP, Answers, Handler, Work, batcher, mean
from conformance.adapter import Adapter
from conformance.child import command
from conformance.execution import execute
from conformance.peers import OURS, load

LIMIT = 60.0
"""Seconds that a process may take beyond those that it measures."""

Ask = Callable[[Any], Any]


@contextlib.contextmanager
def blocking(handler: Handler, size: int, wait: Any) -> Iterator[Ask]:
    """Give microbatch's own way for threads."""
    from microbatch import BlockingBatcher

    with BlockingBatcher(handler, max_batch_size=size, max_latency=wait) as face:
        yield lambda item: face.submit(item).result()


@contextlib.contextmanager
def threadsafe(library: type[Adapter], handler: Handler, size: int, wait: Any) -> Iterator[Ask]:
    """Give asyncio's way for threads, to a batcher on a loop in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def made() -> Callable[[Any], Any]:
        return batcher(library, handler, size, wait)

    submit = asyncio.run_coroutine_threadsafe(made(), loop).result()

    async def submitted(item: Any) -> Any:
        return await submit(item)

    yield lambda item: asyncio.run_coroutine_threadsafe(submitted(item), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def ask(face: Ask, handler: Handler, threads: int, seconds: float) -> dict[str, float]:
    """Let threads ask, and give the figures."""
    answers, over = Answers(), threading.Event()

    def caller() -> None:
        sent = time.perf_counter()
        while not over.is_set():
            face(1)
            sent = answers.add(sent)

    crowd = [threading.Thread(target=caller) for _ in range(threads)]
    for thread in crowd:
        thread.start()
    time.sleep(WARM_UP)
    before, start = (handler.calls, handler.items), time.perf_counter()
    time.sleep(seconds)
    end, after = time.perf_counter(), (handler.calls, handler.items)
    over.set()
    for thread in crowd:
        thread.join()
    return answers.figures(start, end, mean(before, after))


def measure(python: str, module: str, work: Work) -> dict[str, float]:
    """Measure the library that a module adapts, with the Python that has it."""
    limit = work.seconds + LIMIT
    done = execute(command(python, __name__, module, json.dumps(work)), limit)
    if done.code is None:
        raise RuntimeError(f"it took longer than {limit:g} s")
    if done.code:
        raise RuntimeError(done.reason)
    found: dict[str, float] = json.loads(done.output.splitlines()[-1])
    return found


def main(module: str, told: str) -> None:
    """Measure the library that a module adapts in this process, and print the figures."""
    library, handler, work = load(module), Handler(), Work(*json.loads(told))
    ours = module.endswith(f".{OURS}")
    if ours:
        made = blocking(handler, work.size, work.wait)
    else:
        made = threadsafe(library, handler, work.size, work.wait)
    with made as face:
        figures = ask(face, handler, work.clients, work.seconds)
    print("\n" + json.dumps(figures))
