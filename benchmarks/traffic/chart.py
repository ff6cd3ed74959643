"""Draw what ``python -m benchmarks.traffic --json`` wrote: throughput against p99; SVG.

    python -m benchmarks.traffic.chart traffic.json traffic.svg

A point is a row and a policy, as ratios to natural in the same row: right and down is better.
Points beyond the frame stand at its border. Point at one, and it tells its row.
"""

import argparse
import json
import math
import statistics
import textwrap
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from benchmarks.traffic.policies import AUTO, NATURAL
from conformance.peers import OURS

Report: TypeAlias = dict[str, Any]

SIDE, GAP, LEFT, TOP, LINE = 250, 34, 48, 70, 17
"""Width and height of a frame, between frames, and of what stands beside and above the first."""
LEAST_X, MOST_X, LEAST_Y, MOST_Y = 0.25, 2.0, 0.5, 4.0
"""Ratios that the frames show, on logarithmic scales."""
TICKS = {"x": (0.25, 0.5, 1.0, 2.0), "y": (0.5, 1.0, 2.0, 4.0)}
COLOURS = ("#d97706", "#7c3aed", "#059669", "#be185d", "#64748b")
"""Those of the policies but auto's, in turn."""

STYLE = """\
svg.mb-traffic:root { color: #1f2328; }
@media (prefers-color-scheme: dark) { svg.mb-traffic:root { color: #e6e8eb; } }
.mb-traffic text { fill: currentColor; font: 12px system-ui, sans-serif; }
.mb-traffic .head { font-weight: 600; font-size: 13px; }
.mb-traffic .end { text-anchor: end; }
.mb-traffic .middle { text-anchor: middle; }
.mb-traffic .frame { fill: none; stroke: currentColor; stroke-opacity: .4; }
.mb-traffic .one { stroke: currentColor; stroke-dasharray: 2 3; }
.mb-traffic .point { fill-opacity: .65; }"""


class Point(NamedTuple):
    """A row and a policy: the ratios of throughput and p99 to natural's."""

    policy: str
    row: str
    throughput: float
    p99: float


def draw(report: Report) -> str:
    """Give the picture: a frame for each kind of rows, a point for each row and policy."""
    frames = {name: found for name, found in kinds(report).items() if found}
    policies = list(dict.fromkeys(point.policy for found in frames.values() for point in found))
    colours = dict(zip([each for each in policies if each != AUTO], COLOURS * 9, strict=False))
    colours[AUTO] = "#3b82c4"
    notes = textwrap.wrap(note(report), 132)
    bottom = TOP + SIDE + 44
    size = f"{LEFT + len(frames) * (SIDE + GAP)} {bottom + LINE * len(notes) + 6}"
    lines = [
        f'<svg class="mb-traffic" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}"',
        ' role="img" aria-labelledby="mb-traffic-title mb-traffic-desc">',
        '<title id="mb-traffic-title">Throughput against p99 latency, policy by policy</title>',
        f'<desc id="mb-traffic-desc">{escape(described(frames))}</desc>',
        f"<style>\n{STYLE}\n</style>",
        *legend(policies, colours),
    ]
    for place, (name, points) in enumerate(frames.items()):
        lines += frame(name, points, LEFT + place * (SIDE + GAP), colours, first=not place)
    for line, words in enumerate(notes):
        lines.append(text(0, bottom + LINE * (line + 1), words))
    return "\n".join([*lines, "</svg>", ""])


def kinds(report: Report) -> dict[str, list[Point]]:
    """Give the points of each kind of rows; of the libraries only microbatch has any."""
    virtual = report.get("virtual", [])
    return {
        "closed loops": [point for row in virtual if row["closed"] for point in of_row(row)],
        "other rows": [point for row in virtual if not row["closed"] for point in of_row(row)],
        "over HTTP, from threads": [
            point for row in report.get("real", {}).get("rows", []) for point in of_real(row)
        ],
    }


def of_row(row: Report) -> Iterator[Point]:
    """Give the points of a row in virtual time."""
    natural = row["policies"][NATURAL]
    for policy, found in row["policies"].items():
        if policy != NATURAL:
            pairs = list(zip(found, natural, strict=True))
            yield Point(
                policy,
                row["row"],
                *(
                    statistics.median(a[what] / b[what] for a, b in pairs)
                    for what in ("throughput", "p99")
                ),
            )


def of_real(row: Report) -> Iterator[Point]:
    """Give the points of a real row."""
    ours = {each["policy"]: each for each in row["figures"] if each["library"] == OURS}
    for policy, found in ours.items():
        if policy != NATURAL and NATURAL in ours:
            yield Point(
                policy,
                row["row"],
                *(
                    statistics.median(
                        a / b for a, b in zip(found[what], ours[NATURAL][what], strict=True)
                    )
                    for what in ("throughput", "p99")
                ),
            )


def frame(
    name: str, points: Sequence[Point], left: int, colours: dict[str, str], *, first: bool
) -> Iterator[str]:
    """Give a frame with its points; the first one has the scale of the latency beside it."""
    yield text(left, TOP - 8, f"{name} ({len({point.row for point in points})})", "head")
    yield f'<rect class="frame" x="{left}" y="{TOP}" width="{SIDE}" height="{SIDE}"/>'
    one_x, one_y = left + along(1.0, LEAST_X, MOST_X), TOP + SIDE - along(1.0, LEAST_Y, MOST_Y)
    yield f'<path class="one" d="M{one_x:.1f} {TOP}V{TOP + SIDE}M{left} {one_y:.1f}h{SIDE}"/>'
    for tick in TICKS["x"]:
        place = left + along(tick, LEAST_X, MOST_X)
        yield text(place, TOP + SIDE + 16, f"{tick:g}", "middle")
    yield text(left + SIDE / 2, TOP + SIDE + 33, "throughput / natural", "middle")
    for tick in TICKS["y"] if first else ():
        yield text(left - 6, TOP + SIDE - along(tick, LEAST_Y, MOST_Y) + 4, f"{tick:g}", "end")
    if first:
        yield text(0, TOP - 26, "p99 / natural")
    for point in points:
        x = left + along(point.throughput, LEAST_X, MOST_X)
        y = TOP + SIDE - along(point.p99, LEAST_Y, MOST_Y)
        words = f"{point.policy}: {point.row}: req/s {point.throughput:.2f}, p99 {point.p99:.2f}"
        yield (
            f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colours[point.policy]}">'
            f"<title>{escape(words)}</title></circle>"
        )


def along(value: float, least: float, most: float) -> float:
    """Give how far along a side a ratio stands; what is beyond stands at its end."""
    part = math.log(value / least) / math.log(most / least) if value > 0 else 0.0
    return SIDE * min(max(part, 0.0), 1.0)


def legend(policies: Sequence[str], colours: dict[str, str]) -> Iterator[str]:
    """Tell which colour is which policy."""
    for place, policy in enumerate(policies):
        x = LEFT + place * 90
        yield f'<circle class="point" cx="{x}" cy="12" r="5" fill="{colours[policy]}"/>'
        yield text(x + 10, 16, policy, "head")


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Give a line of text at its baseline."""
    marked = f' class="{kind}"' if kind else ""
    return f'<text{marked} x="{x:g}" y="{y:g}">{escape(words, quote=False)}</text>'


def described(frames: dict[str, list[Point]]) -> str:
    """Tell the figures to those who don't see the picture."""
    sentences = []
    for name, points in frames.items():
        for policy in dict.fromkeys(point.policy for point in points):
            mine = [point for point in points if point.policy == policy]
            throughput = statistics.geometric_mean(point.throughput for point in mine)
            p99 = statistics.geometric_mean(point.p99 for point in mine)
            sentences.append(
                f"{name}, {policy}: throughput {throughput:.2f} and p99 {p99:.2f} of natural's."
            )
    return " ".join(sentences)


def note(report: Report) -> str:
    """Say what the points are, and where they came from."""
    left_out = "".join(f" Left out: {name}: {why}." for name, why in report["left_out"].items())
    return (
        "A point is some traffic and a policy, as ratios to natural batching with the same traffic;"
        " right and down is better, and what is beyond a frame stands at its border. "
        f"{report['setting']}. Made by python -m benchmarks.traffic.{left_out}"
    )


def main() -> int:
    """Read the figures, and write the picture."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.traffic.chart",
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
