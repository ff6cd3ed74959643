"""Exceptions whose class refuses attributes, as a frozen dataclass does, go through a policy."""

from __future__ import annotations

import dataclasses

import pytest
from tenacity import AsyncRetrying, stop_after_attempt

from microbatch import Batcher


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    code: int


@pytest.mark.parametrize("reraise", [True, False])
async def test_a_frozen_exception_is_what_its_caller_gets_after_the_last_attempt(
    reraise: bool,
) -> None:
    async def fail(items: list[int]) -> list[int]:
        raise FrozenError(items[0])

    retry = AsyncRetrying(stop=stop_after_attempt(2), reraise=reraise)
    batcher: Batcher[int, int] = Batcher(fail, retry=retry)
    with pytest.raises(FrozenError) as caught:
        await batcher.submit(7)
    assert caught.value.code == 7
