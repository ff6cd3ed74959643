"""Put batchers behind Starlette or FastAPI. It needs the extra ``starlette``.

``install`` sets an app up in one call; ``lifespan`` and ``exception_handlers`` are its two halves.
``closing`` is for batchers that the app makes itself, ``while_connected`` and ``StreamResponse``
for endpoints.
"""

try:
    import starlette as _  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        "microbatch.adapters.starlette needs starlette: "
        "pip install starlette, or microbatch with its extra 'starlette'"
    ) from error

from microbatch.adapters.starlette.clients import (
    ClientClosedRequest,
    StreamResponse,
    while_connected,
)
from microbatch.adapters.starlette.failures import exception_handlers
from microbatch.adapters.starlette.installing import install
from microbatch.adapters.starlette.lifespans import closing, lifespan

__all__ = [
    "ClientClosedRequest",
    "StreamResponse",
    "closing",
    "exception_handlers",
    "install",
    "lifespan",
    "while_connected",
]
