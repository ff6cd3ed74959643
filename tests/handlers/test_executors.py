"""Handlers that are plain functions run in executors that their users bring."""

from __future__ import annotations

import asyncio
import functools
import os
import pickle
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import (
    Batcher,
    BlockingBatcher,
    HandlerCancelledError,
    batched,
    current_batch,
)
from microbatch._handlers.worker_calls import WorkerCall
from tests.handlers.asking import outcomes

if TYPE_CHECKING:
    from collections.abc import Iterator


def double(items: list[int]) -> list[int]:
    return [2 * item for item in items]


@batched()
def decorated(items: list[int]) -> list[int]:
    return [3 * item for item in items]


class Model:
    factor = 5

    @batched()
    def times(self, items: list[int]) -> list[int]:
        return [self.factor * item for item in items]

    @batched()
    @classmethod
    def class_times(cls, items: list[int]) -> list[int]:
        return [cls.factor * item for item in items]

    def plain(self, items: list[int]) -> list[int]:
        return [self.factor * item for item in items]

    def __call__(self, items: list[int]) -> list[int]:
        return self.plain(items)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2, thread_name_prefix="own") as pool:
        yield pool


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Gate:
    """Hold a handler in its thread until a test lets it go on."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.leave = threading.Event()
        self.calls: list[list[int]] = []

    def __call__(self, items: list[int]) -> list[int]:
        self.calls.append(items)
        self.entered.set()
        assert self.leave.wait(10)
        return items

    async def until_entered(self) -> None:
        await asyncio.to_thread(self.entered.wait, 10)


# ------------------------------------------------------------------------------------------ threads
@pytest.mark.every_loop
async def test_a_handler_runs_in_the_executor_and_knows_its_batch(
    threads: ThreadPoolExecutor,
) -> None:
    def ask(items: list[int]) -> list[Any]:
        return [(threading.current_thread().name, current_batch().size)] * len(items)

    names = await outcomes(Batcher(ask, executor=threads))
    assert [(name.startswith("own"), size) for name, size in names] == [(True, 2)] * 2


async def test_a_decorated_function_runs_in_the_executor(threads: ThreadPoolExecutor) -> None:
    @batched(executor=threads)
    def name(items: list[int]) -> list[str]:
        return [threading.current_thread().name] * len(items)

    assert (await name(1)).startswith("own")


def returns(function: Any, items: list[int]) -> Any:
    return function(items)


async def test_what_a_function_returns_may_be_awaitable(threads: ThreadPoolExecutor) -> None:
    async def later(items: list[int]) -> list[int]:
        return items

    batcher: Batcher[int, int] = Batcher(functools.partial(returns, later), executor=threads)
    assert await outcomes(batcher) == [1, 2]


async def test_an_exception_in_an_executor_reaches_each_caller(
    threads: ThreadPoolExecutor,
) -> None:
    def handler(items: list[int]) -> None:
        raise ZeroDivisionError("thread")

    errors = await outcomes(Batcher(handler, executor=threads))
    assert [type(each) for each in errors] == [ZeroDivisionError] * 2
    assert errors[0] is not errors[1]


async def test_a_cancelled_call_holds_its_slot_until_it_has_ended(
    threads: ThreadPoolExecutor,
) -> None:
    gate = Gate()
    batcher = Batcher(gate, executor=threads)
    first = batcher.submit(1)
    await gate.until_entered()
    first.cancel()
    second = batcher.submit(2)
    await turns()
    assert batcher.statistics().slots_busy == 1
    gate.leave.set()
    assert await second == 2
    assert gate.calls == [[1], [2]]


async def test_a_call_that_has_not_begun_is_taken_back(threads: ThreadPoolExecutor) -> None:
    gate = Gate()
    batcher = Batcher(gate, executor=threads, max_batch_size=1, max_concurrent_batches=3)
    tickets = [batcher.submit(item) for item in range(3)]
    await gate.until_entered()
    tickets[2].cancel()
    for _ in range(100):
        await turns()
        if batcher.statistics().slots_busy == 2:
            break
    assert batcher.statistics().slots_busy == 2
    gate.leave.set()
    assert await asyncio.gather(*tickets[:2]) == [0, 1]
    assert sorted(gate.calls) == [[0], [1]]


def test_the_end_of_a_loop_does_not_wait_for_an_executor(
    loop_kind: Any, threads: ThreadPoolExecutor
) -> None:
    gate = Gate()
    batcher = Batcher(gate, executor=threads)
    tickets = []

    async def leave() -> None:
        tickets.append(batcher.submit(1))
        await gate.until_entered()

    loop_kind.run(leave)
    assert isinstance(tickets[0].exception(), HandlerCancelledError)
    gate.leave.set()


async def test_an_executor_that_was_shut_down_fails_each_caller(
    threads: ThreadPoolExecutor,
) -> None:
    batcher = Batcher(double, executor=threads)
    threads.shutdown()
    for _ in range(2):
        errors = await outcomes(batcher)
        assert [type(each) for each in errors] == [RuntimeError] * 2
        assert "after shutdown" in str(errors[0])
    assert batcher.statistics().slots_busy == 0


async def test_a_call_that_the_executor_drops_is_a_cancelled_handler(
    threads: ThreadPoolExecutor,
) -> None:
    gate = Gate()
    batcher = Batcher(gate, executor=threads, max_batch_size=1, max_concurrent_batches=3)
    tickets = [batcher.submit(item) for item in range(3)]
    await gate.until_entered()
    await turns()
    threads.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(HandlerCancelledError):
        await tickets[2]
    gate.leave.set()
    assert await asyncio.gather(*tickets[:2]) == [0, 1]


@pytest.mark.parametrize("request_", [KeyboardInterrupt, SystemExit])
def test_an_exit_request_in_an_executor_propagates_once(
    request_: type[BaseException], loop_kind: Any, threads: ThreadPoolExecutor
) -> None:
    def handler(items: list[int]) -> None:
        raise request_

    batcher: Batcher[int, None] = Batcher(handler, executor=threads)
    tickets: list[Any] = []

    async def main() -> None:
        tickets.extend(map(batcher.submit, range(2)))
        await asyncio.wait(tickets)

    with loop_kind.open() as loop:
        with pytest.raises(request_):
            loop.run_until_complete(main())
        loop.run_until_complete(batcher.drain())
        assert [type(each.exception()) for each in tickets] == [HandlerCancelledError] * 2


def test_threads_and_an_executor_go_together(threads: ThreadPoolExecutor) -> None:
    with BlockingBatcher(double, executor=threads) as batcher:
        assert list(batcher.map(range(5))) == [0, 2, 4, 6, 8]


# ------------------------------------------------------------------------------------------ options
async def on_loop(items: list[int]) -> list[int]:
    return items


def test_an_async_def_needs_no_executor(threads: ThreadPoolExecutor) -> None:
    for make in (
        lambda: Batcher(on_loop, executor=threads),
        lambda: batched(executor=threads)(on_loop),
    ):
        with pytest.raises(TypeError) as caught:
            make()
        assert str(caught.value) == (
            f"executor must be None for an async def, which 'on_loop' is, got {threads!r}"
        )


# ---------------------------------------------------------------------------------------- processes
MODULE = """
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from microbatch import batched, current_batch

pool = ProcessPoolExecutor(1, mp_context=get_context({context!r}))

def die(items):
    os._exit(1)

def leave(items):
    raise SystemExit

def fail(items):
    raise ValueError("elsewhere")

def batch(items):
    return [current_batch().size]

def process(items):
    return [os.getpid()] * len(items)

@batched(executor=pool)
def decorated(items):
    return [(os.getpid(), 3 * item) for item in items]

@batched(executor=pool)
def add(left, *, right=1):
    return [one + other for one, other in zip(left, right)]

class Model:
    def __init__(self, factor):
        self.factor = factor

    @batched(executor=pool)
    def times(self, items):
        return [self.factor * item for item in items]

    @batched(executor=pool)
    @classmethod
    def name_of_class(cls, items):
        return [cls.__name__] * len(items)

    def plain(self, items):
        return [self.factor * item for item in items]
"""


@pytest.fixture(params=["spawn", "fork"], scope="module")
def module(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A module that a new process finds, with a pool of one such process."""
    if request.param == "fork" and not hasattr(os, "fork"):
        pytest.skip("needs fork")
    name = f"for_processes_{request.param}"
    folder = tmp_path_factory.mktemp("modules")
    (folder / f"{name}.py").write_text(MODULE.format(context=request.param))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        made = __import__(name)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
            made.pool.submit(os.getpid).result(20)  # its process and its descriptors stay
        yield made
        made.pool.shutdown()


forking = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@forking
async def test_a_handler_runs_in_another_process(module: Any) -> None:
    (pid, other) = await outcomes(Batcher(module.process, executor=module.pool))
    assert pid == other != os.getpid()


@forking
async def test_a_decorated_function_is_found_by_its_name(module: Any) -> None:
    (pid, result), (_, other) = await asyncio.gather(module.decorated(1), module.decorated(2))
    assert (result, other) == (3, 6)
    assert pid != os.getpid()


@forking
async def test_several_parameters_go_to_another_process(module: Any) -> None:
    assert await asyncio.gather(module.add(1, right=2), module.add(5)) == [3, 6]


@forking
async def test_methods_go_with_their_instances_if_these_can_be_pickled(module: Any) -> None:
    model = module.Model(5)
    assert await model.times(2) == 10
    assert await outcomes(Batcher(model.plain, executor=module.pool)) == [5, 10]
    assert await module.Model.name_of_class(1) == "Model"
    stuck = module.Model(threading.Lock())
    error = await asyncio.gather(stuck.times(2), return_exceptions=True)
    assert "cannot pickle" in str(error[0])


@forking
async def test_there_is_no_batch_to_ask_about_in_another_process(module: Any) -> None:
    errors = await outcomes(Batcher(module.batch, executor=module.pool))
    assert [type(each) for each in errors] == [RuntimeError] * 2
    assert str(errors[0]) == "current_batch() must be called from within a batch handler"


@forking
async def test_an_exception_in_another_process_reaches_each_caller(module: Any) -> None:
    errors = await outcomes(Batcher(module.fail, executor=module.pool))
    assert [type(each) for each in errors] == [ValueError] * 2
    assert str(errors[0]) == "elsewhere"
    assert errors[0] is not errors[1]


@forking
async def test_a_function_that_is_not_found_by_its_name_is_told(module: Any) -> None:
    def local(items: list[int]) -> list[int]:
        return items

    for handler, name in ((local, local.__qualname__), (lambda items: items, "<lambda>")):
        errors = await outcomes(Batcher(handler, executor=module.pool))
        assert [type(each) for each in errors] == [TypeError] * 2
        assert str(errors[0]).startswith("a handler must be found by its name to run in another")
        assert name in str(errors[0])
    assert (await outcomes(Batcher(module.process, executor=module.pool)))[0] != os.getpid()


@forking
def test_an_exit_request_in_another_process_propagates(module: Any, loop_kind: Any) -> None:
    batcher: Batcher[int, None] = Batcher(module.leave, executor=module.pool)
    tickets: list[Any] = []

    async def main() -> None:
        tickets.append(batcher.submit(1))
        await asyncio.wait(tickets)

    with loop_kind.open() as loop:
        with pytest.raises(SystemExit):
            loop.run_until_complete(main())
        loop.run_until_complete(batcher.drain())
        assert isinstance(tickets[0].exception(), HandlerCancelledError)


@forking
@pytest.mark.parametrize("context", ["spawn", "fork"])
async def test_a_pool_that_breaks_fails_each_caller_and_nobody_hangs(
    module: Any, context: str
) -> None:
    with ProcessPoolExecutor(1, mp_context=module.get_context(context)) as pool:
        batcher = Batcher(module.die, executor=pool, max_batch_size=1, max_concurrent_batches=2)
        for _ in range(2):
            errors = await outcomes(batcher, range(4))
            assert [type(each) for each in errors] == [BrokenProcessPool] * 4
    assert batcher.statistics().slots_busy == 0


# ----------------------------------------------------------------------------------------- pickling
async def run_pickled(handler: Any, *lists: Any) -> Any:
    call = WorkerCall(handler, lists, {}, copy_context())
    answer, exit_request = pickle.loads(pickle.dumps(call))()
    assert exit_request is None
    return answer


@pytest.mark.parametrize(
    ("handler", "lists", "answer"),
    [
        (double, ([1, 2],), [2, 4]),
        (decorated.__wrapped__, ([1, 2],), [3, 6]),
        (Model.times.__wrapped__, (Model(), [1]), [5]),  # type: ignore[attr-defined]
        (Model.__dict__["class_times"].definition.function, (Model, [1]), [5]),
        (Model().plain, ([1],), [5]),
        (Model(), ([1],), [5]),
        (functools.partial(double), ([1],), [2]),
    ],
)
async def test_a_call_can_be_pickled(handler: Any, lists: Any, answer: Any) -> None:
    assert await run_pickled(handler, *lists) == answer


async def test_a_pickled_call_leaves_its_context_behind() -> None:
    def ask(items: list[int]) -> list[str]:
        call = pickle.loads(pickle.dumps(WorkerCall(current_batch, (), {}, copy_context())))
        with pytest.raises(RuntimeError) as caught:
            call()
        return [str(caught.value)]

    answer = await Batcher(ask).submit(1)
    assert answer == "current_batch() must be called from within a batch handler"
