"""anyio's tools cancel and gather tickets as asyncio's do."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from microbatch import Batcher
from tests.interop.trouble import Trouble

pytestmark = pytest.mark.every_loop

SOON = 0.001


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def call(batcher: Any, item: Any) -> Any:
    return await batcher.submit(item)


async def test_move_on_after_leaves_an_item_in_time_alone(batcher: Any) -> None:
    with anyio.move_on_after(60) as scope:
        assert await batcher.submit(1) == 1
    assert not scope.cancelled_caught


async def test_move_on_after_gives_the_item_up_and_moves_on(batcher: Any, handler: Any) -> None:
    handler.hold()
    ticket = batcher.submit(1)
    await turns()
    with anyio.move_on_after(SOON) as scope:
        await ticket
    assert scope.cancelled_caught
    await turns()
    assert batcher.statistics().cancelled == 1
    assert handler.calls[0].outcome == "cancelled"


async def test_fail_after_leaves_an_item_in_time_alone(batcher: Any) -> None:
    with anyio.fail_after(60):
        assert await batcher.submit(1) == 1


async def test_fail_after_gives_the_item_up_and_raises(batcher: Any, handler: Any) -> None:
    handler.hold()
    with pytest.raises(TimeoutError):
        with anyio.fail_after(SOON):
            await batcher.submit(1)
    await turns()
    assert batcher.statistics().cancelled == 1


async def test_a_cancelled_scope_gives_up_an_item_that_it_waits_for_later(batcher: Any) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await batcher.submit(1)
    assert scope.cancelled_caught
    await turns()


async def test_a_shielded_scope_waits_for_the_item(batcher: Any, handler: Any) -> None:
    handler.hold()
    got = []
    with anyio.move_on_after(SOON) as outer:
        with anyio.CancelScope(shield=True):
            ticket = batcher.submit(1)
            asyncio.get_running_loop().call_later(5 * SOON, handler.release)
            got.append(await ticket)
        await anyio.sleep(60)
    assert outer.cancelled_caught
    assert got == [1]


async def test_an_anyio_task_group_gathers_one_batch(batcher: Any, handler: Any) -> None:
    got = []

    async def one(item: int) -> None:
        got.append(await batcher.submit(item))

    async with anyio.create_task_group() as group:
        for item in range(5):
            group.start_soon(one, item)
    assert sorted(got) == list(range(5))
    assert handler.sizes == [5]


async def test_a_cancelled_anyio_task_group_gives_up_its_items(batcher: Any, handler: Any) -> None:
    handler.hold()
    async with anyio.create_task_group() as group:
        group.start_soon(call, batcher, 1)
        group.start_soon(call, batcher, 2)
        await turns()
        group.cancel_scope.cancel()
    await turns()
    assert batcher.statistics().cancelled == 2
    assert handler.calls[0].outcome == "cancelled"


async def test_a_failed_item_fails_its_anyio_task_group(batcher: Any) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            group.start_soon(call, batcher, "bad")
    assert caught.group_contains(Trouble)


async def test_a_handler_may_use_anyio(batcher: Any) -> None:
    async def handler(items: list[int]) -> list[int]:
        with anyio.move_on_after(SOON):
            await anyio.sleep(60)
        async with anyio.create_task_group() as group:
            group.start_soon(turns)
        return items

    assert await Batcher(handler).submit(1) == 1
