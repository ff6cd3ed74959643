"""One call sets an app up: how it ends, and what failures look like."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi")

from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette

from microbatch import Batcher, BatcherClosedError, CapacityError, batched
from microbatch.adapters.starlette import install
from tests.adapters.asgi import Client, living

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


async def slow(items: list[Any]) -> list[Any]:
    await asyncio.sleep(1.0)
    return items


@pytest.fixture(params=[Starlette, FastAPI])
def make_app(request: pytest.FixtureRequest) -> Callable[..., Any]:
    app: Callable[..., Any] = request.param
    return app


async def test_install_sets_an_app_up_in_one_call(make_app: Callable[..., Any]) -> None:
    events = []

    @contextlib.asynccontextmanager
    async def resources(app: Any) -> AsyncIterator[dict[str, int]]:
        yield {"pool": 1}
        events.append("closed")

    @batched(name="slow", capacity=1, overflow="reject")
    async def handler(items: list[int]) -> list[int]:
        await asyncio.sleep(1.0)
        events.append("handled")
        return items

    async def endpoint(request: Any) -> None:
        await handler(2)

    app = make_app(lifespan=resources)
    app.router.add_route("/", endpoint)
    install(app, handler, retry_after=7)
    async with living(app) as state:
        ticket = handler(1)
        client = await Client(app).ask()
        assert (client.status, client.headers["retry-after"]) == (503, "7")
    assert (state, ticket.result()) == ({"pool": 1}, 1)
    assert events == ["handled", "closed"]


async def test_an_app_without_a_lifespan_gets_one(make_app: Callable[..., Any]) -> None:
    app, batcher = make_app(), Batcher(slow)
    install(app, batcher)
    async with living(app) as state:
        ticket = batcher.submit(1)
    assert (state, ticket.result()) == ({}, 1)


async def test_routers_that_are_included_before_have_their_lifespans_around() -> None:
    events = []

    @contextlib.asynccontextmanager
    async def resources(app: Any) -> AsyncIterator[dict[str, int]]:
        yield {"pool": 1}
        events.append("closed")

    @batched()
    async def handler(items: list[int]) -> list[int]:
        await asyncio.sleep(1.0)
        events.append("handled")
        return items

    app = FastAPI()
    app.include_router(APIRouter(lifespan=resources))
    install(app, handler, timeout=2.0)
    async with living(app) as state:
        handler(1)
    assert state == {"pool": 1}
    assert events == ["handled", "closed"]


async def test_install_leaves_an_apps_own_handlers_alone(make_app: Callable[..., Any]) -> None:
    async def own(request: Any, error: Exception) -> None: ...

    app = make_app(exception_handlers={CapacityError: own})
    before = app.router.lifespan_context
    install(app)
    assert app.exception_handlers[CapacityError] is own
    assert app.exception_handlers[BatcherClosedError] is not own
    assert app.router.lifespan_context is before


async def test_install_refuses_what_is_no_app_and_one_that_runs() -> None:
    with pytest.raises(TypeError) as caught:
        install(slow)  # type: ignore[arg-type]
    assert str(caught.value) == f"app must be a Starlette or FastAPI app, got {slow!r}"
    app = Starlette()
    async with living(app):
        with pytest.raises(RuntimeError) as late:
            install(app)
    assert str(late.value) == "install must be called before the app starts, which it has"
    assert app.exception_handlers == {}


def test_what_is_wrong_changes_nothing() -> None:
    app = Starlette()
    before = app.router.lifespan_context
    with pytest.raises(TypeError) as caught:
        install(app, slow)  # type: ignore[arg-type]
    expected = f"batchers must be Batchers or @batched functions, got {slow!r}"
    assert str(caught.value) == expected
    with pytest.raises(ValueError) as wrong:  # noqa: PT011
        install(app, timeout=-1)
    assert str(wrong.value) == "timeout must be >= 0 and finite, got -1"
    assert app.exception_handlers == {}
    assert app.router.lifespan_context is before
