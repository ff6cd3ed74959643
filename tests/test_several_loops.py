"""A batcher without a loop, on one after the other, and on several in threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import sys
import threading
from typing import Any

import pytest

from microbatch import Batcher, BatcherClosedError
from microbatch.testing import RecordingHandler

HOUR = 3600.0


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# ------------------------------------------------------------------------------------------ no loop
METHODS = ["submit", "submit_nowait", "submit_many"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("tidy")
def test_submitting_where_no_loop_runs_says_what_to_do(method: str) -> None:
    batcher: Batcher[str, str] = Batcher(RecordingHandler())
    with pytest.raises(RuntimeError) as caught:
        getattr(batcher, method)("a")
    assert str(caught.value).startswith(
        "batcher 'recording' was used where no event loop runs: submit from a coroutine"
    )


@pytest.mark.usefixtures("tidy")
def test_flushing_where_no_loop_runs_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match="used where no event loop runs"):
        Batcher(RecordingHandler()).flush()


@pytest.mark.usefixtures("tidy")
def test_a_batcher_needs_no_loop_to_be_made_described_and_counted() -> None:
    batcher: Batcher[str, str] = Batcher(RecordingHandler())
    assert repr(batcher) == "<Batcher 'recording'>"
    assert batcher.name == "recording"
    assert batcher.options.max_batch_size == 64
    assert batcher.statistics().submitted == 0


# ------------------------------------------------------------------------------ one after the other
def test_a_second_run_just_works(loop_kind: Any) -> None:
    handler: RecordingHandler[int, int] = RecordingHandler()
    batcher = Batcher(handler)

    async def main(item: int) -> int:
        return await batcher.submit(item)

    assert [loop_kind.run(main, item) for item in range(3)] == [0, 1, 2]
    assert batcher.statistics().completed == 3
    assert batcher.statistics().batches == {"natural": 3}


def test_a_closed_batcher_stays_closed_on_the_next_loop(loop_kind: Any) -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler())

    async def close() -> None:
        await batcher.aclose()

    async def use() -> None:
        batcher.submit(1)

    loop_kind.run(close)
    with pytest.raises(BatcherClosedError):
        loop_kind.run(use)


def test_a_closed_batcher_is_closed_on_a_loop_that_rests(loop_kind: Any) -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler())

    async def use() -> int:
        return await batcher.submit(1)

    async def close() -> None:
        await batcher.aclose()

    with loop_kind.open() as loop:
        assert loop.run_until_complete(use()) == 1
        with loop_kind.open() as other:
            other.run_until_complete(close())
        with pytest.raises(BatcherClosedError):
            loop.run_until_complete(use())


def test_a_loop_may_rest_with_items_pending(loop_kind: Any) -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler(delay=1.0), max_latency=1.0)
    tickets = []

    async def start() -> None:
        tickets.append(batcher.submit(1))

    async def finish() -> int:
        return await tickets[0]

    with loop_kind.open() as loop:
        loop.run_until_complete(start())
        assert loop.run_until_complete(finish()) == 1


def test_items_of_a_batcher_that_went_before_its_loop_are_warned_of(loop_kind: Any) -> None:
    async def leave() -> None:
        Batcher(RecordingHandler(), max_latency=HOUR).submit_many([1, 2])

    def run_and_collect() -> None:
        loop_kind.run(leave)
        gc.collect()

    with pytest.warns(ResourceWarning, match="closed with unsettled items of batcher .*: 2; "):
        run_and_collect()


def test_no_handler_is_called_while_the_loop_is_shut_down(loop_kind: Any) -> None:
    handler = RecordingHandler[int, int](delay=HOUR)
    batcher: Batcher[int, int] = Batcher(handler, max_batch_size=1)

    async def main() -> None:
        batcher.submit_nowait(1)
        batcher.submit_nowait(2)
        await turns()

    with pytest.warns(ResourceWarning, match="unsettled items of batcher 'recording': 1; "):
        loop_kind.run(main)
    assert handler.sizes == [1]
    loop_kind.run(batcher.drain)


# --------------------------------------------------------------------------------- at the same time
class InThread:
    """Run a coroutine function on a loop of its own in a thread."""

    def __init__(self, kind: Any, main: Any) -> None:
        self.result: Any = None
        self._thread = threading.Thread(target=self._run, args=(kind, main), daemon=True)
        self._thread.start()

    def _run(self, kind: Any, main: Any) -> None:
        try:
            self.result = kind.run(main)
        except BaseException as error:
            self.result = error

    def join(self) -> Any:
        self._thread.join(timeout=10)
        assert not self._thread.is_alive()
        return self.result


def test_each_loop_has_a_queue_of_its_own(loop_kind: Any) -> None:
    seen: list[tuple[int, list[int]]] = []

    async def handler(items: list[int]) -> list[int]:
        seen.append((threading.get_ident(), items))
        return items

    batcher: Batcher[int, int] = Batcher(handler)

    async def main() -> list[int]:
        return await asyncio.gather(*(batcher.submit(threading.get_ident()) for _ in range(20)))

    threads = [InThread(loop_kind, main) for _ in range(4)]
    for results in [each.join() for each in threads]:
        assert len(set(results)) == 1
    for thread, items in seen:
        assert set(items) == {thread}
    assert batcher.statistics().completed == 80


def close_from_here(loop_kind: Any, timeout: float | None) -> tuple[Any, int]:
    """Let a loop in a thread wait for an hour, and close the batcher from another."""
    started = threading.Event()
    batcher: Batcher[int, int] = Batcher(RecordingHandler(), max_latency=HOUR, timeout=2 * HOUR)
    stay = threading.Event()

    async def main() -> int:
        ticket = batcher.submit(1)
        await turns()
        loop = asyncio.get_running_loop()
        closed = asyncio.Event()
        watcher = threading.Thread(
            target=lambda: (stay.wait(10), loop.call_soon_threadsafe(closed.set))
        )
        watcher.start()
        started.set()
        try:
            return await ticket
        finally:
            await closed.wait()
            watcher.join()

    async def close() -> int:
        return await batcher.aclose(timeout)

    thread = InThread(loop_kind, main)
    assert started.wait(10)
    try:
        abandoned = loop_kind.run(close)
    finally:
        stay.set()
    return thread.join(), abandoned


@pytest.mark.every_loop
def test_aclose_closes_the_lanes_of_all_running_loops(request: Any, loop_kind: Any) -> None:
    if "virtual" in request.node.name:
        pytest.skip("a virtual clock jumps over the hour at once")
    assert close_from_here(loop_kind, None) == (1, 0)


class OtherLoop:
    """A loop in a thread that uses a batcher, and stands still until it is told how to end."""

    def __init__(self, batcher: Batcher[int, int]) -> None:
        self.loop = asyncio.new_event_loop()
        self._standing, self._go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(batcher,), daemon=True)
        self._thread.start()
        assert self._standing.wait(10)

    def _run(self, batcher: Batcher[int, int]) -> None:
        self.loop.call_soon(self._use, batcher)
        self.loop.run_forever()
        self.loop.close()

    def _use(self, batcher: Batcher[int, int]) -> None:
        ticket = batcher.submit_nowait(1)
        self.loop.stop()  # after this; what comes meanwhile is never called
        self._standing.set()
        self._go.wait(10)
        ticket.cancel()

    def end(self) -> None:
        self._go.set()
        self._thread.join(10)


def test_aclose_does_not_wait_for_a_loop_that_is_closed_before_it_hears_of_it() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler())
    other = OtherLoop(batcher)

    async def close() -> int:
        closing = asyncio.create_task(batcher.aclose())
        await turns()
        assert not closing.done()
        await asyncio.to_thread(other.end)
        return await closing

    assert asyncio.run(close()) == 0


def test_aclose_gives_up_what_a_loop_leaves_that_cancels_its_closing() -> None:
    handler = RecordingHandler[int, int](delay=HOUR)
    batcher: Batcher[int, int] = Batcher(handler)
    closing_there, over = threading.Event(), threading.Event()

    async def use() -> None:
        task = asyncio.ensure_future(batcher.submit(1))
        await turns()
        closing_there.set()
        await asyncio.to_thread(over.wait, 10)
        for each in asyncio.all_tasks() - {asyncio.current_task()}:
            each.cancel()
        await asyncio.gather(task, return_exceptions=True)

    thread = threading.Thread(target=asyncio.run, args=(use(),), daemon=True)

    async def close() -> int:
        thread.start()
        await asyncio.to_thread(closing_there.wait, 10)
        closing = asyncio.create_task(batcher.aclose())
        await turns()
        over.set()
        return await closing

    assert asyncio.run(close()) in (0, 1)  # as far as the other loop came
    thread.join(10)


def test_aclose_passes_over_a_loop_that_was_closed_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler())
    other = OtherLoop(batcher)

    def closed(*_: object) -> None:
        raise RuntimeError("Event loop is closed")

    monkeypatch.setattr(other.loop, "call_soon_threadsafe", closed)

    async def close() -> int:
        return await batcher.aclose()

    assert asyncio.run(close()) == 1
    other.end()


def test_threads_may_open_lanes_while_loops_close(loop_kind: Any) -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler())

    async def main() -> int:
        return await batcher.submit(1)

    def many() -> None:
        for _ in range(20):
            asyncio.run(main())

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(many) for _ in range(8)]:
                done.result(30)
    finally:
        sys.setswitchinterval(before)
    assert batcher.statistics().completed == 160
