"""Keep-alive HTTP clients in this process, and a service with a batcher in another one."""

import asyncio
import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec

from benchmarks.traffic import server
from benchmarks.traffic.handling import WARM_UP, Answers, Work, mean
from conformance.child import command
from conformance.execution import kill

HOST = "127.0.0.1"
PATIENCE = 60.0
"""Seconds that a service may take to listen, and to end."""
UVICORN = [
    "uvloop" if find_spec("uvloop") else "asyncio",
    "httptools" if find_spec("httptools") else "h11",
]
"""The loop and the parser that all services use: uvicorn's faster ones, if they are here."""
END = b"\r\n\r\nok"
"""How an answer ends: after the headers, its two bytes."""


class Client(asyncio.Protocol):
    """Send a request, and the next one as soon as the answer is there."""

    request = f"GET /items/1 HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode()

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.sent = 0.0
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.sent = time.perf_counter()
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Send the next request, if this is the end of an answer."""
        self.received += data
        if not self.received.endswith(END):
            return
        if not self.received.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"a request was answered with {self.received!r}")
        self.received = b""
        self.sent = self.answers.add(self.sent)
        self.transport.write(self.request)


@contextlib.contextmanager
def serving(python: str, *arguments: str) -> Iterator[int]:
    """Give the port of a service; when this is left it has ended, and whatever it started."""
    with subprocess.Popen(
        command(python, server.__name__, *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a group of its own, to be killed as one
    ) as process:
        try:
            assert process.stdin
            assert process.stdout
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"the service ended with status {process.wait()}")
            yield json.loads(line)
            process.stdin.close()
            process.wait(PATIENCE)
        finally:
            kill(process)


async def counts(port: int) -> list[int]:
    """Ask the service for its counts of calls and items."""
    reader, writer = await asyncio.open_connection(HOST, port)
    request = f"GET /counts HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n"
    writer.write(request.encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    found: list[int] = json.loads(answer.rpartition(b"\r\n\r\n")[2])
    return found


async def ask(port: int, clients: int, seconds: float) -> dict[str, float]:
    """Let clients ask, and give the figures."""
    loop, answers = asyncio.get_running_loop(), Answers()
    connections = [
        await loop.create_connection(lambda: Client(answers), HOST, port) for _ in range(clients)
    ]
    await asyncio.sleep(WARM_UP)
    before, start = await counts(port), time.perf_counter()
    await asyncio.sleep(seconds)
    end, after = time.perf_counter(), await counts(port)
    for transport, _ in connections:
        transport.close()
    return answers.figures(start, end, mean(before, after))


def measure(python: str, module: str, work: Work) -> dict[str, float]:
    """Measure the library that a module adapts, with the Python that has it."""
    arguments = json.dumps(work.size), json.dumps(work.wait), *UVICORN
    with serving(python, module, *arguments) as port:
        return asyncio.run(ask(port, work.clients, work.seconds))
