"""What callers and their siblings see when the function that a user gave for an item raises."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import Batcher
from microbatch.testing import RecordingHandler

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.every_loop,
    pytest.mark.parametrize("name", ["key", "weigh", "dedupe", "priority"]),
]


class Trouble(Exception):
    """What the function raises."""


def batcher_with(name: str, fail: Callable[[str], bool]) -> Batcher[str, str]:
    def function(item: str) -> Any:
        if fail(item):
            raise Trouble(item)
        return item if name == "dedupe" else 1

    options: dict[str, Any] = {name: function}
    if name == "weigh":
        options["max_batch_weight"] = 10
    return Batcher(RecordingHandler(), **options)


async def test_that_submit_raises(name: str) -> None:
    batcher = batcher_with(name, lambda item: item == "bad")
    for submit in (batcher.submit, batcher.submit_nowait):
        with pytest.raises(Trouble, match=r"^bad$"):
            submit("bad")
    with pytest.raises(Trouble, match=r"^bad$"):
        batcher.submit_many(["good", "bad"])
    now = batcher.statistics()
    assert (now.submitted, now.rejected, now.queued) == (0, 0, 0)


async def test_the_siblings_are_unaffected_and_the_batcher_lives_on(name: str) -> None:
    batcher = batcher_with(name, lambda item: item == "bad")
    sibling = batcher.submit("before")
    with pytest.raises(Trouble):
        batcher.submit("bad")
    assert await asyncio.gather(sibling, batcher.submit("after")) == ["before", "after"]
    assert await batcher.submit("later") == "later"


async def test_map_raises_it_in_its_turn(name: str) -> None:
    batcher = batcher_with(name, lambda item: item == "bad")
    mapped = batcher.map(["a", "b", "bad", "c"])
    assert [await anext(mapped), await anext(mapped)] == ["a", "b"]
    with pytest.raises(Trouble):
        await anext(mapped)
