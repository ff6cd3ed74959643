"""What an unclosed batcher for threads does when the program ends."""

from __future__ import annotations

import os
import re
import sys

import pytest

from tests.scripts import run_script

PRELUDE = """
    import asyncio, atexit, os, signal, sys, threading, time, warnings
    from microbatch import Batcher, BatcherClosedError, BlockingBatcher
    from microbatch._threads import exiting

    def double(items):
        sys.stdout.write(" ".join(["handled", *map(str, items)]) + "\\n")
        sys.stdout.flush()
        return [2 * item for item in items]

    async def double_on_loop(items):
        return double(items)

    async def for_ever(items):
        await asyncio.get_running_loop().create_future()

    async def block(items):
        time.sleep(3600)

    def sleep(items):
        time.sleep(3600)

    def tell(future):
        print(type(future.exception()).__name__, flush=True)

    def wait_until(true):
        while not true():
            time.sleep(0)

    def main_waits():
        frame = sys._current_frames()[threading.main_thread().ident]
        while frame is not None and frame.f_code is not exiting.FinishingThread.wait.__code__:
            frame = frame.f_back
        return frame is not None
"""
HANDLED = ["handled 0 1 2 3", "handled 4 5 6 7", "handled 8 9"]

too_early = pytest.mark.skipif(
    (3, 12) <= sys.version_info < (3, 12, 2), reason="starts no thread once the main one has ended"
)
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def run(script: str, *flags: str, code: int = 0) -> tuple[list[str], str]:
    """Run a script in a fresh interpreter, and give what it printed, and its complaints."""
    status, printed, complaints = run_script(PRELUDE, script, flags=flags, timeout=25)
    assert status == code, complaints
    return printed.splitlines(), complaints


def unfinished(count: int, name: str) -> str:
    return (
        f"RuntimeWarning: the program ended with unfinished items of batcher '{name}': {count}; "
        "close() it before, or give it a longer exit_timeout\n"
    )


# ------------------------------------------------------------------------------- it is finished
@pytest.mark.parametrize("made", ["double", "double_on_loop", "Batcher(double_on_loop, **options)"])
def test_a_program_finishes_what_was_accepted(made: str) -> None:
    script = f"""
        options = {{"max_batch_size": 4, "max_latency": 3600.0, "capacity": 5}}
        batcher = BlockingBatcher({made}, **({{}} if "Batcher" in {made!r} else options))
        for item in range(10):
            batcher.submit(item)
        sys.stdout.write("end\\n")
    """
    printed, complaints = run(script)
    assert (sorted(printed), complaints) == (["end", *HANDLED], "")


@too_early
@pytest.mark.parametrize(
    "handler",
    ["BlockingBatcher(double, executor=ThreadPoolExecutor(1))", "BlockingBatcher(in_thread)"],
)
def test_executors_still_take_work_then(handler: str) -> None:
    script = f"""
        if "executor" in {handler!r}:
            from concurrent.futures import ThreadPoolExecutor

        entered, leave = threading.Event(), threading.Event()

        async def in_thread(items):
            entered.set()
            await asyncio.to_thread(leave.wait, 10)  # which was never used before
            return await asyncio.to_thread(double, items)

        batcher = {handler}
        batcher.submit(1)
        if "executor" not in {handler!r}:
            entered.wait(10)
        batcher.submit(2)
        threading.Thread(target=lambda: (wait_until(main_waits), leave.set()), daemon=True).start()
    """
    printed, complaints = run(script)
    assert (" ".join(printed).replace("handled ", ""), complaints) == ("1 2", "")


@pytest.mark.parametrize(
    ("end", "code", "complaint"),
    [("sys.exit(3)", 3, ""), ("1 / 0", 1, "ZeroDivisionError: division by zero\n")],
)
def test_however_the_main_thread_ends(end: str, code: int, complaint: str) -> None:
    script = f"""
        future = BlockingBatcher(double)
        future.submit_many([1, 2])
        {end}
    """
    printed, complaints = run(script, code=code)
    assert (printed, complaints[-len(complaint) :] if complaint else complaints) == (
        ["handled 1 2"],
        complaint,
    )


def test_one_that_was_dropped_is_finished_too() -> None:
    script = """
        BlockingBatcher(double_on_loop, max_latency=3600.0).submit(1)
    """
    assert run(script, "-W", "ignore::ResourceWarning") == (["handled 1"], "")


def test_one_that_is_being_closed_is_waited_for() -> None:
    script = """
        leave = threading.Event()

        async def held(items):
            await asyncio.to_thread(leave.wait, 10)
            return double(items)

        batcher = BlockingBatcher(held)
        batcher.submit(1)
        wait_until(lambda: batcher.statistics().in_flight)
        threading.Thread(target=batcher.close, daemon=True).start()
        wait_until(lambda: batcher._closed)
        threading.Thread(target=lambda: (wait_until(main_waits), leave.set()), daemon=True).start()
    """
    assert run(script) == (["handled 1"], "")


def test_functions_for_the_end_may_use_it() -> None:
    script = """
        atexit.register(lambda: print(batcher.submit(4).result(10)))
        batcher = BlockingBatcher(double_on_loop)
        batcher.submit(1)
    """
    assert run(script) == (["handled 1", "handled 4", "8"], "")


def test_where_the_interpreter_tells_of_its_end_only_once_it_is_finished_too() -> None:
    script = """
        import concurrent.futures.thread
        del threading._register_atexit
        batcher = BlockingBatcher(double, max_latency=3600.0)
        batcher.submit(1)
    """
    assert run(script) == (["handled 1"], "")


def test_threads_that_are_no_daemons_may_submit_until_they_end() -> None:
    script = """
        batcher = BlockingBatcher(double_on_loop)

        def work():
            threading.main_thread().join()
            print(batcher.submit(3).result(10))
            batcher.submit(5)

        batcher.submit(1)
        threading.Thread(target=work).start()
    """
    assert run(script) == (["handled 1", "handled 3", "6", "handled 5"], "")


def test_daemons_that_submit_on_are_refused() -> None:
    script = """
        refused = threading.Event()

        def handler(items):
            if "last" in items:
                refused.wait(10)
            return items

        def work():
            try:
                while True:
                    batcher.submit(1).result(10)
            except BatcherClosedError as error:
                print(error)
                refused.set()

        batcher = BlockingBatcher(handler, max_concurrent_batches=2, max_batch_size=1)
        batcher.submit_many([1, 2, 3]).result(10)
        threading.Thread(target=work, daemon=True).start()
        threading.Thread(target=lambda: (
            threading.main_thread().join(), batcher.submit("last")
        )).start()
    """
    assert run(script) == (["batcher 'handler' is closed"], "")


# ------------------------------------------------------------------------------- it is given up
@pytest.mark.parametrize("bound", ["0.05", "0"])
@pytest.mark.parametrize("handler", ["for_ever", "block", "sleep"])
def test_after_the_bound_the_rest_fails_and_is_told_of(handler: str, bound: str) -> None:
    script = f"""
        batcher = BlockingBatcher({handler}, exit_timeout={bound}, max_batch_size=2)
        batcher.submit_many([1, 2, 3]).add_done_callback(tell)
        wait_until(lambda: batcher.statistics().in_flight)
        batcher.submit(4).add_done_callback(tell)
        sys.stdout.write("end\\n")
    """
    printed, complaints = run(script)
    assert printed == ["end", "BatcherClosedError", "BatcherClosedError"]
    assert complaints.count("\n") <= 2
    assert unfinished(4, handler) in complaints


def test_handlers_that_are_given_up_may_clean_up() -> None:
    script = """
        async def handler(items):
            try:
                await for_ever(items)
            finally:
                await asyncio.sleep(0)
                print("cleaned up", flush=True)

        batcher = BlockingBatcher(handler, exit_timeout=0)
        batcher.submit(1)
        wait_until(lambda: batcher.statistics().in_flight)
    """
    printed, complaints = run(script)
    assert printed == ["cleaned up"]
    assert unfinished(1, "handler") in complaints


def test_several_are_waited_for_side_by_side_and_each_is_told_of() -> None:
    script = """
        batchers = [BlockingBatcher(for_ever, exit_timeout=0.05, name=name) for name in "ab"]
        for batcher in batchers:
            batcher.submit(1)
            wait_until(lambda: batcher.statistics().in_flight)
        BlockingBatcher(double, name="c", exit_timeout=None).submit(3)
    """
    printed, complaints = run(script, "-W", "ignore::ResourceWarning")
    assert printed == ["handled 3"]
    assert unfinished(1, "a") in complaints
    assert unfinished(1, "b") in complaints


def test_an_interrupt_ends_the_wait() -> None:
    script = """
        def once(*_):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise KeyboardInterrupt

        def interrupt():  # again and again: a lock may be entered just after a signal came
            wait_until(main_waits)
            while any(each._timeout is None for each in exiting.running):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0)

        signal.signal(signal.SIGINT, once)
        batcher = BlockingBatcher(for_ever, exit_timeout=None)
        batcher.submit_many([1, 2]).add_done_callback(tell)
        wait_until(lambda: batcher.statistics().in_flight)
        threading.Thread(target=interrupt, daemon=True).start()
    """
    printed, complaints = run(script)
    assert printed == ["BatcherClosedError"]
    assert unfinished(2, "for_ever") in complaints


def test_where_warnings_are_errors_the_program_ends_as_ever() -> None:
    script = """
        batcher = BlockingBatcher(for_ever, exit_timeout=0)
        batcher.submit(1)
        wait_until(lambda: batcher.statistics().in_flight)
    """
    _, complaints = run(script, "-W", "error")
    ignored, _, _ = complaints.partition("\n")
    assert re.match(r"Exception ignored .*<function Notice\.__del__", ignored)
    assert unfinished(1, "for_ever") in complaints


def test_one_that_is_attached_is_not_waited_for() -> None:
    script = """
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        batcher = BlockingBatcher.attached(for_ever, loop)
        future = batcher.submit(1)
        wait_until(lambda: batcher.statistics().in_flight)
        atexit.register(lambda: print(batcher.statistics().in_flight, future.done()))
        print("end")
    """
    printed, _ = run(script)  # asyncio may tell of the task
    assert printed == ["end", "1 False"]


# ------------------------------------------------------------------------------------ processes
FORK = """
        warnings.simplefilter("ignore", DeprecationWarning)
        entered, leave = threading.Event(), threading.Event()

        def held(items):
            entered.set()
            leave.wait(10)
            return double(items)

        batcher = BlockingBatcher(held, max_batch_size=2)
        batcher.submit_many([1, 2, 3])
        entered.wait(10)
        child = os.fork()
"""


@forks
@pytest.mark.parametrize("uses", [False, True])
def test_a_forked_process_finishes_its_own_and_nothing_of_its_parents(uses: bool) -> None:
    script = FORK + f"""
        if child == 0:
            leave.set()
            if {uses}:
                batcher.submit(7)
            sys.exit(5)
        print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        leave.set()
    """  # fmt: skip
    mine = ["handled 7"] if uses else []
    assert run(script) == ([*mine, "child 5", "handled 1 2", "handled 3"], "")


@forks
def test_a_process_of_multiprocessing_finishes_its_own() -> None:
    script = """
        import multiprocessing
        warnings.simplefilter("ignore", DeprecationWarning)
        batcher = BlockingBatcher(double_on_loop)
        batcher.submit(1).result(10)
        process = multiprocessing.get_context("fork").Process(target=batcher.submit, args=(7,))
        process.start()
        process.join(10)
        print(process.exitcode)
    """
    assert run(script) == (["handled 1", "handled 7", "0"], "")
