"""Set an app up for the batchers that it uses."""

from typing import Any

from starlette.applications import Starlette

from microbatch import Batcher
from microbatch.adapters.starlette.failures import exception_handlers
from microbatch.adapters.starlette.lifespans import lifespan

__all__ = ["install"]


def install(
    app: Starlette,
    *batchers: Batcher[Any, Any],
    timeout: float | None = 10.0,
    retry_after: int | None = 1,
) -> None:
    """Set a Starlette or FastAPI app up for batchers: how it ends, and what failures look like.

    ::

        app = FastAPI(lifespan=resources)
        install(app, embed, rerank)

    Puts ``lifespan(*batchers, timeout=timeout)`` into the app's own lifespan, and adds
    ``exception_handlers(retry_after=retry_after)`` where the app has none for that exception.
    Without batchers it adds the handlers alone.

    Do it when the routers are included, and to the app that the server runs: the lifespan of one
    that is mounted in another is not run. Once the app has started it raises RuntimeError. What is
    wrong raises TypeError or ValueError and changes nothing.
    """
    check_app(app)
    handlers = exception_handlers(retry_after=retry_after)
    living = lifespan(*batchers, timeout=timeout, around=app.router.lifespan_context)
    if batchers:
        app.router.lifespan_context = living
    for error, handler in handlers.items():
        if error not in app.exception_handlers:
            app.add_exception_handler(error, handler)


def check_app(app: object) -> None:
    """Raise TypeError for what is no app, and RuntimeError for one that runs."""
    if not isinstance(app, Starlette):
        raise TypeError(f"app must be a Starlette or FastAPI app, got {app!r}")
    if app.middleware_stack is not None:
        raise RuntimeError("install must be called before the app starts, which it has")
