"""The types of batchers and tickets, for mypy --strict and for pyright."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextvars import Context
from typing import Any, Literal, assert_type

import numpy as np
import numpy.typing as npt
from tenacity import AsyncRetrying, Retrying

from microbatch import (
    BatchDispatched,
    BatchEnded,
    Batcher,
    BatcherOptions,
    BatcherStatistics,
    Distribution,
    Ticket,
    batched,
)
from microbatch.adapters.opentelemetry import BatcherTelemetry
from microbatch.adapters.prometheus import BatcherCollector


async def a_list(texts: list[str]) -> list[int]:
    raise NotImplementedError


def in_a_thread(texts: Sequence[str]) -> Sequence[int]:
    raise NotImplementedError


async def with_errors(texts: list[str]) -> list[int | Exception]:
    raise NotImplementedError


async def an_array(texts: list[str]) -> npt.NDArray[np.float32]:
    raise NotImplementedError


async def nothing(texts: list[str]) -> None:
    raise NotImplementedError


async def perhaps(texts: list[str]) -> list[int] | None:
    raise NotImplementedError


async def of_one_result(texts: list[str]) -> int:
    raise NotImplementedError


class Handler:
    async def __call__(self, texts: list[str]) -> tuple[int, ...]:
        raise NotImplementedError

    def method(self, texts: list[str]) -> list[int]:
        raise NotImplementedError


# -------------------------------------------------------------------------------------- inference
assert_type(Batcher(a_list), Batcher[str, int])
assert_type(Batcher(in_a_thread, max_batch_size=2), Batcher[str, int])
assert_type(Batcher(with_errors), Batcher[str, int])
assert_type(Batcher(an_array), Batcher[str, Any])
assert_type(Batcher(nothing), Batcher[str, None])
assert_type(Batcher(perhaps), Batcher[str, int | None])
assert_type(Batcher(Handler()), Batcher[str, int])
assert_type(Batcher(Handler().method), Batcher[str, int])

Batcher(of_one_result)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
Batcher(3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
Batcher(a_list, max_size=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
Batcher(a_list, overflow="block")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
Batcher(a_list, max_latency="soon")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
assert_type(Batcher(a_list, max_latency="auto", max_auto_latency=0.02), Batcher[str, int])
Batcher(a_list).reconfigure(max_latency="auto", max_auto_latency=None)

assert_type(Batcher(a_list, retry=AsyncRetrying(), on_error="bisect"), Batcher[str, int])
assert_type(Batcher(a_list, retry=None, on_error="fail"), Batcher[str, int])
Batcher(a_list, retry=Retrying())  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
Batcher(a_list, retry=3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
Batcher(a_list, on_error="halve")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]

options: BatcherOptions = {"max_batch_size": 2, "timeout": None}
assert_type(Batcher(a_list, **options), Batcher[str, int])


# --------------------------------------------------------------------------------------- variance
class Animal: ...


class Cat(Animal): ...


async def name(animals: list[Animal]) -> list[str]:
    raise NotImplementedError


decorated: Batcher[Cat, object] = batched()(name)


def vary(names: Batcher[Animal, str], breeds: Batcher[int, Cat]) -> object:
    names_cats: Batcher[Cat, object] = names
    breeds_animals: Batcher[int, Animal] = breeds
    return (names_cats, breeds_animals)


def vary_wrongly(names: Batcher[Cat, str], breeds: Batcher[int, Animal]) -> object:
    names_animals: Batcher[Animal, str] = names  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    breeds_cats: Batcher[int, Cat] = breeds  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    return (names_animals, breeds_cats)


# ----------------------------------------------------------------------------------------- results
async def use(batcher: Batcher[str, int], exceptions: bool) -> None:
    ticket = batcher.submit("x", timeout=1)
    assert_type(ticket, Ticket[int])
    assert_type(await ticket, int)
    assert_type(ticket.result(), int)
    assert_type(ticket.exception(), BaseException | None)
    assert_type(batcher.submit_nowait("x"), Ticket[int])

    assert_type(batcher.submit_many(["x"]), Ticket[list[int]])
    assert_type(await batcher.submit_many(("x",), return_exceptions=False), list[int])
    many = batcher.submit_many(("x",), return_exceptions=True)
    assert_type(await many, list[int | Exception])
    assert_type(await batcher.submit_many([], return_exceptions=exceptions), list[int | Exception])

    assert_type(batcher.map(["x"]), AsyncIterator[int])
    assert_type(batcher.map(["x"], ordering="unordered"), AsyncIterator[int])
    assert_type(batcher.map(["x"], with_items=True), AsyncIterator[tuple[str, int]])
    assert_type(
        batcher.map(batcher_source(), return_exceptions=True, with_items=True),
        AsyncIterator[tuple[str, int | Exception]],
    )
    every = batcher.map(batcher_source(), return_exceptions=True)
    assert_type(every, AsyncIterator[int | Exception])

    assert_type(await asyncio.gather(ticket, ticket), tuple[int, int])
    assert_type(await asyncio.gather(*[ticket]), list[int])
    assert_type(await asyncio.gather(ticket, return_exceptions=True), tuple[int | BaseException])
    assert_type(await asyncio.wait_for(ticket, 1), int)
    assert_type(await asyncio.shield(ticket), int)
    for first in asyncio.as_completed([ticket]):
        assert_type(await first, int)

    async with batcher as entered:
        assert_type(entered, Batcher[str, int])
    assert_type(await batcher.aclose(timeout=1.0), int)
    assert_type(batcher.statistics(), BatcherStatistics)

    batcher.submit(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    batcher.submit_many([1])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    batcher.map([1], with_items=True)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    batcher.map([1])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


async def batcher_source() -> AsyncIterator[str]:
    yield "x"


# --------------------------------------------------------------------------------------- observers
def observe(event: BatchDispatched | BatchEnded) -> None:
    assert_type(event.name, str)
    assert_type(event.waits, tuple[float, ...])
    if isinstance(event, BatchEnded):
        assert_type(event.error, BaseException | None)
        assert_type(event.outcome, Literal["returned", "raised", "cancelled"])
    else:
        assert_type(event.contexts, tuple[Context | None, ...])


def half(event: BatchEnded) -> None: ...


Batcher(a_list, observer=observe)
Batcher(a_list, observer=BatcherTelemetry(), capture_context=True)
Batcher(a_list, observer=half)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
Batcher(a_list, observer="print")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]

assert_type(Batcher(a_list).statistics().submitted, int)
assert_type(Batcher(a_list).statistics().batches, Mapping[str, int])
assert_type(Batcher(a_list).statistics().queue_wait, Distribution)
assert_type(Batcher(a_list).statistics().queue_wait.quantile(0.5), float)
BatcherCollector(Batcher(a_list), batched()(a_list)).add(Batcher(nothing))
BatcherCollector(a_list)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
