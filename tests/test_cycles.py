"""What a caller is given or raised is freed with its last reference: it is in no cycle."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import Batcher, BlockingBatcher

if TYPE_CHECKING:
    from collections.abc import Iterator


class Trouble(Exception):
    """What the handlers here fail with."""


async def fail(items: list[int]) -> list[int]:
    raise Trouble


@pytest.fixture(autouse=True)
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("ordering", ["ordered", "unordered"])
async def test_failures_that_a_map_gives(ordering: Any) -> None:
    async def failures() -> list[weakref.ref[object]]:
        given = Batcher(fail).map([1, 2], ordering=ordering, return_exceptions=True)
        return [weakref.ref(outcome) async for outcome in given]

    assert [failure() for failure in await failures()] == [None, None]


async def test_the_failure_that_a_map_raises() -> None:
    async def failure() -> weakref.ref[object]:
        try:
            async for _ in Batcher(fail).map([1, 2]):
                pass
        except Trouble as error:
            return weakref.ref(error)
        raise AssertionError

    assert (await failure())() is None


def test_the_failure_that_a_future_raises() -> None:
    def failure() -> weakref.ref[object]:
        with BlockingBatcher(fail) as batcher:
            try:
                batcher.submit(1).result()
            except Trouble as error:
                return weakref.ref(error)
        raise AssertionError

    assert failure()() is None


def test_failures_that_a_blocking_map_gives() -> None:
    def failures() -> list[weakref.ref[object]]:
        with BlockingBatcher(fail) as batcher:
            return [weakref.ref(each) for each in batcher.map([1, 2], return_exceptions=True)]

    assert [failure() for failure in failures()] == [None, None]


def test_the_failure_that_a_blocking_map_raises() -> None:
    def failure() -> weakref.ref[object]:
        with BlockingBatcher(fail) as batcher:
            try:
                list(batcher.map([1, 2]))
            except Trouble as error:
                return weakref.ref(error)
        raise AssertionError

    assert failure()() is None
