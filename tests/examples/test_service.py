"""The example service, asked by real clients over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
pytest.importorskip("prometheus_client")
pytest.importorskip("sklearn")
pytest.importorskip("uvicorn")

import httpx
import uvicorn
from prometheus_client.parser import text_string_to_metric_families
from sklearn.datasets import load_iris

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

PATIENCE = 20.0
SCRIPT = Path(__file__).parents[2] / "examples" / "service.py"
FLOWER = [5.1, 3.5, 1.4, 0.2]


class Model:
    """A model that remembers what it is asked, and answers no earlier than it is let."""

    def __init__(self, classify: Callable[[list[Any]], list[list[str]]]) -> None:
        self.classify = classify
        self.calls: list[list[Any]] = []
        self.let = threading.Event()
        self.let.set()

    def __call__(self, questions: list[Any]) -> list[list[str]]:
        self.calls.append(questions)
        assert self.let.wait(PATIENCE)
        return self.classify(questions)


class Service:
    """The service in a thread, and a client of it."""

    def __init__(self, app: Any, model: Model) -> None:
        self.app, self.model = app, model
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self.socket.getsockname()
        self.server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
        self.thread = threading.Thread(target=self.server.run, args=[[self.socket]])
        self.client = httpx.Client(base_url=f"http://{self.host}:{self.port}", timeout=PATIENCE)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self.thread.start()
        try:
            with self.client:
                yield
        finally:
            self.model.let.set()
            self.server.should_exit = True
            self.thread.join(PATIENCE)
        assert not self.thread.is_alive()

    def ask(self, *flowers: Any) -> httpx.Response:
        return self.client.post("/species", json={"flowers": flowers})

    def begin_to_ask(self, *flowers: Any) -> http.client.HTTPConnection:
        """Ask on a connection of its own, and don't wait for the answer."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/species", json.dumps({"flowers": flowers}), headers)
        return connection

    def tune(self, **changes: Any) -> httpx.Response:
        return self.client.patch("/batching", json=changes)

    def numbers(self) -> dict[str, int]:
        """Read the metrics that are no histograms, without what they all begin with."""
        text = self.client.get("/metrics").raise_for_status().text
        numbers: Counter[str] = Counter()
        for family in text_string_to_metric_families(text):
            if family.type != "histogram":
                what = family.name.removeprefix("microbatch_").removeprefix("items_")
                numbers[what] = sum(int(sample.value) for sample in family.samples)
        return numbers

    def wait_until(self, **expected: int) -> None:
        """Look at the metrics until they say this."""
        end = time.monotonic() + PATIENCE
        while not expected.items() <= (numbers := self.numbers()).items():
            assert time.monotonic() < end, f"waited for {expected}, got {numbers}"


@pytest.fixture(scope="module")
def example(load_example: Callable[[str], ModuleType]) -> ModuleType:
    return load_example("service")


@pytest.fixture(scope="module")
def classify(example: ModuleType) -> Callable[[list[Any]], list[list[str]]]:
    return example.train()


@pytest.fixture
def service(example: ModuleType, classify: Any) -> Iterator[Service]:
    model = Model(classify)
    service = Service(example.create_app(lambda: model), model)
    with service.running():
        yield service


# ------------------------------------------------------------------------------------- answering
def test_many_requests_are_answered_right_by_few_calls(service: Service, classify: Any) -> None:
    flowers = load_iris().data.tolist()
    service.model.let.clear()

    async def ask_all() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=None)
        url = service.client.base_url
        async with httpx.AsyncClient(base_url=url, limits=limits, timeout=PATIENCE) as client:
            first = asyncio.create_task(client.post("/species", json={"flowers": flowers[:1]}))
            await asyncio.to_thread(service.wait_until, in_flight=1)
            posts = [client.post("/species", json={"flowers": [each]}) for each in flowers[1:]]
            others = asyncio.gather(*posts)
            await asyncio.to_thread(service.wait_until, queued=149)
            service.model.let.set()
            return [await first, *await others]

    answers = [response.raise_for_status().json() for response in asyncio.run(ask_all())]
    assert [answer["species"] for answer in answers] == classify([[each] for each in flowers])
    assert [len(questions) for questions in service.model.calls] == [1, 64, 64, 21]
    expected = {"completed": 150, "failed": 0, "cancelled": 0, "in_flight": 0, "batches": 4}
    assert expected.items() <= service.numbers().items()


def test_a_question_may_hold_many_flowers(service: Service) -> None:
    answer = service.ask(FLOWER, [6.7, 3.0, 5.2, 2.3], FLOWER)
    assert answer.json() == {"species": ["setosa", "virginica", "setosa"]}


def test_metrics_are_what_prometheus_reads(service: Service) -> None:
    assert service.ask(FLOWER).status_code == 200
    response = service.client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    families = {each.name: each for each in text_string_to_metric_families(response.text)}
    assert families["microbatch_queue_wait_seconds"].type == "histogram"
    samples = [sample for family in families.values() for sample in family.samples]
    assert {sample.labels["batcher"] for sample in samples} == {"species"}


# ------------------------------------------------------------------------------ clients that leave
def test_the_item_of_a_client_that_leaves_in_time_never_reaches_the_model(service: Service) -> None:
    service.model.let.clear()
    with ThreadPoolExecutor() as pool:
        busy = pool.submit(service.ask, FLOWER)
        service.wait_until(in_flight=1)
        leaving = service.begin_to_ask([6.7, 3.0, 5.2, 2.3])
        service.wait_until(queued=1)
        staying = pool.submit(service.ask, FLOWER, FLOWER)
        service.wait_until(queued=2)
        leaving.close()
        service.wait_until(cancelled=1, queued=1)
        service.model.let.set()
        assert busy.result().json() == {"species": ["setosa"]}
        assert staying.result().json() == {"species": ["setosa", "setosa"]}
    flower = tuple(FLOWER)
    assert service.model.calls == [[[flower]], [[flower, flower]]]


def test_the_item_of_a_client_that_leaves_in_flight_is_given_up(service: Service) -> None:
    service.model.let.clear()
    leaving = service.begin_to_ask(FLOWER)
    service.wait_until(in_flight=1)
    leaving.close()
    service.wait_until(cancelled=1, in_flight=0)
    service.model.let.set()
    assert service.ask(FLOWER).json() == {"species": ["setosa"]}
    assert len(service.model.calls) == 2
    assert service.numbers()["completed"] == 1


# ---------------------------------------------------------------------------------------- refusing
@pytest.mark.parametrize(
    "body",
    [
        "no JSON",
        '{"flowers": []}',
        '{"flowers": [[1.0, 2.0, 3.0]]}',
        '{"flowers": [[1.0, 2.0, 3.0, -4.0]]}',
        '{"flowers": [[1.0, 2.0, 3.0, "wide"]]}',
    ],
)
def test_what_is_no_question_is_unprocessable(service: Service, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    response = service.client.post("/species", content=body, headers=headers)
    assert response.status_code == 422
    assert service.model.calls == []


def test_what_is_too_large_for_one_call_is_refused(service: Service) -> None:
    response = service.ask(*[FLOWER] * 257)
    assert (response.status_code, response.json()["detail"]) == (
        413,
        "weight must be <= max_batch_weight (256) for batcher 'species', got 257",
    )
    assert len(service.ask(*[FLOWER] * 256).json()["species"]) == 256


def test_at_capacity_the_client_is_told_to_come_back(service: Service) -> None:
    assert service.tune(capacity=1).json() == {"capacity": 1}
    service.model.let.clear()
    with ThreadPoolExecutor() as pool:
        busy = pool.submit(service.ask, FLOWER)
        service.wait_until(in_flight=1)
        refused = service.ask(FLOWER)
        service.model.let.set()
        assert busy.result().status_code == 200
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert "capacity is 1" in refused.json()["detail"]
    assert service.numbers()["rejected"] == 1


def test_a_late_answer_is_a_gateway_timeout(service: Service) -> None:
    assert service.tune(timeout=0.01).json() == {"timeout": 0.01}
    service.model.let.clear()
    response = service.ask(FLOWER)
    assert response.status_code == 504
    assert "0.01" in response.json()["detail"]
    assert service.numbers()["late"] == 1


def test_a_closed_batcher_is_unavailable(service: Service) -> None:
    async def close() -> int:
        return await service.app.state.batcher.aclose()

    service.app.add_api_route("/close", close, methods=["POST"])
    assert service.client.post("/close").json() == 0
    response = service.ask(FLOWER)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert response.json()["detail"] == "batcher 'species' is closed"


def test_a_model_that_raises_is_a_server_error(service: Service) -> None:
    def fail(questions: list[Any]) -> list[list[str]]:
        raise ZeroDivisionError

    works, service.model.classify = service.model.classify, fail
    with contextlib.closing(service.begin_to_ask(FLOWER)) as connection:
        assert connection.getresponse().status == 500  # and then the server hangs up
    service.model.classify = works
    assert service.ask(FLOWER).status_code == 200
    assert service.numbers()["failed"] == 1


def test_wrong_changes_are_unprocessable_and_change_nothing(service: Service) -> None:
    response = service.tune(max_batch_size=0)
    assert (response.status_code, response.json()["detail"]) == (
        422,
        "max_batch_size must be >= 1, got 0",
    )
    assert service.tune(name="iris").status_code == 422
    assert service.app.state.batcher.options.max_batch_size == 64


# ----------------------------------------------------------------------------------------- the end
def test_what_was_accepted_is_finished_on_shutdown(example: ModuleType, classify: Any) -> None:
    model = Model(classify)
    model.let.clear()
    service = Service(example.create_app(lambda: model), model)
    with ThreadPoolExecutor() as pool, service.running():
        in_flight = pool.submit(service.ask, FLOWER)
        service.wait_until(in_flight=1)
        queued = pool.submit(service.ask, FLOWER, FLOWER)
        service.wait_until(queued=1)
        service.server.should_exit = True
        wait_for_refusal(service)
        assert not in_flight.done()
        model.let.set()
        assert in_flight.result().json() == {"species": ["setosa"]}
        assert queued.result().json() == {"species": ["setosa", "setosa"]}
        service.thread.join(PATIENCE)
    assert service.app.state.batcher.statistics().completed == 2


def wait_for_refusal(service: Service) -> None:
    end = time.monotonic() + PATIENCE
    with contextlib.suppress(ConnectionRefusedError):
        while time.monotonic() < end:
            socket.create_connection((service.host, service.port)).close()
        pytest.fail("the service still listens")


@pytest.mark.skipif(os.name != "posix", reason="has no such signal")
def test_it_runs_as_a_program() -> None:
    command = [sys.executable, "-W", "error", str(SCRIPT), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as it:
        assert it.stderr is not None
        for line in it.stderr:
            if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", line):
                break
        else:
            pytest.fail("it ended before it ran")
        response = httpx.post(f"{found[1]}/species", json={"flowers": [FLOWER]}, timeout=PATIENCE)
        assert response.json() == {"species": ["setosa"]}
        it.send_signal(signal.SIGINT)
        output, _ = it.communicate(timeout=PATIENCE)
        assert it.returncode == 0
    assert output.startswith("A model behind HTTP")
