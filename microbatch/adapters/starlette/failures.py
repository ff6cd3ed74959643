"""Say what microbatch raises in HTTP's words."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

from microbatch import (
    BatcherClosedError,
    BatchTimeoutError,
    CapacityError,
    HandlerCancelledError,
    MicrobatchError,
    OverweightError,
)

__all__ = ["Handlers", "exception_handlers"]

Handlers: TypeAlias = dict[int | type[Exception], Callable[[Any, Any], Coroutine[Any, Any, Any]]]

TOO_LARGE, UNAVAILABLE, LATE = 413, 503, 504
STATUS: dict[type[MicrobatchError], int] = {
    OverweightError: TOO_LARGE,
    CapacityError: UNAVAILABLE,
    BatcherClosedError: UNAVAILABLE,
    HandlerCancelledError: UNAVAILABLE,
    BatchTimeoutError: LATE,
}
TOO_BIG, TRY_AGAIN_LATER = 1009, 1013  # what a WebSocket is closed with


def exception_handlers(*, retry_after: int | None = 1) -> Handlers:
    """Give the exception handlers for what microbatch raises to an endpoint.

    ::

        app = FastAPI(exception_handlers=exception_handlers())

    - OverweightError is a 413: the item alone is more than one call may hold.
    - CapacityError, BatcherClosedError and HandlerCancelledError are a 503 with ``Retry-After``,
      in whole seconds; None is no such header.
    - BatchTimeoutError is a 504.

    The body is JSON, ``{"detail": message}`` as FastAPI's. The message names the batcher and its
    limits, and nothing of any item. A WebSocket is closed with 1009 or 1013 instead. Subclasses
    are answered as their class, unless they have handlers of their own.

    ResultCountError and BatchError are faults of the program, as is whatever a handler raises.
    They have no handler here, so that they stay what they are: a 500 that says nothing to the
    client, and is reported with its traceback by the server.

    Raises TypeError or ValueError unless ``retry_after`` is a whole number of at least 0, or None.
    """
    check_retry_after(retry_after)
    headers = None if retry_after is None else {"Retry-After": str(retry_after)}

    def handler_for(status: int) -> Callable[[Any, Any], Coroutine[Any, Any, Any]]:
        async def answer(connection: HTTPConnection, error: Exception) -> JSONResponse | None:
            if isinstance(connection, WebSocket):
                await connection.close(TOO_BIG if status == TOO_LARGE else TRY_AGAIN_LATER)
                return None
            extra = headers if status == UNAVAILABLE else None
            return JSONResponse({"detail": str(error)}, status, extra)

        return answer

    return {error: handler_for(status) for error, status in STATUS.items()}


def check_retry_after(retry_after: object) -> None:
    """Raise TypeError or ValueError unless it is a whole number of seconds, or None."""
    if retry_after is None:
        return
    if isinstance(retry_after, bool) or not isinstance(retry_after, int):
        raise TypeError(f"retry_after must be a whole number or None, got {retry_after!r}")
    if retry_after < 0:
        raise ValueError(f"retry_after must be >= 0, got {retry_after!r}")
