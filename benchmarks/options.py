"""Print what each option adds to the cost of an item, as a Markdown table.

Each row is the same work with the option and without it, one after the other, round by round, and
the median of the ratios: 1.00 is an option that costs nothing. Batches are of the same size in
both, so that it is the option that is measured, and not a batch that is less full.
"""

import argparse
import asyncio
import gc
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from tenacity import AsyncRetrying, stop_after_attempt

from benchmarks.bare import BATCH, CALLERS, clocked, echo
from benchmarks.floor import loops, setting
from microbatch import Batcher, BlockingBatcher

ITEMS = 100 * CALLERS
MANY_KEYS = 1000


class Row(NamedTuple):
    """An option to measure: what it is called, and how items are submitted with it."""

    title: str
    options: dict[str, Any]
    callers: int = CALLERS
    handler: Callable[[list[int]], Any] = echo
    own: Callable[[int], dict[str, Any]] | None = None


async def pairs(items: list[int]) -> AsyncIterator[tuple[int, int]]:
    """Answer each item with itself, one by one."""
    for place, item in enumerate(items):
        yield place, item


async def columns(items: list[int]) -> dict[str, list[int]]:
    """Answer items with themselves, in two columns."""
    return {"first": items, "second": items}


async def chunks(items: list[int]) -> AsyncIterator[list[int]]:
    """Stream one chunk for each item."""
    yield items


def ignore(event: object) -> None:
    """Observe a batch, and do nothing about it."""


ROWS = [
    Row("`timeout=30`", {"timeout": 30}),
    Row("`max_batch_weight`, `weigh`", {"max_batch_weight": BATCH, "weigh": lambda _: 1}),
    Row("`submit(x, weight=1)`", {"max_batch_weight": BATCH}, own=lambda _: {"weight": 1}),
    Row("`key`, 16 live keys", {"key": lambda item: item % 16}),
    Row("`key`, 1,000 live keys", {"key": lambda item: item % MANY_KEYS}, MANY_KEYS * BATCH),
    Row("`priority`, 4 levels", {"priority": lambda item: item % 4}),
    Row("`dedupe`, all different", {"dedupe": lambda item: item}),
    Row("`dedupe`, two of each", {"dedupe": lambda item: item // 2}),
    Row('`ordering="ordered"`', {"ordering": "ordered"}),
    Row("`retry`, nothing fails", {"retry": AsyncRetrying(stop=stop_after_attempt(3))}),
    Row('`on_error="bisect"`, nothing fails', {"on_error": "bisect"}),
    Row("`observer`", {"observer": ignore}),
    Row("`capture_context`", {"capture_context": True}),
    Row("`columnar=True`, two columns", {"columnar": True}, handler=columns),
    Row("a handler that yields `(index, result)`", {}, handler=pairs),
    Row("`stream=True`, one chunk an item, as `submit`", {"stream": True}, handler=chunks),
]


async def submitting(row: Row, *, plain: bool) -> float:
    """Submit from concurrent callers, one item at a time each; give seconds per item."""
    options = {} if plain else row.options
    handler = echo if plain else row.handler
    batcher = Batcher(handler, max_batch_size=BATCH, capacity=None, **options)
    submit: Callable[..., Awaitable[object]] = batcher.submit
    own = None if plain else row.own
    laps = max(ITEMS // row.callers, 4)

    async def caller(number: int) -> None:
        for _ in range(laps):
            await submit(number)

    async def caller_with_own(number: int) -> None:
        for _ in range(laps):
            await submit(number, **own(number))

    call = caller if own is None else caller_with_own
    everybody = asyncio.gather(*(call(number) for number in range(row.callers)))
    return await clocked(everybody, row.callers * laps)


def once(work: Callable[[], Any], new_loop: Callable[[], asyncio.AbstractEventLoop]) -> float:
    """Do a piece of work on a fresh loop, with nothing left to collect from the one before."""
    gc.collect()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        seconds: float = runner.run(work())
    return seconds


def measure(row: Row, repeat: int, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> float:
    """Give the median of the ratios with the option to without it."""
    ratios = []
    for lap in range(repeat + 1):
        first, second = (
            once(lambda plain=plain: submitting(row, plain=plain), new_loop)
            for plain in (lap % 2 == 0, lap % 2 == 1)
        )
        if lap:  # the first one doesn't count
            ratios.append(first / second if lap % 2 else second / first)
    return statistics.median(ratios)


def from_threads(repeat: int, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> float:
    """Give the cost of an item submitted from another thread, over one from the loop."""
    plain = Row("", {})
    ratios = []
    for lap in range(repeat + 1):
        below = once(lambda: submitting(plain, plain=True), new_loop)
        gc.collect()
        above = asyncio.run(clocked(asyncio.to_thread(submit_from_here, new_loop), ITEMS))
        if lap:
            ratios.append(above / below)
    return statistics.median(ratios)


def submit_from_here(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Submit from this thread to a loop in another, a batcher's read-ahead at a time."""
    with BlockingBatcher(echo, max_batch_size=BATCH, loop_factory=new_loop) as batcher:
        for _ in range(ITEMS // CALLERS):
            for future in [batcher.submit(number) for number in range(CALLERS)]:
                future.result()


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.options",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repeat", type=int, default=7, help="rounds that count (default 7)")
    repeat = parser.parse_args().repeat
    kinds = loops()
    print(setting(), end="\n\n")
    print(f"| with / without | {' | '.join(kinds)} |")
    print(f"| --- |{' ---: |' * len(kinds)}")
    for row in ROWS:
        cells = [f"{measure(row, repeat, new_loop):.2f}" for new_loop in kinds.values()]
        print(f"| {row.title} | {' | '.join(cells)} |", flush=True)
    cells = [f"{from_threads(repeat, new_loop):.1f}" for new_loop in kinds.values()]
    print(f"| `BlockingBatcher`, from another thread | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
