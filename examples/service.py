"""A model behind HTTP: many small requests, few calls to the model.

Serves http://127.0.0.1:8000 until Ctrl-C; --port chooses another port. Ask it:

    curl http://127.0.0.1:8000/species --json '{"flowers": [[5.1, 3.5, 1.4, 0.2]]}'
    curl http://127.0.0.1:8000/metrics
    curl http://127.0.0.1:8000/batching --request PATCH --json '{"max_batch_size": 16}'
"""

import argparse
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from itertools import chain, islice
from typing import Annotated, Any

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel, Field
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

from microbatch import Batcher
from microbatch.adapters.prometheus import BatcherCollector
from microbatch.adapters.starlette import closing, exception_handlers, while_connected

Centimetres = Annotated[float, Field(gt=0, lt=100)]
Flower = tuple[Centimetres, Centimetres, Centimetres, Centimetres]
Classify = Callable[[list[list[Flower]]], list[list[str]]]


class Question(BaseModel):
    """Flowers: length and width of a sepal, length and width of a petal."""

    flowers: list[Flower] = Field(min_length=1)


class Answer(BaseModel):
    """The species of each flower."""

    species: list[str]


# ------------------------------------------------------------------------------------- the model
def train() -> Classify:
    """Train a real, small model; give the function that answers many questions at once."""
    iris = load_iris()
    forest = RandomForestClassifier(random_state=0).fit(iris.data, iris.target)

    def classify(questions: list[list[Flower]]) -> list[list[str]]:
        codes = forest.predict([*chain.from_iterable(questions)])
        names = iter(iris.target_names[codes].tolist())
        return [[*islice(names, len(flowers))] for flowers in questions]

    return classify


def create_app(load: Callable[[], Classify] = train) -> FastAPI:
    """Make the service; its batcher lives as long as the app does."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        app.state.batcher = batcher = Batcher(
            load(),  # a plain function: it runs in a thread, and the service stays responsive
            name="species",
            max_latency="auto",  # clients come back over a network: their batches are to be full
            max_batch_weight=256,  # flowers in one call to the model
            weigh=len,
            overweight="reject",
            capacity=1_000,  # questions at once; the next one is told to come back
            overflow="reject",
            timeout=5.0,  # seconds from question to answer, the time in the queue too
        )
        app.state.metrics = CollectorRegistry()
        BatcherCollector(batcher, registry=app.state.metrics)
        async with closing(batcher, timeout=10.0):  # what was accepted is finished
            yield

    app = FastAPI(title="Iris species", lifespan=lifespan, exception_handlers=exception_handlers())
    app.include_router(router)
    return app


# ---------------------------------------------------------------------------------- the endpoints
router = APIRouter()


async def batcher_of(request: Request) -> Batcher[list[Flower], list[str]]:
    return request.app.state.batcher


TheBatcher = Annotated[Batcher[list[Flower], list[str]], Depends(batcher_of)]


@router.post("/species")
async def species(question: Question, request: Request, batcher: TheBatcher) -> Answer:
    """Name the species of some flowers."""
    return Answer(species=await while_connected(request, batcher.submit(question.flowers)))


@router.patch("/batching")
async def tune(changes: dict[str, Any], batcher: TheBatcher) -> dict[str, Any]:
    """Change sizes and times while the service runs. In earnest, let only yourself do this."""
    try:
        batcher.reconfigure(**changes)
    except (TypeError, ValueError) as error:
        raise HTTPException(422, str(error)) from error
    return {name: getattr(batcher.options, name) for name in changes}


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Give the statistics as Prometheus reads them."""
    text = generate_latest(request.app.state.metrics)
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    print(__doc__, flush=True)
    uvicorn.run(create_app(), host="127.0.0.1", port=parser.parse_args().port)
