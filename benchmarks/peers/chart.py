"""Draw the figures that ``python -m benchmarks.peers --json`` wrote; SVG, with text as text.

    python -m benchmarks.peers.chart docs/images/peers.json docs/images/peers.svg

The picture takes the colour of its text from where it stands, so it is legible in light and dark.
"""

import argparse
import json
import statistics
import textwrap
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, TypeAlias

from conformance.peers import OURS

Report: TypeAlias = dict[str, Any]

NAMES, COLUMN, BAR, ROW, LINE = 216, 168, 118, 24, 17
"""Widths of the names, of a column and of its longest bar; heights of a row and a line of text."""

STYLE = """\
svg.mb-peers:root { color: #1f2328; }
@media (prefers-color-scheme: dark) { svg.mb-peers:root { color: #e6e8eb; } }
.mb-peers text { fill: currentColor; font: 13px system-ui, sans-serif; }
.mb-peers .head { font-weight: 600; }
.mb-peers .note { font-size: 12px; }
.mb-peers .bar { fill: currentColor; fill-opacity: .35; }
.mb-peers .ours { fill: #3b82c4; }
.mb-peers .one { stroke: currentColor; stroke-dasharray: 2 3; }"""


def draw(report: Report) -> str:
    """Give the picture: a row for each library, a column of bars for each workload."""
    rows = [peer for peer in report["peers"] if peer["ratios"]]
    workloads = list(rows[0]["ratios"])
    rows.sort(key=lambda peer: ratio(peer, workloads[0]))
    longest = max(ratio(peer, workload) for peer in rows for workload in workloads)
    heads = [textwrap.wrap(workload, 21) for workload in workloads]
    top = LINE * max(map(len, heads)) + 14
    bottom = top + ROW * len(rows)
    notes = textwrap.wrap(note(report), 118)
    width, height = NAMES + COLUMN * len(workloads), bottom + 12 + LINE * len(notes)
    lines = [
        f'<svg class="mb-peers" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        ' role="img" aria-labelledby="mb-peers-title mb-peers-desc">',
        '<title id="mb-peers-title">What an item costs, here and in other libraries</title>',
        f'<desc id="mb-peers-desc">{escape(described(rows, workloads))}</desc>',
        f"<style>\n{STYLE}\n</style>",
    ]
    for place, peer in enumerate(rows):
        name = f"{peer['title']} {peer['version']}"
        lines.append(text(0, top + ROW * place + LINE, name, "head" * is_ours(peer)))
    for place, (workload, head) in enumerate(zip(workloads, heads, strict=True)):
        left = NAMES + COLUMN * place
        lines += [text(left, LINE * (line + 1), words, "head") for line, words in enumerate(head)]
        lines += bars(rows, workload, left, top, BAR / longest)
        one = left + BAR / longest
        lines.append(f'<path class="one" d="M{one:.1f} {top}V{bottom}"/>')
    for line, words in enumerate(notes):
        lines.append(text(0, bottom + 6 + LINE * (line + 1), words, "note"))
    return "\n".join([*lines, "</svg>", ""])


def bars(
    rows: Sequence[dict[str, Any]], workload: str, left: int, top: int, scale: float
) -> Iterator[str]:
    """Give a column's bars, with their figures."""
    for place, peer in enumerate(rows):
        value, y = ratio(peer, workload), top + ROW * place
        kind = "ours" if is_ours(peer) else "bar"
        long, after = value * scale, round(left + max(value, 1.0) * scale) + 5
        yield f'<rect class="{kind}" x="{left}" y="{y + 4}" width="{long:.1f}" height="{ROW - 8}"/>'
        yield text(after, y + LINE, f"{value:.2f}", "head" * is_ours(peer))


def text(x: int, y: int, words: str, kind: str = "") -> str:
    """Give a line of text, whose baseline begins there."""
    marked = f' class="{kind}"' if kind else ""
    return f'<text{marked} x="{x}" y="{y}">{escape(words, quote=False)}</text>'


def ratio(peer: dict[str, Any], workload: str) -> float:
    """Give the median ratio to bare futures."""
    return statistics.median(peer["ratios"][workload])


def is_ours(peer: dict[str, Any]) -> bool:
    """Tell microbatch from the others."""
    return bool(peer["title"] == OURS)


def described(rows: Sequence[dict[str, Any]], workloads: Sequence[str]) -> str:
    """Tell the figures to those who don't see the picture."""
    return " ".join(
        f"{workload}: "
        + ", ".join(f"{peer['title']} {ratio(peer, workload):.2f}" for peer in rows)
        + "."
        for workload in workloads
    )


def note(report: Report) -> str:
    """Say what the figures are, and where they came from."""
    missing = [peer["title"] for peer in report["peers"] if not peer["ratios"]]
    return (
        "Cost per item over that of a bare asyncio.Future round trip in the same process (the "
        f"dotted line); shorter is cheaper. Median of {report['repetitions']}, batches of at most "
        f"64, asyncio's own loop. {report['python']}, {report['machine']}, {report['date']}. "
        "Made by python -m benchmarks.peers." + " ".join(f" Left out: {each}." for each in missing)
    )


def main() -> int:
    """Read the figures, and write the picture."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers.chart",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("figures", type=Path, metavar="JSON", help="what --json wrote")
    parser.add_argument("picture", type=Path, metavar="SVG", help="the file to draw into")
    given = parser.parse_args()
    given.picture.write_text(draw(json.loads(given.figures.read_text())), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
