"""The contexts of items that threads submit."""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from microbatch import BlockingBatcher, current_batch

pytestmark = pytest.mark.usefixtures("tidy")

variable: ContextVar[str] = ContextVar("variable")


async def look(items: list[int]) -> list[Any]:
    return [context and context.get(variable) for context in current_batch().contexts]


def submit_in_every_way(batcher: BlockingBatcher[int, Any]) -> list[Any]:
    variable.set("caller's")
    one, many = batcher.submit(1), batcher.submit_many([2, 3])
    return [one.result(10), *many.result(10), *batcher.map([4])]


@pytest.mark.parametrize(("captured", "seen"), [(True, "caller's"), (False, None)])
def test_a_callers_context_is_captured_where_the_options_say_so(captured: bool, seen: Any) -> None:
    with BlockingBatcher(look, capture_context=captured) as batcher:
        assert copy_context().run(submit_in_every_way, batcher) == [seen] * 4


def test_the_handler_runs_in_a_copy_of_the_context_that_the_batcher_was_made_in() -> None:
    async def see(items: list[int]) -> list[str]:
        return [variable.get("nobody's")] * len(items)

    def use() -> str:
        variable.set("the maker's")
        with BlockingBatcher(see) as batcher:
            variable.set("the caller's")
            return batcher.submit(1).result(10)

    assert copy_context().run(use) == "the maker's"
