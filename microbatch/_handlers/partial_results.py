"""Answer the items of a call one by one: an async generator yields ``(index, result)`` pairs.

Each caller is answered at once. When nobody is left to answer, the generator is closed where it
stands, for it may never end by itself: what it must do in any case belongs in a ``finally``.
"""

import asyncio
import operator
import reprlib
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from microbatch._core import InFlightBatch
from microbatch._handlers.settling import SETTLED, Individual, Interrupted, as_it_is
from microbatch.errors import BatchError, ResultCountError

__all__ = ["answer_one_by_one", "answer_together"]

HOW_TO_STREAM = ": to yield a list of chunks, one for each item, set stream=True"


async def answer_one_by_one(
    generator: AsyncGenerator[Any, Any],
    batch: InFlightBatch[Any],
    name: str,
    wake: Callable[[], object],
    own: Individual,
) -> Any:
    """Settle each item of a batch when the generator yields its result; ``wake`` the callers.

    ``own`` makes its caller's exception of one that is yielded.

    After each result the loop has a turn, in which its caller goes on.

    What is missing at the end is a ResultCountError for those callers alone. A pair that cannot be
    is a BatchError for all that still wait, as is what the generator raises.
    """
    pairs = Pairs(name, batch.size)
    async with aclosing(generator):
        async for pair in generator:
            place, result = pairs.read(pair)
            if batch.settle(place, result, own):
                wake()
                await asyncio.sleep(0)  # for a generator may never wait
            if not batch.alive:
                break
    for place in batch.awaited:
        batch.settle(place, pairs.missing(place), as_it_is)
    return SETTLED


async def answer_together(
    generator: AsyncGenerator[Any, Any], batch: InFlightBatch[Any], name: str
) -> list[Any] | Interrupted:
    """Collect the results of all items of a batch, to be handed out later in one go.

    They are what answer_one_by_one() would settle the items with.
    """
    pairs = Pairs(name, batch.size)
    results: dict[int, Any] = {}
    try:
        async with aclosing(generator):
            async for pair in generator:
                place, result = pairs.read(pair)
                results[place] = result
                if len(results) >= batch.alive and results.keys() >= {*batch.awaited}:
                    break
    except Exception as error:
        return Interrupted(results, error)
    return [
        results[place] if place in results else pairs.missing(place) for place in range(batch.size)
    ]


def is_pair(pair: Any) -> bool:
    """Tell whether something is a tuple of an index and whatever else."""
    return (
        issubclass(type(pair), tuple)
        and len(pair) == 2  # noqa: PLR2004 (that is a pair)
        and hasattr(pair[0], "__index__")
        and not isinstance(pair[0], bool)
    )


class Pairs:
    """Read what a generator yields, and know what it has answered so far."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._answered: set[int] = set()

    def read(self, pair: Any) -> tuple[int, Any]:
        """Give a pair's place and result; BatchError for what is no pair, or for no such place."""
        if not is_pair(pair):
            raise self._wrong("must yield (index, result) pairs", pair, HOW_TO_STREAM)
        place, result = operator.index(pair[0]), pair[1]
        if not 0 <= place < self._size:
            raise self._wrong(f"must yield an index from 0 to {self._size - 1}", place)
        if place in self._answered:
            raise self._wrong("must yield each index once", place)
        self._answered.add(place)
        return place, result

    def _wrong(self, rule: str, value: object, advice: str = "") -> BatchError:
        return BatchError(f"handler {self._name!r} {rule}, got {reprlib.repr(value)}{advice}")

    def missing(self, place: int) -> ResultCountError:
        """Make the error of an item that the generator left without a result."""
        return ResultCountError(
            self._name,
            self._size,
            len(self._answered),
            f"handler {self._name!r} must yield one result for each of {self._size} items, "
            f"got none for the item at index {place}",
        )
