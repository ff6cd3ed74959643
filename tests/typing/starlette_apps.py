"""What type checkers make of apps that are set up for batchers."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import assert_type

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request

from microbatch import Batcher, BlockingBatcher, Stream, batched
from microbatch.adapters.starlette import (
    StreamResponse,
    closing,
    exception_handlers,
    install,
    lifespan,
    while_connected,
)


@batched()
async def measure(texts: list[str]) -> list[int]:
    return [len(text) for text in texts]


async def reverse(texts: list[str]) -> list[str]:
    return [text[::-1] for text in texts]


@asynccontextmanager
async def stateless(app: FastAPI) -> AsyncGenerator[None]:
    batcher = Batcher(reverse)
    async with closing(batcher, measure, BlockingBatcher(reverse), timeout=None) as nothing:
        assert_type(nothing, None)
        yield


@asynccontextmanager
async def stateful(app: Starlette) -> AsyncGenerator[dict[str, int]]:
    yield {"pool": 1}


def apps() -> None:
    Starlette(lifespan=lifespan(measure), exception_handlers=exception_handlers())
    Starlette(lifespan=lifespan(measure, timeout=1, around=stateful))
    FastAPI(lifespan=lifespan(Batcher(reverse)), exception_handlers=exception_handlers())
    app = FastAPI(lifespan=lifespan(around=stateless))
    install(app, measure, Batcher(reverse), timeout=5, retry_after=None)
    lifespan(reverse)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def endpoint(request: Request, batcher: Batcher[str, str], stream: Stream[str]) -> None:
    assert_type(await while_connected(request, measure("one")), int)
    assert_type(await while_connected(request, batcher.submit("one")), str)
    assert_type(await while_connected(request, batcher.submit_many(["one"])), list[str])
    StreamResponse(stream, media_type="text/plain")
    await while_connected(request, stream)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
