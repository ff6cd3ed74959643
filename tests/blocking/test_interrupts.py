"""Ctrl-C in a thread that waits: it goes on at once, and leaves nothing running or hanging."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from microbatch import BlockingBatcher
from tests.blocking.test_processes import run

INTERRUPTED = """
    import signal, sys

    cancelled = threading.Event()

    def main_thread_waits():
        frame = sys._current_frames()[threading.main_thread().ident]
        return frame.f_code.co_name in ("wait", "next")

    async def interrupts(items):
        while not main_thread_waits():
            await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.set()
            raise
"""


def test_an_interrupted_close_does_not_wait_for_the_handler() -> None:
    assert run(INTERRUPTED + """
    batcher = BlockingBatcher(interrupts)
    future = batcher.submit(1)
    try:
        batcher.close()
    except KeyboardInterrupt:
        print(future.done(), cancelled.is_set(), batcher.close(timeout=0))
    """) == "False False 1"  # fmt: skip


@pytest.mark.parametrize("ordering", ["ordered", "unordered"])
def test_an_interrupted_map_gives_up_the_item_that_it_waits_for(ordering: str) -> None:
    assert run(INTERRUPTED + f"""
    batcher = BlockingBatcher(interrupts, max_batch_size=1)
    try:
        list(batcher.map(range(3), ordering="{ordering}"))
    except KeyboardInterrupt:
        print(cancelled.wait(10))
    """) == "True"  # fmt: skip


def test_an_interrupted_result_leaves_the_item_to_its_owner() -> None:
    assert run(INTERRUPTED + """
    batcher = BlockingBatcher(interrupts)
    future = batcher.submit(1)
    try:
        future.result()
    except KeyboardInterrupt:
        print(future.done(), future.cancel(), cancelled.wait(10), batcher.close())
    """) == "False True True 0"  # fmt: skip


async def double(items: list[int]) -> list[int]:
    return [2 * item for item in items]


@pytest.mark.usefixtures("tidy")
def test_an_interrupt_while_the_thread_starts_leaves_no_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> Any:
        start(thread)
        started.append(thread)
        raise KeyboardInterrupt

    with BlockingBatcher(double) as batcher:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", interrupted)
            with pytest.raises(KeyboardInterrupt):
                batcher.submit(1)
        started[0].join(10)
        assert not started[0].is_alive()
        assert batcher.submit(2).result(10) == 4


@pytest.mark.usefixtures("tidy")
def test_an_interrupt_while_the_loop_is_made_leaves_it_to_be_closed() -> None:
    def interrupted() -> Any:
        raise KeyboardInterrupt

    with (
        BlockingBatcher(double, loop_factory=interrupted) as batcher,
        pytest.raises(KeyboardInterrupt),
    ):
        batcher.submit(1)
