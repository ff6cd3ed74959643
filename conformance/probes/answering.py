"""Answers that carry labels beside their places."""

import asyncio
from typing import Any

from conformance.adapter import Adapter
from conformance.finding import Finding, all_answered, all_failed, answer, judge, outcomes, tell
from conformance.probes.probe import probe
from conformance.stage import WAIT, call

ROW, COLUMN, NAME = "its row", "a column", "a column's name"


@probe(
    "The handler answers a pandas Series for three items, whose labels are not its places: "
    "`Series([10, 20, 30], index=[2, 1, 0])`.",
    "Each caller gets what stands at its item's place, or every caller gets an error.",
)
async def labelled_results(library: type[Adapter]) -> Finding:
    from pandas import Series

    async def handler(items: list[int]) -> Any:
        return Series([answer(item) for item in items], index=[*range(len(items))][::-1])

    seen = await outcomes(call(library(handler, size=3, wait=WAIT), 1, 2, 3))
    return judge(all_answered(seen) or all_failed(seen), tell(seen))


@probe(
    "The handler answers a pandas DataFrame of three rows and three columns for three items.",
    "Each caller gets its item's row, or every caller gets an error: nobody gets a column.",
)
async def square_table(library: type[Adapter]) -> Finding:
    from pandas import DataFrame

    async def handler(items: list[int]) -> Any:
        places = range(len(items))
        return DataFrame([[cell(item, place) for place in places] for item in items])

    callers = call(library(handler, size=3, wait=WAIT), 1, 2, 3)
    raised = await outcomes({item: asyncio.create_task(told(callers[item])) for item in callers})
    seen = [
        part_of_table(item, caller.result()) if outcome == "wrong answer" else outcome
        for outcome, (item, caller) in zip(raised, callers.items(), strict=True)
    ]
    return judge(set(seen) == {ROW} or all_failed(raised), tell(seen))


def cell(item: int, place: int) -> str:
    """Give what stands in the row of an item."""
    return f"{answer(item)}, part {place}"


async def told(caller: "asyncio.Task[Any]") -> str:
    """Wait for a caller; raise what it raises, and give no table."""
    await caller
    return "something"


def part_of_table(item: int, got: Any) -> str:
    """Say which part of the square table a caller got."""
    if not hasattr(got, "__iter__"):
        return NAME
    cells = [*(got.values() if isinstance(got, dict) else got)]
    if cells == [cell(item, place) for place in range(3)]:
        return ROW
    return COLUMN if len(cells) == 3 else type(got).__name__
