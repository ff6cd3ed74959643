"""A threaded web application that asks a classifier for one flower at a time.

The application is plain WSGI, and knows nothing of coroutines. Its server has a thread for each
request; the threads share one BlockingBatcher, so the model is called with many flowers at once.

Run it with ``python examples/threads.py``; it needs scikit-learn.
"""

import json
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import parse_qs, urlencode
from urllib.request import urlopen
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from microbatch import BatchTimeoutError, BlockingBatcher

CLIENTS = 32


class Classifier:
    """A model that answers for many flowers in little more time than for one."""

    def __init__(self) -> None:
        self.iris = load_iris()
        self.model = LogisticRegression(max_iter=500).fit(self.iris.data, self.iris.target)
        self.calls = 0

    def name(self, flowers: list[list[float]]) -> list[str]:
        self.calls += 1
        return [str(self.iris.target_names[kind]) for kind in self.model.predict(flowers)]


class Application:
    """Answer ``/?size=5.1&size=3.5&size=1.4&size=0.2`` with the name of the flower."""

    def __init__(self, classifier: BlockingBatcher[list[float], str]) -> None:
        self.classifier = classifier

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        flower = [float(size) for size in parse_qs(environ["QUERY_STRING"])["size"]]
        try:
            status, answer = "200 OK", self.classifier.submit(flower, timeout=5.0).result()
        except BatchTimeoutError:
            status, answer = "503 Service Unavailable", "try again"
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]


class ThreadingServer(ThreadingMixIn, WSGIServer):
    request_queue_size = 2 * CLIENTS


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None: ...


def main() -> None:
    classifier = Classifier()
    flowers = classifier.iris.data.tolist()

    with BlockingBatcher(classifier.name, max_batch_size=64, max_latency="auto") as batcher:
        server = make_server(
            "127.0.0.1", 0, Application(batcher), server_class=ThreadingServer, handler_class=Quiet
        )
        with server:
            threading.Thread(target=server.serve_forever, args=(0.05,)).start()

            def ask(flower: list[float]) -> str:
                query = urlencode({"size": flower}, doseq=True)
                with urlopen(f"http://127.0.0.1:{server.server_port}/?{query}") as response:
                    answer: str = json.load(response)
                return answer

            with ThreadPoolExecutor(CLIENTS) as clients:
                answers = list(clients.map(ask, flowers))
            server.shutdown()

    right = sum(
        answer == classifier.iris.target_names[kind]
        for answer, kind in zip(answers, classifier.iris.target, strict=True)
    )
    print(f"{len(answers)} requests in {CLIENTS} threads, {right} named right")
    print(f"{classifier.calls} calls of the model")


if __name__ == "__main__":
    main()
