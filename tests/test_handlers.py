"""What a handler may be, what it may answer, and what each caller gets of that."""

from __future__ import annotations

import array
import asyncio
import contextvars
import dataclasses
import functools
import inspect
import sys
import threading
from collections import deque
from typing import Any
from unittest import mock

import pytest

from microbatch import (
    Batcher,
    BatchError,
    HandlerCancelledError,
    ResultCountError,
    current_batch,
)
from microbatch.testing import RecordingHandler


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def answering(answer: Any) -> Batcher[Any, Any]:
    async def handler(items: list[Any]) -> Any:
        return answer

    return Batcher(handler)


async def outcomes(batcher: Batcher[Any, Any], items: Any = (1, 2)) -> list[Any]:
    return await asyncio.gather(*map(batcher.submit, items), return_exceptions=True)


# -------------------------------------------------------------------------------- kinds of handlers
async def double(items: list[int]) -> list[int]:
    return [item * 2 for item in items]


def double_in_thread(items: list[int]) -> list[int]:
    return [item * 2 for item in items]


async def times(factor: int, items: list[int]) -> list[int]:
    return [item * factor for item in items]


def times_in_thread(factor: int, items: list[int]) -> list[int]:
    return [item * factor for item in items]


class AsyncDoubler:
    async def __call__(self, items: list[int]) -> list[int]:
        return await double(items)

    async def method(self, items: list[int]) -> list[int]:
        return await double(items)


class Doubler:
    def __call__(self, items: list[int]) -> list[int]:
        return double_in_thread(items)

    def method(self, items: list[int]) -> list[int]:
        return double_in_thread(items)


def returns_a_coroutine(items: list[int]) -> Any:
    return double(items)


@functools.wraps(double)
def wrapped(items: list[int]) -> Any:
    return double(items)


HANDLERS = {
    "async def": (double, "double"),
    "async method": (AsyncDoubler().method, "AsyncDoubler.method"),
    "async callable": (AsyncDoubler(), "AsyncDoubler"),
    "async partial": (functools.partial(times, 2), "times"),
    "async partial of partial": (functools.partial(functools.partial(times), 2), "times"),
    "async partial of callable": (functools.partial(AsyncDoubler()), "AsyncDoubler"),
    "def": (double_in_thread, "double_in_thread"),
    "method": (Doubler().method, "Doubler.method"),
    "callable": (Doubler(), "Doubler"),
    "partial": (functools.partial(times_in_thread, 2), "times_in_thread"),
    "def that returns a coroutine": (returns_a_coroutine, "returns_a_coroutine"),
    "wrapper": (wrapped, "double"),
    "lambda": (lambda items: [item * 2 for item in items], "<lambda>"),
    "mock": (mock.Mock(side_effect=double_in_thread), "Mock"),
    "async mock": (mock.AsyncMock(side_effect=double), "AsyncMock"),
}


@pytest.mark.parametrize(("handler", "name"), HANDLERS.values(), ids=HANDLERS.keys())
async def test_any_callable_of_a_list_can_be_a_handler(handler: Any, name: str) -> None:
    batcher: Batcher[int, int] = Batcher(handler)
    assert await outcomes(batcher, range(3)) == [0, 2, 4]
    assert batcher.name == name


@pytest.mark.every_loop
async def test_a_handler_in_a_thread_works_on_every_loop() -> None:
    assert await outcomes(Batcher(double_in_thread), range(3)) == [0, 2, 4]


async def test_a_local_function_is_named_without_its_surroundings() -> None:
    async def local(items: list[int]) -> list[int]:
        return items

    assert Batcher(local).name == "local"


@pytest.mark.parametrize("handler", [None, 5, "handler", [double]])
def test_what_cannot_be_called_is_no_handler(handler: Any) -> None:
    with pytest.raises(TypeError) as caught:
        Batcher(handler)
    assert str(caught.value) == f"handler must be callable, got {handler!r}"


def test_a_class_is_no_handler() -> None:
    with pytest.raises(TypeError) as caught:
        Batcher(list)
    assert str(caught.value) == (
        "handler must be a function of a list of items, got the class <class 'list'>"
    )


async def stream(items: list[int]) -> Any:
    for item in items:
        yield item


class Streamer:
    async def __call__(self, items: list[int]) -> Any:
        for item in items:
            yield item


@pytest.mark.parametrize(
    ("handler", "name"),
    [(stream, "stream"), (functools.partial(stream), "stream"), (Streamer(), "Streamer")],
)
def test_an_async_generator_is_refused(handler: Any, name: str) -> None:
    with pytest.raises(TypeError) as caught:
        Batcher(handler)
    assert str(caught.value) == (
        f"handler must return its results, but {name!r} is an async generator"
    )


async def test_a_handler_that_cannot_be_called_fails_each_caller_and_frees_its_slot() -> None:
    async def handler() -> None: ...

    batcher: Batcher[Any, Any] = Batcher(handler)  # type: ignore[arg-type]
    for _ in range(2):
        errors = await outcomes(batcher)
        assert [type(each) for each in errors] == [TypeError] * 2
        assert "positional argument" in str(errors[0])
    assert batcher.statistics().slots_busy == 0


async def test_a_handler_may_change_its_list() -> None:
    async def handler(items: list[int]) -> list[int]:
        results = []
        while items:
            results.append(items.pop(0))
        return results

    assert await outcomes(Batcher(handler), range(3)) == [0, 1, 2]


# ------------------------------------------------------------------------------------------ answers
class Sized:
    """What numpy arrays and tensors have in common: a length, and rows by number."""

    def __init__(self, rows: list[Any], length: int | None = None) -> None:
        self.rows = rows
        self.length = len(rows) if length is None else length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    def __eq__(self, other: object) -> Any:
        return Sized([row == other for row in self.rows])

    __hash__ = object.__hash__


@pytest.mark.parametrize(
    "answer",
    [[3, 4], (3, 4), range(3, 5), deque([3, 4]), array.array("i", [3, 4]), Sized([3, 4])],
    ids=lambda answer: type(answer).__name__,
)
async def test_any_sized_sequence_is_an_answer(answer: Any) -> None:
    assert await outcomes(answering(answer)) == [3, 4]


async def test_rows_of_arrays_are_results() -> None:
    rows = [Sized([1, 2]), Sized([3, 4])]
    first, second = await outcomes(answering(Sized(rows)))
    assert first is rows[0]
    assert second is rows[1]


async def test_numpy_arrays_are_answers() -> None:
    numpy = pytest.importorskip("numpy")
    assert await outcomes(answering(numpy.array([3, 4]))) == [3, 4]
    first, second = await outcomes(answering(numpy.eye(2)))
    assert (list(first), list(second)) == ([1.0, 0.0], [0.0, 1.0])
    (error, _) = await outcomes(answering(numpy.array(3)))
    assert isinstance(error, TypeError)


async def test_none_answers_none_to_each() -> None:
    assert await outcomes(answering(None)) == [None, None]


async def test_an_empty_answer_is_a_wrong_count() -> None:
    errors = await outcomes(answering([]))
    assert [type(each) for each in errors] == [ResultCountError] * 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("ab", "str"),
        (b"ab", "bytes"),
        (bytearray(b"ab"), "bytearray"),
        ({1: 2, 3: 4}, "dict"),
        ({1, 2}, "set"),
        (7, "int"),
        (iter([1, 2]), "list_iterator"),
        ((item for item in (1, 2)), "generator"),
        ({1: 2, 3: 4}.values(), "dict_values"),
        (Exception("returned"), "Exception"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_is_no_sequence_of_results_is_refused(answer: Any, kind: str) -> None:
    errors = await outcomes(answering(answer))
    assert [type(each) for each in errors] == [BatchError] * 2
    assert str(errors[0]) == (
        f"handler 'handler' must return a sequence of results or None, got {kind}"
    )


async def test_a_sequence_that_is_shorter_than_it_says_is_a_wrong_count() -> None:
    errors = await outcomes(answering(Sized([5], length=2)))
    assert [type(each) for each in errors] == [ResultCountError] * 2
    assert (errors[0].expected, errors[0].received) == (2, 1)


async def test_results_are_what_stands_at_the_places_not_what_iterating_gives() -> None:
    class Frame(Sized):
        def __iter__(self) -> Any:
            return iter(["label", "score"])  # its columns, as data frames have it

    assert await outcomes(answering(Frame([5, 6]))) == [5, 6]


async def test_an_endless_sequence_is_read_as_far_as_it_says() -> None:
    class Endless:
        def __len__(self) -> int:
            return 2

        def __getitem__(self, place: int) -> int:
            return place

    assert await outcomes(answering(Endless())) == [0, 1]


async def test_a_sequence_that_raises_fails_each_caller() -> None:
    class Broken(Sized):
        def __getitem__(self, index: int) -> Any:
            raise ZeroDivisionError

    errors = await outcomes(answering(Broken([1, 2])))
    assert [type(each) for each in errors] == [ZeroDivisionError] * 2


# ----------------------------------------------------------------------------- exceptions at places
async def test_an_exception_at_a_place_is_raised_to_that_caller_alone() -> None:
    original = KeyError("three")
    first, second, third = await outcomes(answering([1, original, 3]), range(3))
    assert (first, third) == (1, 3)
    assert type(second) is KeyError
    assert second.__cause__ is original
    assert second is not original


async def test_one_exception_at_several_places_is_copied_for_each() -> None:
    original = KeyError("same")
    first, second = await outcomes(answering([original, original]))
    assert first is not second
    assert first.__cause__ is second.__cause__ is original


async def test_an_exception_class_is_a_result_like_any_other() -> None:
    assert await outcomes(answering([ValueError, KeyError])) == [ValueError, KeyError]


@pytest.mark.parametrize("request_", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(1)])
async def test_a_request_to_stop_at_a_place_stops_nobody(request_: BaseException) -> None:
    error, result = await outcomes(answering([request_, 2]))
    assert type(error) is HandlerCancelledError
    assert str(error) == f"the handler was stopped by {type(request_).__name__}"
    assert error.__cause__ is request_
    assert result == 2


# ----------------------------------------------------------------------------- copies of exceptions
class Rich(Exception):
    """One whose parameters are not its args."""

    def __init__(self, status: int, *, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail


class Choosy(OSError):
    """One that copies only by its own parameters."""

    def __init__(self, *, path: str) -> None:
        super().__init__(2, "missing", path)


class Slotted(Exception):
    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        super().__init__("slotted")
        self.code = code


class SlottedCopies(Slotted):
    __slots__ = ()

    def __copy__(self) -> SlottedCopies:
        return SlottedCopies(self.code)


class SelfCopies(Slotted):
    __slots__ = ()

    def __copy__(self) -> SelfCopies:
        return self


class Stubborn(Exception):
    def __str__(self) -> str:
        raise ValueError("cannot be described")


class Empty(Exception):
    def __len__(self) -> int:
        return 0


async def raised(error: BaseException) -> BaseException:
    async def handler(items: list[Any]) -> None:
        raise error

    (own,) = await outcomes(Batcher(handler), [1])
    assert isinstance(own, BaseException)
    assert own is not error
    assert own.__cause__ is error
    return own


@pytest.mark.parametrize(
    "error",
    [
        ValueError("plain"),
        ValueError(),
        KeyError("key"),
        OSError(2, "missing", "file"),
        FileNotFoundError(2, "missing", "file"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        ImportError("no", name="module", path="place"),
        ExceptionGroup("group", [ValueError(1), KeyError(2)]),
        Rich(404, detail="gone"),
        Slotted(3),
        SlottedCopies(3),
        Empty("falsy"),
        AttributeError("no", name="attribute", obj=object()),
        asyncio.InvalidStateError("state"),
        RecursionError("deep"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_caller_gets_a_faithful_copy(error: Exception) -> None:
    own = await raised(error)
    assert type(own) is type(error)
    assert own.args == error.args
    assert str(own) == str(error)
    assert vars(own) == vars(error)
    for name in ("code", "errno", "filename", "path", "name", "obj", "object", "exceptions"):
        assert getattr(own, name, None) == getattr(error, name, None)


@pytest.mark.parametrize(
    "error",
    [Choosy(path="x"), SelfCopies(3), StopIteration(5)],
    ids=lambda error: type(error).__name__,
)
async def test_what_cannot_be_copied_faithfully_comes_wrapped(error: Exception) -> None:
    async def handler(items: list[Any]) -> list[Any]:
        return [error]

    (own,) = await outcomes(Batcher(handler), [1])
    assert type(own) is BatchError
    assert str(own) == f"{type(error).__qualname__}: {error}"
    assert own.__cause__ is error


async def test_an_exception_that_cannot_be_described_reaches_its_callers() -> None:
    own = await raised(Stubborn("quiet"))
    assert type(own) is BatchError
    assert str(own) == "Stubborn"


async def test_notes_are_copied_not_shared() -> None:
    original = ValueError("noted")
    original.add_note("first")
    own = await raised(original)
    own.add_note("second")
    assert original.__notes__ == ["first"]
    assert own.__notes__ == ["first", "second"]


async def test_tracebacks_do_not_grow_however_often_a_ticket_is_awaited() -> None:
    async def handler(items: list[int]) -> None:
        raise ValueError

    ticket = Batcher(handler).submit(1)
    depths = []
    for _ in range(3):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            await ticket
        depths.append(len(list(caught.traceback)))
    assert depths[0] >= depths[1] == depths[2]  # the first may come through the task's wake-up


# ------------------------------------------------------------------------------------------ threads
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


@pytest.mark.every_loop
async def test_as_many_threads_work_as_there_are_slots() -> None:
    slots = 50  # more than the pool gives to those who share its limit
    together = threading.Barrier(slots, timeout=10)

    def handler(items: list[int]) -> list[int]:
        together.wait()
        return items

    batcher: Batcher[int, int] = Batcher(handler, max_batch_size=1, max_concurrent_batches=slots)
    assert await batcher.submit_many(range(slots)) == list(range(slots))


async def test_an_eager_handler_that_gives_up_its_own_callers_is_cancelled() -> None:
    tickets: list[Any] = []

    async def handler(items: list[int]) -> list[int]:
        tickets[0].cancel()
        await asyncio.sleep(3600)
        return items

    batcher: Batcher[int, int] = Batcher(handler)
    tickets.append(batcher.submit(1))
    await batcher.drain()
    assert asyncio.get_running_loop().time() < 1.0
    assert batcher.statistics().cancelled == 1


async def test_a_plain_function_runs_in_another_thread() -> None:
    threads = []

    def handler(items: list[int]) -> None:
        threads.append(threading.get_ident())

    await outcomes(Batcher(handler))
    assert threads[0] != threading.get_ident()


@pytest.mark.every_loop
async def test_a_cancelled_call_holds_its_slot_until_its_thread_has_ended() -> None:
    gate = Gate()
    batcher = Batcher(gate)
    first = batcher.submit(1)
    await gate.until_entered()
    first.cancel()
    second = batcher.submit(2)
    await turns()
    assert batcher.statistics().slots_busy == 1
    assert gate.calls == [[1]]
    gate.leave.set()
    assert await second == 2
    assert gate.calls == [[1], [2]]


async def test_closing_past_its_timeout_waits_for_the_thread() -> None:
    gate = Gate()
    batcher = Batcher(gate)
    ticket = batcher.submit(1)
    await gate.until_entered()
    closing = asyncio.create_task(batcher.aclose(timeout=0))
    await turns()
    assert ticket.done()
    assert not closing.done()
    gate.leave.set()
    assert await closing == 1


async def test_a_thread_that_fails_after_its_callers_left_tells_nobody() -> None:
    gate = Gate()

    def handler(items: list[int]) -> None:
        gate(items)
        raise ZeroDivisionError

    batcher: Batcher[int, None] = Batcher(handler)
    ticket = batcher.submit(1)
    await gate.until_entered()
    ticket.cancel()
    gate.leave.set()
    await batcher.drain()
    assert batcher.statistics().cancelled == 1


async def test_a_call_that_is_cancelled_twice_still_waits_for_its_thread() -> None:
    gate = Gate()
    batcher = Batcher(gate)
    ticket = batcher.submit(1)
    await gate.until_entered()
    ticket.cancel()
    await turns()
    closing = asyncio.create_task(batcher.aclose(timeout=0))
    await turns()
    assert not closing.done()
    gate.leave.set()
    assert await closing == 0


def test_the_end_of_a_loop_does_not_wait_for_a_thread(loop_kind: Any) -> None:
    gate = Gate()
    batcher = Batcher(gate)
    tickets = []

    async def leave() -> None:
        tickets.append(batcher.submit(1))
        await gate.until_entered()

    loop_kind.run(leave)
    assert isinstance(tickets[0].exception(), HandlerCancelledError)
    gate.leave.set()


async def test_an_exception_in_a_thread_reaches_each_caller() -> None:
    def handler(items: list[int]) -> None:
        raise ZeroDivisionError("thread")

    errors = await outcomes(Batcher(handler))
    assert [type(each) for each in errors] == [ZeroDivisionError] * 2


async def test_stop_iteration_in_a_thread_is_a_runtime_error_as_in_a_coroutine() -> None:
    def in_thread(items: list[int]) -> None:
        raise StopIteration

    async def handler(items: list[int]) -> None:
        raise StopIteration

    for each in (in_thread, handler):
        errors = await outcomes(Batcher(each))
        assert [type(error) for error in errors] == [RuntimeError] * 2


# ----------------------------------------------------------------------------------------- contexts
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody's")


async def see(items: list[int]) -> list[str]:
    return [variable.get()] * len(items)


def see_in_thread(items: list[int]) -> list[str]:
    return [variable.get()] * len(items)


class SeesWhenCalled:
    """Runs some code before there is a coroutine."""

    def __call__(self, items: list[int]) -> Any:
        return self.answer(items, variable.get())

    async def answer(self, items: list[int], seen: str) -> list[str]:
        return [seen] * len(items)


SEEING = [see, see_in_thread]
if sys.version_info >= (3, 12):
    SEEING.append(inspect.markcoroutinefunction(SeesWhenCalled()))


@pytest.mark.parametrize("handler", SEEING)
@pytest.mark.parametrize("size", [1, 64], ids=["full", "natural"])
async def test_the_handler_never_runs_in_a_callers_context(handler: Any, size: int) -> None:
    batcher: Batcher[int, str] = Batcher(handler, max_batch_size=size)
    variable.set("the caller's")
    assert await batcher.submit(1) == "nobody's"


async def test_what_a_handler_sets_reaches_neither_callers_nor_later_calls() -> None:
    async def handler(items: list[int]) -> list[str]:
        before = variable.get()
        variable.set("the handler's")
        return [before] * len(items)

    batcher: Batcher[int, str] = Batcher(handler)
    assert [await batcher.submit(1), await batcher.submit(2)] == ["nobody's"] * 2
    assert variable.get() == "nobody's"


async def test_callers_and_callbacks_run_in_their_own_contexts() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler())
    seen = {}

    async def caller(name: str) -> None:
        variable.set(name)
        ticket = batcher.submit(1)
        ticket.add_done_callback(lambda _: seen.setdefault(name, variable.get()))
        await ticket
        assert variable.get() == name
        await turns()

    await asyncio.gather(caller("a"), caller("b"))
    assert seen == {"a": "a", "b": "b"}


# ------------------------------------------------------------------------------------ current_batch
@pytest.mark.parametrize("in_thread", [False, True], ids=["async def", "def"])
async def test_a_handler_may_ask_about_its_batch(in_thread: bool) -> None:
    seen = []

    async def handler(items: list[int]) -> None:
        seen.append(current_batch())

    def threaded(items: list[int]) -> None:
        seen.append(current_batch())

    batcher: Batcher[int, None] = Batcher(
        threaded if in_thread else handler, max_latency=1.0, name="mine"
    )
    first = batcher.submit(1)
    await asyncio.sleep(0.25)
    await asyncio.gather(first, batcher.submit(2))
    (batch,) = seen
    assert (batch.name, batch.size, batch.reason, batch.waits) == (
        "mine",
        2,
        "latency",
        (1.0, 0.75),
    )


async def test_what_a_handler_calls_and_starts_may_ask_about_the_batch_too() -> None:
    async def below() -> int:
        return current_batch().size

    async def handler(items: list[int]) -> list[int]:
        sizes = [await below(), await asyncio.create_task(below())]
        sizes.append(await asyncio.to_thread(lambda: current_batch().size))
        return sizes

    assert await outcomes(Batcher(handler), range(3)) == [3, 3, 3]


async def test_the_batch_is_described_as_it_was_dispatched_even_when_a_caller_has_left() -> None:
    seen = []
    gone = asyncio.Event()

    async def handler(items: list[int]) -> None:
        await gone.wait()
        seen.append(current_batch())

    batcher: Batcher[int, None] = Batcher(handler)
    first, second = batcher.submit(1), batcher.submit(2)
    await turns()
    first.cancel()
    gone.set()
    await second
    assert (seen[0].size, seen[0].waits) == (2, (0.0, 0.0))


async def test_asking_about_a_batch_outside_a_handler_is_an_error() -> None:
    message = r"^current_batch\(\) must be called from within a batch handler$"
    with pytest.raises(RuntimeError, match=message):
        current_batch()
    await Batcher(RecordingHandler()).submit(1)
    with pytest.raises(RuntimeError, match=message):
        current_batch()


async def test_a_timeout_policy_is_no_handler_of_a_batch() -> None:
    async def policy(items: list[int]) -> list[int]:
        return [current_batch().size]

    batcher: Batcher[int, int] = Batcher(
        RecordingHandler(delay=9.0), timeout=1.0, timeout_policy=policy
    )
    with pytest.raises(RuntimeError, match="current_batch"):
        await batcher.submit(1)
    await batcher.drain()


# ------------------------------------------------------------------------------- hostile exceptions
@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int


class Guarded(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class Agreeable(Exception):
    def __getattr__(self, name: str) -> None:
        return None


class CancelsWhenQuoted(Exception):
    def __str__(self) -> str:
        raise asyncio.CancelledError


def noted() -> Exception:
    error = ValueError("noted")
    error.__notes__ = None  # type: ignore[assignment]
    return error


@pytest.mark.parametrize(
    "make",
    [lambda: Frozen(5), Guarded, Agreeable, CancelsWhenQuoted, noted],
    ids=["frozen", "guarded", "agreeable", "cancelling", "noted"],
)
async def test_whatever_a_handler_raises_reaches_every_caller(make: Any) -> None:
    raised: list[Exception] = []

    async def handler(items: list[int]) -> list[int]:
        raised.append(make())
        raise raised[-1]

    batcher: Batcher[int, int] = Batcher(handler)
    errors = await outcomes(batcher)
    assert [error.__cause__ for error in errors] == [raised[0]] * 2
    assert all(isinstance(error, (type(raised[0]), BatchError)) for error in errors)
    assert errors[0] is not errors[1]
    assert batcher.statistics().slots_busy == 0


async def test_an_interrupt_while_the_answer_is_read_leaves_nobody_waiting(loop_kind: Any) -> None:
    class Interrupting(Sized):
        def __len__(self) -> int:
            raise KeyboardInterrupt

    batcher = answering(Interrupting([1]))
    raised: list[BaseException] = []
    asyncio.get_running_loop().call_soon = catching(raised)  # type: ignore[method-assign]
    assert [type(each) for each in await outcomes(batcher)] == [HandlerCancelledError] * 2
    assert [type(each) for each in raised] == [KeyboardInterrupt]


def catching(raised: list[BaseException]) -> Any:
    """Give a call_soon() of the running loop whose callbacks keep exit requests to themselves."""
    call_soon = asyncio.get_running_loop().call_soon

    def careful(callback: Any, *args: Any, context: Any = None) -> Any:
        def call() -> None:
            try:
                callback(*args)
            except KeyboardInterrupt as error:
                raised.append(error)

        return call_soon(call, context=context)

    return careful
