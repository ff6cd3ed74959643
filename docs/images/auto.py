"""Draw what is learned: ``python docs/images/auto.py`` writes ``auto.svg`` beside this file.

The curves are the library's own, of traffic as in ``examples/closed_loops.py`` and in virtual time,
so they are the same everywhere. The picture takes the colour of its text from where it stands, so
it is legible in light and dark.
"""

import asyncio
import itertools
import random
import runpy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from unittest.mock import patch

from microbatch import Batcher
from microbatch._dispatch import company
from microbatch._dispatch.learning import LearnedWait, Round
from microbatch.testing import run

EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "closed_loops.py"))
callers, strangers, predict = (EXAMPLE[name] for name in ("callers", "strangers", "predict"))
SETTLED = 1.0
"""Seconds after which answers are counted."""

STYLE = """\
svg.mb-auto:root { color: #1f2328; }
@media (prefers-color-scheme: dark) { svg.mb-auto:root { color: #e6e8eb; } }
.mb-auto text { fill: currentColor; font: 12px system-ui, sans-serif; }
.mb-auto .name { font: 600 13px system-ui, sans-serif; }
.mb-auto .end { text-anchor: end; }
.mb-auto .middle { text-anchor: middle; }
.mb-auto .frame { fill: none; stroke: currentColor; stroke-opacity: .4; }
.mb-auto .back { fill: none; stroke: #3b82c4; stroke-width: 2.5; }
.mb-auto .cost { fill: none; stroke: #d97706; stroke-width: 2; stroke-dasharray: 5 3; }
.mb-auto .wait { stroke: currentColor; stroke-width: 1.5; stroke-dasharray: 2 3; }
.mb-auto .back-name { fill: #3b82c4; font-weight: 600; }
.mb-auto .cost-name { fill: #d97706; font-weight: 600; }"""

WIDTH, LEFT, TOP, SIDE, HEIGHT, GAP = 720, 36, 66, 202, 150, 32
LONGEST, MOST = 0.020, 1.25
"""Seconds and shares that a frame shows."""


@dataclass(frozen=True)
class Learned:
    """What was learned of some traffic, and what it brought."""

    title: str
    wait: float
    shares: list[tuple[float, float]]
    """The share of those answered who are back within so many seconds."""
    costs: list[tuple[float, float]]
    """Handler time of a round if so many seconds are waited, over that of going at once."""
    answers: float
    """Answers a second, over those of ``max_latency=0``."""


async def both(ask: Any, chance: random.Random) -> None:
    """Let clients ask, and strangers beside them."""
    network = EXAMPLE["OVER_HTTP"]
    await asyncio.gather(callers(32, network)(ask, chance), strangers(500.0)(ask, chance))


async def answers(traffic: Callable[..., Any], max_latency: Any) -> int:
    """Count the answers to some traffic."""
    clock, counted = asyncio.get_running_loop().time, 0
    async with Batcher[int, int](predict, max_latency=max_latency) as batcher:

        async def ask() -> None:
            nonlocal counted
            await batcher.submit(1)
            counted += clock() >= SETTLED

        await traffic(ask, random.Random(1))
    return counted


def learn(title: str, traffic: Callable[..., Any]) -> Learned:
    """Play some traffic, and look at what the batcher has learned in the end."""
    learning: list[LearnedWait] = []

    class Watched(LearnedWait):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            learning.append(self)

    natural = run(answers, traffic, 0.0, debug=False)
    with patch.object(company, "LearnedWait", Watched):
        auto = run(answers, traffic, "auto", debug=False)
    (learned,) = learning
    seen, back = learned._seen, list(itertools.accumulate(learned._seen.back))
    round_ = Round(learned._slots, learned._size, learned._handler, seen, learned._at_once)
    at_once = round_.of_back(back[0])
    times = [learned._width * number for number in range(len(back))]
    return Learned(
        title,
        learned.wait,
        [(time, came / seen.answered) for time, came in zip(times, back, strict=True)],
        [
            (time, round_.of_back(came, time) / at_once)
            for time, came in zip(times, back, strict=True)
        ],
        auto / natural,
    )


def draw() -> str:
    """Give the picture."""
    found = [
        learn("64 clients over HTTP", callers(64, EXAMPLE["OVER_HTTP"])),
        learn("32 such, and 500 strangers/s", both),
        learn("1,500 strangers/s", strangers(1500.0)),
    ]
    told = " ".join(f"{each.title}: {outcome(each)}." for each in found)
    lines = [
        f'<svg class="mb-auto" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 272"',
        ' role="img" aria-labelledby="mb-auto-title mb-auto-desc">',
        '<title id="mb-auto-title">What max_latency="auto" learns</title>',
        f'<desc id="mb-auto-desc">{escape(told, quote=False)}</desc>',
        f"<style>\n{STYLE}\n</style>",
        text(0, 14, "share of those answered who are back", "back-name"),
        text(300, 14, "handler time of a round, if a free slot waits so long", "cost-name"),
    ]
    for place, each in enumerate(found):
        lines += panel(each, LEFT + place * (SIDE + GAP), first=not place)
    return "\n".join([*lines, "</svg>", ""])


def panel(each: Learned, left: float, *, first: bool) -> Iterator[str]:
    """Draw one frame with its curves."""
    yield text(left, TOP - 24, each.title, "name")
    yield text(left, TOP - 8, outcome(each))
    yield f'<rect class="frame" x="{left}" y="{TOP}" width="{SIDE}" height="{HEIGHT}"/>'
    yield f'<path class="cost" d="{line(each.costs, left)}"/>'
    yield f'<path class="back" d="{line(each.shares, left)}"/>'
    if each.wait:
        yield f'<path class="wait" d="M{across(each.wait, left):.1f} {TOP}v{HEIGHT}"/>'
    for share in (0.0, 0.5, 1.0) if first else ():
        yield text(left - 6, up(share) + 4, f"{share:g}", "end")
    for milliseconds in (0, 5, 10, 15, 20):
        where = across(milliseconds / 1000, left)
        yield text(where, TOP + HEIGHT + 16, f"{milliseconds}", "middle")
    yield text(left + SIDE / 2, TOP + HEIGHT + 34, "ms after a slot became free", "middle")


def outcome(each: Learned) -> str:
    """Say what came of it."""
    if not each.wait:
        return "waits for nobody"
    return f"waits {1000 * each.wait:.1f} ms: {each.answers:.2f} times the answers"


def line(points: list[tuple[float, float]], left: float) -> str:
    """Give a path through the points that a frame shows."""
    shown = [(time, share) for time, share in points if time <= LONGEST and share <= MOST]
    return "M" + "L".join(f"{across(time, left):.1f} {up(share):.1f}" for time, share in shown)


def across(time: float, left: float) -> float:
    """Give where a time stands."""
    return left + SIDE * time / LONGEST


def up(share: float) -> float:
    """Give where a share stands."""
    return TOP + HEIGHT * (1 - share / MOST)


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Give a line of text at its baseline."""
    marked = f' class="{kind}"' if kind else ""
    return f'<text{marked} x="{x:g}" y="{y:g}">{escape(words, quote=False)}</text>'


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(draw(), encoding="utf-8")
