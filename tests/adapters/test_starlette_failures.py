"""What microbatch raises in an endpoint has a status; a fault of the program is a 500."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi")

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute

import microbatch
from microbatch import (
    Batcher,
    BatcherClosedError,
    BatchError,
    BatchTimeoutError,
    CapacityError,
    HandlerCancelledError,
    MicrobatchError,
    OverweightError,
    ResultCountError,
)
from microbatch.adapters.starlette import exception_handlers, install
from tests.adapters.asgi import Client

if TYPE_CHECKING:
    from collections.abc import Callable

INSTALLED = "installed"


@pytest.fixture(params=[Starlette, FastAPI, INSTALLED])
def app_raising(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Make an app whose one endpoint raises something."""

    def make(raised: Exception, **options: Any) -> Any:
        async def endpoint(request: Any) -> None:
            raise raised

        routes = [Route("/", endpoint)]
        if request.param is not INSTALLED:
            return request.param(routes=routes, exception_handlers=exception_handlers(**options))
        app = FastAPI(routes=routes)
        install(app, **options)
        return app

    return make


class RefusedTenant(CapacityError):
    """An error of a user's own."""


@pytest.mark.parametrize(
    ("raised", "status", "retry_after"),
    [
        (OverweightError("too heavy"), 413, None),
        (CapacityError("full"), 503, "1"),
        (RefusedTenant("full"), 503, "1"),
        (BatcherClosedError("closed"), 503, "1"),
        (HandlerCancelledError("cancelled"), 503, "1"),
        (BatchTimeoutError("late"), 504, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_what_a_batcher_raises_has_a_status(
    app_raising: Callable[..., Any], raised: Exception, status: int, retry_after: str | None
) -> None:
    client = await Client(app_raising(raised)).ask()
    assert (client.status, client.answer) == (status, {"detail": str(raised)})
    assert client.headers.get("retry-after") == retry_after
    assert client.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "raised",
    [
        ResultCountError("embed", 2, 1),
        BatchError("the database's password"),
        MicrobatchError(),
        KeyError(),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_fault_of_the_program_is_reported_and_not_told(
    app_raising: Callable[..., Any], raised: Exception
) -> None:
    client = Client(app_raising(raised))
    with pytest.raises(type(raised)) as caught:  # by the server, with its traceback
        await client.ask()
    assert caught.value is raised
    assert (client.status, client.body) == (500, b"Internal Server Error")


def test_each_error_is_a_status_or_a_fault() -> None:
    faults = {MicrobatchError, BatchError, ResultCountError}
    errors = {
        each
        for each in vars(microbatch).values()
        if isinstance(each, type) and issubclass(each, MicrobatchError)
    }
    assert errors == faults | set(exception_handlers())


@pytest.mark.parametrize(("retry_after", "header"), [(30, "30"), (0, "0"), (None, None)])
async def test_when_to_come_back_can_be_said(
    app_raising: Callable[..., Any], retry_after: int | None, header: str | None
) -> None:
    client = await Client(app_raising(CapacityError("full"), retry_after=retry_after)).ask()
    assert (client.status, client.headers.get("retry-after")) == (503, header)


async def test_an_apps_own_handler_for_a_subclass_wins() -> None:
    async def endpoint(request: Any) -> None:
        raise RefusedTenant

    async def refuse(request: Any, error: Exception) -> Any:
        from starlette.responses import PlainTextResponse

        return PlainTextResponse("upgrade", 402)

    app = Starlette(routes=[Route("/", endpoint)], exception_handlers={RefusedTenant: refuse})
    install(app)
    assert (await Client(app).ask()).status == 402


async def test_the_message_is_the_batchers_own() -> None:
    batcher = Batcher(echo, name="echo", weigh=len, max_batch_weight=3, overweight="reject")

    async def endpoint(request: Any) -> None:
        await batcher.submit("four")

    client = await Client(
        Starlette(routes=[Route("/", endpoint)], exception_handlers=exception_handlers())
    ).ask()
    expected = "weight must be <= max_batch_weight (3) for batcher 'echo', got 4"
    assert (client.status, client.answer) == (413, {"detail": expected})


async def echo(items: list[Any]) -> list[Any]:
    return items


# --------------------------------------------------------------------------------------- WebSockets
@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (OverweightError("too heavy"), 1009),
        (CapacityError("full"), 1013),
        (BatchTimeoutError("late"), 1013),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
@pytest.mark.parametrize("kind", [Starlette, FastAPI])
async def test_a_websocket_is_closed_with_a_code(kind: Any, raised: Exception, code: int) -> None:
    async def endpoint(websocket: Any) -> None:
        await websocket.accept()
        raise raised

    app = kind(routes=[WebSocketRoute("/", endpoint)], exception_handlers=exception_handlers())
    client = Client(app, kind="websocket")
    client.to_come = [{"type": "websocket.connect"}]
    await client.ask()
    assert [message["type"] for message in client.sent] == ["websocket.accept", "websocket.close"]
    assert client.sent[1]["code"] == code


# ------------------------------------------------------------------------------------ what is wrong
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (-1, ValueError, "retry_after must be >= 0, got -1"),
        (1.5, TypeError, "retry_after must be a whole number or None, got 1.5"),
        ("1", TypeError, "retry_after must be a whole number or None, got '1'"),
        (True, TypeError, "retry_after must be a whole number or None, got True"),
    ],
)
def test_a_wrong_retry_after_is_refused(value: Any, error: Any, message: str) -> None:
    with pytest.raises(error) as caught:
        exception_handlers(retry_after=value)
    assert str(caught.value) == message
    app = Starlette()
    before = app.router.lifespan_context
    with pytest.raises(error) as caught:
        install(app, Batcher(echo), retry_after=value)
    assert str(caught.value) == message
    assert app.router.lifespan_context is before


async def test_handlers_have_no_state_of_their_own() -> None:
    """One mapping serves many requests at once."""
    handlers = exception_handlers()
    answers = await asyncio.gather(
        *(handlers[CapacityError](None, CapacityError(str(index))) for index in range(3))
    )
    assert [each.body for each in answers] == [b'{"detail":"%d"}' % index for index in range(3)]
