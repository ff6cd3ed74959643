"""Exceptions that a handler raises or answers: each caller gets its own."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from microbatch import Batcher, BatchError, HandlerCancelledError
from tests.handlers.asking import answering, outcomes


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
        SelfCopies(3),
        Choosy(path="x"),
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


async def test_a_stop_iteration_comes_wrapped_for_no_coroutine_can_raise_it() -> None:
    error = StopIteration(5)
    (own,) = await outcomes(answering([error]), [1])
    assert type(own) is BatchError
    assert str(own) == "StopIteration: 5"
    assert own.__cause__ is error


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
