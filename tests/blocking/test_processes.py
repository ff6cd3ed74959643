"""What only a process of its own can show: its end, and its children."""

from __future__ import annotations

import os

import pytest

from tests.scripts import run_script

PRELUDE = """
    import asyncio, os, sys, threading, time, warnings
    from microbatch import Batcher, BatcherClosedError, BlockingBatcher

    def double(items):
        return [2 * item for item in items]

    async def double_on_loop(items):
        return double(items)

    async def for_ever(items):
        await asyncio.get_running_loop().create_future()
"""


def run(script: str, *flags: str) -> str:
    """Run a script in a fresh interpreter, and give what it printed."""
    status, printed, complaints = run_script(PRELUDE, script, flags=flags, timeout=20)
    assert (status, complaints) == (0, "")
    return printed.strip()


@pytest.mark.parametrize("handler", ["double", "double_on_loop"])
def test_a_program_ends_though_one_is_not_closed(handler: str) -> None:
    assert run(f"""
        batcher = BlockingBatcher({handler})
        print(batcher.submit(1).result())
    """) == "2"  # fmt: skip


def test_threads_that_outlive_the_main_one_go_on() -> None:
    assert run("""
        batcher = BlockingBatcher(double)
        batcher.submit(1).result()  # no thread starts once the main one has ended
        def work():
            threading.main_thread().join()
            print(list(batcher.map(range(3))))
        threading.Thread(target=work).start()
    """) == "[0, 2, 4]"  # fmt: skip


def test_an_executor_does_not_keep_a_program_from_ending() -> None:
    assert run("""
        from concurrent.futures import ThreadPoolExecutor
        batcher = BlockingBatcher(double, executor=ThreadPoolExecutor(2))
        print(batcher.submit(1).result())
    """) == "2"  # fmt: skip


def test_items_in_flight_when_a_loop_is_closed_under_them_fail() -> None:
    assert run("""
        import logging
        logging.disable()
        warnings.simplefilter("ignore")
        async def attach():
            blocking = BlockingBatcher.attached(Batcher(for_ever, max_batch_size=2))
            futures = [blocking.submit(item) for item in range(3)]
            for _ in range(5):
                await asyncio.sleep(0)
            return blocking, futures
        loop = asyncio.new_event_loop()
        blocking, futures = loop.run_until_complete(attach())
        print(blocking.statistics().in_flight)
        loop.close()
        print(*(type(each.exception()).__name__ for each in futures))
    """).split() == ["2", *["BatcherClosedError"] * 3]  # fmt: skip


@pytest.mark.parametrize("closes", [1, 2])
def test_a_close_that_the_end_of_the_loop_cuts_off_is_told(closes: int) -> None:
    assert run(f"""
        import logging
        logging.disable()
        warnings.simplefilter("ignore")
        async def attach():
            blocking = BlockingBatcher.attached(for_ever)
            blocking.submit(1)
            closings = [blocking._begin_close(None) for _ in range({closes})]
            for _ in range(5):
                await asyncio.sleep(0)
            return closings
        loop = asyncio.new_event_loop()
        closings = loop.run_until_complete(attach())
        loop.close()
        print(*{{type(each.exception(5)).__name__ for each in closings}})
    """) == "BatcherClosedError"  # fmt: skip


def test_the_end_of_asyncio_run_settles_the_futures_of_threads() -> None:
    assert run("""
        warnings.simplefilter("ignore")
        async def attach():
            blocking = BlockingBatcher.attached(Batcher(for_ever, max_batch_size=2))
            futures = [blocking.submit(item) for item in range(3)]
            for _ in range(5):
                await asyncio.sleep(0)
            return blocking, futures
        blocking, futures = asyncio.run(attach())
        print(*(type(each.exception()).__name__ for each in futures))
    """) == "HandlerCancelledError HandlerCancelledError BatcherClosedError"  # fmt: skip


FORK = """
    warnings.simplefilter("ignore", DeprecationWarning)

    def in_child(work):
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        try:
            os._exit(work())
        finally:
            os._exit(99)
"""

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@forks
@pytest.mark.parametrize("made", ["double", "Batcher(double_on_loop)"])
def test_a_forked_process_starts_a_thread_of_its_own(made: str) -> None:
    assert run(FORK + f"""
    batcher = BlockingBatcher({made})
    batcher.submit(1).result()

    def work():
        assert batcher.submit(2).result(10) == 4
        assert list(batcher.map(range(3))) == [0, 2, 4]
        assert batcher.close() == 0
        return 7

    print(in_child(work), batcher.submit(3).result(10), batcher.close())
    """) == "7 6 0"  # fmt: skip


@forks
def test_one_that_was_not_used_before_the_fork_works_on_both_sides() -> None:
    assert run(FORK + """
    batcher = BlockingBatcher(double)

    def work():
        with batcher:
            return batcher.submit(2).result(10)

    print(in_child(work), batcher.submit(3).result(10))
    """) == "4 6"  # fmt: skip


@forks
def test_what_is_pending_at_a_fork_is_answered_in_the_parent_alone() -> None:
    assert run(FORK + """
    entered, leave = threading.Event(), threading.Event()

    def held(items):
        entered.set()
        leave.wait(10)
        return items

    batcher = BlockingBatcher(held)
    future = batcher.submit(1)
    entered.wait(10)

    def work():
        try:
            future.result()
        except BatcherClosedError:
            return 5

    code = in_child(work)
    leave.set()
    print(code, future.result(10))
    """) == "5 1"  # fmt: skip


@forks
def test_one_that_is_attached_is_closed_in_a_forked_process() -> None:
    assert run(FORK + """
    from anyio.from_thread import start_blocking_portal

    with start_blocking_portal() as portal:
        batcher = BlockingBatcher.attached(Batcher(double), portal)
        batcher.submit(1).result(10)

        def work():
            failed = isinstance(batcher.submit(1).exception(), BatcherClosedError)
            return 10 * failed + batcher.close()

        print(in_child(work), batcher.submit(3).result(10), batcher.close())
    """) == "10 6 0"  # fmt: skip


@forks
def test_a_batcher_can_be_closed_in_a_forked_process() -> None:
    assert run(FORK + """
    made = Batcher(double_on_loop)
    batcher = BlockingBatcher(made)
    batcher.submit(1).result()

    def work():
        asyncio.run(asyncio.wait_for(made.aclose(), 10))
        return 5

    print(in_child(work), batcher.submit(3).result(10), batcher.close())
    """) == "5 6 0"  # fmt: skip


def test_it_costs_no_import_that_takes_time() -> None:
    assert run("""
        heavy = ("anyio.from_thread", "multiprocessing", "concurrent.futures.thread", "pickle",
                 "concurrent.futures.process")
        print([name for name in heavy if name in sys.modules])
    """) == "[]"  # fmt: skip
