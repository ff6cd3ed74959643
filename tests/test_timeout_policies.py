"""A timeout policy that is a callable runs on its own, with eager tasks too."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from microbatch import Batcher, HandlerCancelledError
from microbatch.testing import RecordingHandler


async def test_a_policy_that_drains_is_told_that_it_would_wait_for_itself() -> None:
    async def policy(items: list[int]) -> list[int]:
        with pytest.raises(RuntimeError, match="must not be drained or closed by its own"):
            await batcher.drain()
        return items

    handler: RecordingHandler[int, int] = RecordingHandler(delay=10.0)
    batcher = Batcher(handler, timeout=1.0, timeout_policy=policy)
    assert await batcher.submit(1) == 1
    await batcher.drain()


def test_an_exit_request_of_a_policy_goes_on_and_nobody_hangs(loop_kind: Any) -> None:
    def policy(items: list[int]) -> list[int]:
        raise SystemExit(3)

    async def main() -> None:
        handler: RecordingHandler[int, int] = RecordingHandler(delay=10.0)
        batcher = Batcher(handler, timeout=1.0, timeout_policy=policy)
        ticket = batcher.submit(1)
        try:
            await asyncio.sleep(60.0)
        finally:
            results.extend(await asyncio.gather(ticket, return_exceptions=True))

    results: list[Any] = []
    with pytest.raises(SystemExit):
        loop_kind.run(main)
    assert [type(each) for each in results] == [HandlerCancelledError]


@pytest.mark.parametrize("slots", [1, 2])
async def test_a_policy_is_asked_only_for_those_who_still_wait(slots: int) -> None:
    """The handler that is cancelled, for its item is late, waits for another late item."""

    async def handler(items: list[int]) -> list[int]:
        if items == [0]:
            await batcher.submit(1)
        await asyncio.sleep(10.0)
        return items

    def policy(items: list[int]) -> list[str]:
        asked.append(items)
        return ["late"] * len(items)

    asked: list[list[int]] = []
    batcher: Batcher[int, Any] = Batcher(
        handler, timeout=1.0, timeout_policy=policy, max_concurrent_batches=slots
    )
    assert await batcher.submit(0) == "late"
    assert asked == [[0]]
    await batcher.drain()
