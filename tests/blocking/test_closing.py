"""How a batcher for threads ends, whoever ends it."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import Batcher, BatcherClosedError, BlockingBatcher, batched
from microbatch._threads.bridge import forget_threads

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from tests.blocking.conftest import Held

pytestmark = pytest.mark.usefixtures("tidy")


async def double(items: list[int]) -> list[int]:
    return [2 * item for item in items]


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("microbatch")]


def join(name: str) -> None:
    for each in threading.enumerate():
        if each.name == name:
            each.join(10)


def test_the_thread_starts_at_the_first_use_and_ends_with_close() -> None:
    batcher = BlockingBatcher(double)
    assert threads() == []
    assert batcher.submit(1).result(10) == 2
    assert threads() == ["microbatch double"]
    assert batcher.close() == 0
    assert threads() == []


def test_closing_one_that_was_never_used_starts_nothing() -> None:
    with BlockingBatcher(double) as batcher:
        pass
    assert batcher.close() == 0
    assert threads() == []


@pytest.mark.parametrize("used", [False, True])
def test_what_is_closed_refuses(used: bool) -> None:
    batcher = BlockingBatcher(double)
    if used:
        batcher.submit(1).result(10)
    batcher.close()
    for call in (
        lambda: batcher.submit(1),
        lambda: batcher.submit_many([1]),
        lambda: list(batcher.map([1])),
        batcher.drain,
        batcher.flush,
    ):
        with pytest.raises(BatcherClosedError) as caught:
            call()
        assert str(caught.value) == "batcher 'double' is closed"


@pytest.mark.parametrize("given", [False, True])
def test_accepted_items_finish(given: bool, loop_factory: Any) -> None:
    handler: Any = Batcher(double, max_latency=3600) if given else double
    options: Any = {} if given else {"max_latency": 3600}
    with BlockingBatcher(handler, loop_factory=loop_factory, **options) as batcher:
        futures = [batcher.submit(item) for item in range(3)]
    assert [each.result(0) for each in futures] == [0, 2, 4]


def test_accepted_items_finish_when_the_body_raises() -> None:
    futures = []

    def use() -> None:
        with BlockingBatcher(double, max_latency=3600) as batcher:
            futures.append(batcher.submit(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    assert futures[0].result(0) == 2


@pytest.mark.parametrize("given", [False, True])
def test_after_the_timeout_the_rest_is_given_up_and_the_handler_cancelled(
    given: bool, held: Held
) -> None:
    handler: Any = Batcher(held, max_batch_size=1) if given else held
    options: Any = {} if given else {"max_batch_size": 1}
    batcher: BlockingBatcher[int, int] = BlockingBatcher(handler, **options)
    one, many = batcher.submit(1), batcher.submit_many([2, 3])
    assert held.entered.wait(10)
    assert batcher.close(timeout=0) == 3
    assert held.cancelled.is_set()
    assert [type(each.exception(0)) for each in (one, many)] == [BatcherClosedError] * 2


def test_it_is_closed_once_closing_has_begun(held: Held) -> None:
    batcher = BlockingBatcher(held)
    assert not batcher.closed
    future = batcher.submit(1)
    assert held.entered.wait(10)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    while not batcher.closed:
        time.sleep(0)
    assert not future.done()
    held.leave.set()
    closing.join()
    assert future.result() == 2
    assert batcher.closed


def test_it_is_closed_where_its_batcher_is() -> None:
    given = Batcher(double)
    batcher = BlockingBatcher(given)
    asyncio.run(given.aclose())
    assert batcher.closed


def test_closing_does_not_close_a_batcher_that_was_given() -> None:
    made: Batcher[int, int] = Batcher(double)
    for _ in range(2):
        with BlockingBatcher(made) as batcher:
            assert batcher.submit(1).result(10) == 2

    async def use() -> int:
        return await made.submit(2)

    assert asyncio.run(use()) == 4


def test_closing_again_waits_for_the_same_end(held: Held) -> None:
    batcher = BlockingBatcher(held)
    future = batcher.submit(1)
    assert held.entered.wait(10)
    answers: list[int] = []
    closing = threading.Thread(target=lambda: answers.append(batcher.close()))
    closing.start()
    assert batcher.close(timeout=0) == 1
    closing.join(10)
    assert answers == [0]
    assert isinstance(future.exception(0), BatcherClosedError)


@pytest.mark.parametrize("timeout", [-1, "soon"])
def test_a_wrong_timeout_closes_nothing(timeout: Any) -> None:
    with BlockingBatcher(double) as batcher:
        with pytest.raises((ValueError, TypeError), match=r"^timeout must be "):
            batcher.close(timeout)
        with pytest.raises((ValueError, TypeError), match=r"^timeout must be "):
            asyncio.run(batcher.aclose(timeout))
        assert batcher.submit(1).result(10) == 2


def test_a_batcher_closed_by_others_tells_each_caller() -> None:
    with BlockingBatcher(double) as batcher:
        batcher.submit(1).result(10)
        asyncio.run(batcher.batcher.aclose())
        assert isinstance(batcher.submit(2).exception(10), BatcherClosedError)


@pytest.mark.parametrize("given", [False, True])
def test_what_arrives_while_it_closes_is_refused(given: bool, held: Held) -> None:
    batcher: BlockingBatcher[int, int] = BlockingBatcher(Batcher(held) if given else held)
    first = batcher.submit(1)
    assert held.entered.wait(10)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    refused: list[Any] = []
    while not refused:  # some may come before it
        try:
            future = batcher.submit(2)
        except BatcherClosedError as error:
            refused.append(error)
        else:
            future.cancel()
    held.leave.set()
    closing.join(10)
    assert first.result(10) == 2


def test_an_item_that_was_under_way_when_it_closed_is_refused(held: Held) -> None:
    batcher: BlockingBatcher[int, int] = BlockingBatcher(Batcher(held))
    first = batcher.submit(1)
    assert held.entered.wait(10)
    closing = batcher._begin_close(None)
    batcher._closed = False  # as a thread saw it that was slower
    late = batcher.submit(2)
    assert isinstance(late.exception(10), BatcherClosedError)
    batcher._closed = True
    held.leave.set()
    assert closing is not None
    assert (closing.result(10), first.result(10)) == (0, 2)
    batcher.close()


# ------------------------------------------------------------------------------------- from a loop
async def test_it_can_be_closed_from_a_coroutine() -> None:
    async with BlockingBatcher(double, max_latency=3600) as batcher:
        future = batcher.submit(1)
    assert future.result(0) == 2
    assert await batcher.aclose() == 0
    assert threads() == []


async def test_one_that_was_never_used_can_be_closed_from_a_coroutine() -> None:
    async with BlockingBatcher(double):
        pass


async def test_a_cancelled_close_leaves_it_closed_and_the_accepted_items_finish(
    held: Held,
) -> None:
    batcher = BlockingBatcher(held)
    future = batcher.submit(1)
    closing = asyncio.create_task(batcher.aclose())
    await asyncio.sleep(0)  # its first step; what a thread has done already may take no turn at all
    await asyncio.to_thread(held.entered.wait, 10)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    with pytest.raises(BatcherClosedError):
        batcher.submit(2)
    held.leave.set()
    assert await asyncio.wrap_future(future) == 2
    assert await batcher.aclose() == 0


# -------------------------------------------------------------------------------- without a close
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_one_that_is_dropped_finishes_and_ends_its_thread() -> None:
    future = BlockingBatcher(double).submit(1)
    gc.collect()
    assert future.result(10) == 2
    join("microbatch double")
    assert threads() == []


def test_one_that_is_dropped_unclosed_is_a_resource_warning() -> None:
    batchers = [BlockingBatcher(double)]
    batchers[0].submit(1).result(10)
    with pytest.warns(ResourceWarning, match=r"^unclosed <BlockingBatcher 'double'>$"):
        batchers.clear()
    join("microbatch double")


def test_one_that_was_closed_or_never_used_is_dropped_in_silence() -> None:
    BlockingBatcher(double)
    with BlockingBatcher(double) as batcher:
        batcher.submit(1).result(10)
    del batcher
    gc.collect()


# --------------------------------------------------------------------------------- the loop's death
def raising() -> Any:
    raise ZeroDivisionError("no loop today")


def test_a_loop_that_cannot_be_made_is_told_to_its_user() -> None:
    batcher = BlockingBatcher(double, loop_factory=raising)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match=r"^no loop today$"):
            batcher.submit(1)
    assert batcher.close() == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_when_the_loop_dies_no_future_hangs() -> None:
    entered = threading.Event()

    async def handler(items: list[int]) -> list[int]:
        entered.set()
        await asyncio.get_running_loop().create_future()
        return items

    def stop() -> None:
        raise SystemExit

    batcher = BlockingBatcher(handler, max_batch_size=1)
    futures: list[Future[int]] = [batcher.submit(item) for item in range(3)]
    assert entered.wait(10)
    assert batcher._inbox is not None
    loop: Any = batcher._inbox.loop
    loop.call_soon_threadsafe(stop)
    assert [each.exception(10) is not None for each in futures] == [True] * 3
    for each in futures[1:]:
        assert isinstance(each.exception(0), BatcherClosedError)
        assert str(each.exception(0)) == (
            "batcher 'handler' is closed, or its event loop has ended"
        )
    join("microbatch handler")
    after = batcher.submit(5)
    assert isinstance(after.exception(10), BatcherClosedError)
    with pytest.raises(BatcherClosedError):
        batcher.drain()
    assert batcher.close() == 0


# ------------------------------------------------------------------------------------ construction
def test_what_makes_the_loop_must_be_callable() -> None:
    with pytest.raises(TypeError, match=r"^loop_factory must be a callable or None, got 3$"):
        BlockingBatcher(double, loop_factory=3)  # type: ignore[call-overload]


def test_options_belong_to_a_batcher_that_is_given() -> None:
    with pytest.raises(TypeError) as caught:
        BlockingBatcher(Batcher(double), max_batch_size=3)  # type: ignore[call-overload]
    assert str(caught.value) == (
        "options must be given to the batcher itself, 'double', got max_batch_size"
    )


class Model:
    @batched()
    async def double(self, items: list[int]) -> list[int]:
        return items


def test_a_method_needs_its_instance() -> None:
    with pytest.raises(TypeError, match=r"'Model\.double' is a method: use it through an instance"):
        BlockingBatcher(Model.double)


def test_wrong_options_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"^max_batch_size must be >= 1, got 0$"):
        BlockingBatcher(double, max_batch_size=0)


async def test_submitting_where_no_loop_runs_names_what_does_it() -> None:
    def submit() -> None:
        Batcher(double).submit(1)

    with pytest.raises(RuntimeError) as caught:
        await asyncio.to_thread(submit)
    assert str(caught.value) == (
        "batcher 'double' was used where no event loop runs: submit from a coroutine or a callback "
        "of a loop, such as asyncio.run() starts, or from threads and synchronous code through a "
        "BlockingBatcher"
    )


# -------------------------------------------------------------------------------------------- forks
def after_fork(batcher: BlockingBatcher[int, int]) -> Callable[[], None]:
    """Do what is done in a process that was forked; give what ends the thread of the other."""
    thread, inbox = batcher._thread, batcher._inbox
    loop: Any = None if inbox is None else inbox.loop
    forget_threads()

    def end() -> None:
        if thread is not None:
            loop.call_soon_threadsafe(thread.stop)
            thread.join()

    return end


@pytest.mark.parametrize("given", [False, True])
def test_after_a_fork_another_thread_starts(given: bool, held: Held) -> None:
    batcher: BlockingBatcher[int, int] = BlockingBatcher(Batcher(held) if given else held)
    pending = batcher.submit(1)
    assert held.entered.wait(10)
    end_of_parent = after_fork(batcher)
    for ask in (pending.result, pending.exception):
        with pytest.raises(BatcherClosedError):
            ask()
    assert pending.cancel()
    held.leave.set()
    assert batcher.submit(2).result(10) == 4
    assert batcher.close() == 0
    end_of_parent()


def test_after_a_fork_one_that_was_never_used_is_as_before() -> None:
    with BlockingBatcher(double) as batcher:
        after_fork(batcher)()
        assert batcher.submit(2).result(10) == 4


async def test_after_a_fork_one_that_is_attached_is_closed() -> None:
    blocking = BlockingBatcher.attached(Batcher(double))
    await asyncio.wrap_future(blocking.submit(1))
    after_fork(blocking)()
    assert isinstance(blocking.submit(2).exception(0), BatcherClosedError)
    assert blocking.close() == 0


def test_a_handler_may_drain_another_batcher_of_its_name() -> None:
    with BlockingBatcher(double, name="same") as other:
        assert other.submit(1).result(10) == 2

        def handler(items: list[int]) -> list[int]:
            other.drain()
            return items

        with BlockingBatcher(handler, name="same") as batcher:
            assert batcher.submit(3).result(10) == 3
