"""Ask a batcher for some items, and see what each caller gets."""

from __future__ import annotations

import asyncio
from typing import Any

from microbatch import Batcher


def answering(answer: Any) -> Batcher[Any, Any]:
    async def handler(items: list[Any]) -> Any:
        return answer

    return Batcher(handler)


async def outcomes(batcher: Batcher[Any, Any], items: Any = (1, 2)) -> list[Any]:
    return await asyncio.gather(*map(batcher.submit, items), return_exceptions=True)
