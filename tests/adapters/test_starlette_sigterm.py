"""A service under load that is told to end drops nothing: real servers, sockets and signals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.skipif(os.name != "posix", reason="has no such signal")

PATIENCE = 20.0
SCRIPT = Path(__file__).with_name("served.py")
PIPE = asyncio.subprocess.PIPE


class Served:
    """The service in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.port = 0

    async def told(self, what: str) -> int:
        """Wait until the service tells this; give the number."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            said, number = json.loads(line)
            if said == what:
                return int(number)
        pytest.fail(f"it ended, and never told {what!r}")

    def let(self) -> None:
        """Let its handler answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def refuses(self) -> None:
        """Wait until nobody listens any more."""
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                await writer.wait_closed()
            except ConnectionRefusedError:
                return
            except ConnectionError:  # it stopped listening in the midst of it
                continue

    async def result(self) -> tuple[int, str]:
        """Give how it ended, and what it complained of."""
        assert self.process.stderr is not None
        complaints = await self.process.stderr.read()
        return await self.process.wait(), complaints.decode()


@contextlib.asynccontextmanager
async def serving(*options: str) -> AsyncIterator[tuple[Served, httpx.AsyncClient]]:
    """Run the service, and give a client of it that has as many connections as it likes."""
    command = [sys.executable, "-W", "error", str(SCRIPT), *options]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    served = Served(process)
    try:
        async with asyncio.timeout(PATIENCE):
            served.port = await served.told("port")
            limits = httpx.Limits(max_connections=None)
            url = f"http://127.0.0.1:{served.port}"
            async with httpx.AsyncClient(
                base_url=url, limits=limits, timeout=PATIENCE, trust_env=False
            ) as client:
                yield served, client
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


ENDED = -signal.SIGTERM  # uvicorn ends well, and then as the signal would have it


@pytest.mark.parametrize("options", [[], ["--close"], ["--graceful", "20"]], ids=str)
def test_every_request_in_the_queue_and_in_the_handler_is_answered(options: list[str]) -> None:
    async def main() -> None:
        async with serving("--tell-at", "200", *options) as (served, client):
            posts = [client.post("/double", json=number) for number in range(200)]
            answers = asyncio.gather(*posts)
            assert await served.told("accepted") == 200
            served.end()
            await served.refuses()
            assert not answers.done()
            with pytest.raises(httpx.ConnectError):
                await client.post("/double", json=1)
            served.let()
            assert [each.status_code for each in await answers] == [200] * 200
            assert [each.json() for each in await answers] == [2 * each for each in range(200)]
            assert await served.told("handled in all") == 200
            code, complaints = await served.result()
            assert code == ENDED
            assert "Application shutdown complete" in complaints
            assert "Traceback" not in complaints

    asyncio.run(main())


@pytest.mark.parametrize("options", [[], ["--close"]], ids=str)
def test_what_was_accepted_for_later_is_done_before_the_process_ends(options: list[str]) -> None:
    async def main() -> None:
        async with serving("--tell-at", "100", *options) as (served, client):
            posts = [client.post("/later", json=number) for number in range(100)]
            answers = await asyncio.gather(*posts)
            assert [each.status_code for each in answers] == [202] * 100
            served.end()
            await served.told("ending")  # uvicorn waits for nothing any more
            served.let()
            assert await served.told("handled in all") == 100
            code, complaints = await served.result()
            assert code == ENDED
            assert "Traceback" not in complaints

    asyncio.run(main())


@pytest.mark.parametrize("options", [[], ["--graceful", "20"]], ids=str)
def test_under_steady_load_each_accepted_request_is_answered(options: list[str]) -> None:
    async def main() -> None:
        answered = 0

        async def ask_on(client: httpx.AsyncClient) -> None:
            nonlocal answered
            while True:
                try:
                    answer = await client.post("/double", json=answered)
                except httpx.TransportError:  # it was not accepted
                    return
                answered += 1
                assert answer.status_code == 200

        async with serving("--at-once", "--tell-at", "300", *options) as (served, client):
            asking = [asyncio.create_task(ask_on(client)) for _ in range(32)]
            await served.told("accepted")
            served.end()
            await asyncio.gather(*asking)
            assert answered >= 300
            assert await served.told("accepted in all") == answered
            assert await served.told("handled in all") == answered
            code, complaints = await served.result()
            assert code == ENDED
            assert "Traceback" not in complaints
            with pytest.raises(httpx.ConnectError):
                await client.post("/double", json=1)

    asyncio.run(main())


def test_requests_that_outlast_the_servers_patience_give_their_items_up() -> None:
    async def main() -> None:
        async with serving("--tell-at", "50", "--graceful", "0") as (served, client):
            posts = [client.post("/double", json=number) for number in range(50)]
            answers = asyncio.gather(*posts, return_exceptions=True)
            await served.told("accepted")
            served.end()
            assert await served.told("handled in all") == 0
            assert await served.told("cancelled in all") == 50
            for answer in await answers:
                failed = isinstance(answer, httpx.TransportError)
                assert failed or (isinstance(answer, httpx.Response) and answer.status_code == 500)
            assert (await served.result())[0] == ENDED

    asyncio.run(main())


def test_the_stream_of_a_client_that_leaves_is_given_up() -> None:
    async def main() -> None:
        async with serving() as (served, client):
            async with client.stream("POST", "/stream", json=7) as answer:
                assert answer.status_code == 200
                assert await anext(answer.aiter_text()) == "7"
            assert await served.told("left") == 1
            served.end()
            code, complaints = await served.result()
            assert code == ENDED
            assert "Traceback" not in complaints

    asyncio.run(main())
