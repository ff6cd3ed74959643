"""Lay pytest-benchmark's JSON files of several machines side by side, as ratios.

A ratio is the cost per item over that of a bare ``asyncio.Future`` round trip on the same loop in
the same run: absolute times don't travel between machines.

    python -m benchmarks.compare amd64.json arm64.json --picture ratios.svg
"""

import argparse
import json
from pathlib import Path
from typing import Any, TypeAlias

BASE = "bare future"

Row: TypeAlias = tuple[str, str]
"""Workload and loop."""


def title(report: dict[str, Any]) -> str:
    """Name a report by its machine and its Python."""
    machine = report["machine_info"]
    return f"{machine['machine']}, {machine['python_implementation']} {machine['python_version']}"


def ratios(report: dict[str, Any]) -> dict[Row, float]:
    """Give each workload's cost per item over the bare future's."""
    costs: dict[Row, float] = {}
    for benchmark in report["benchmarks"]:
        info = benchmark["extra_info"]
        if "loop" in info:
            row = (info["workload"], info["loop"])
            costs[row] = benchmark["stats"]["median"] / info["items"]
    return {
        row: cost / costs[BASE, row[1]] for row, cost in costs.items() if (BASE, row[1]) in costs
    }


def table(columns: dict[str, dict[Row, float]]) -> str:
    """Give a Markdown table, a row for each workload and a column for each file."""
    rows = sorted({row for column in columns.values() for row in column})
    lines = [
        "| workload | loop | " + " | ".join(columns) + " |",
        "| --- | --- |" + " ---: |" * len(columns),
    ]
    for row in rows:
        cells = (f"{column[row]:.2f}" if row in column else "" for column in columns.values())
        lines.append("| " + " | ".join((*row, *cells)) + " |")
    return "\n".join(lines)


def draw(columns: dict[str, dict[Row, float]], path: Path) -> None:
    """Draw the same as bars; needs matplotlib."""
    from matplotlib.figure import Figure

    rows = sorted({row for column in columns.values() for row in column}, reverse=True)
    figure = Figure(figsize=(9, 1 + 0.3 * len(rows) * len(columns)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(columns)
    for place, (name, column) in enumerate(columns.items()):
        heights = [index + place * height for index in range(len(rows))]
        axes.barh(heights, [column.get(row, 0.0) for row in rows], height, label=name)
    axes.set_yticks([index + 0.4 - height / 2 for index in range(len(rows))])
    axes.set_yticklabels([" · ".join(row) for row in rows])
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xlabel("cost per item over a bare asyncio.Future round trip")
    axes.legend()
    figure.savefig(path)


def main() -> int:
    """Read the files, print the table, and draw the picture if asked."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("reports", nargs="+", type=Path, metavar="JSON")
    parser.add_argument("--picture", type=Path, help="an .svg or .png file to draw into")
    arguments = parser.parse_args()
    reports = [json.loads(path.read_text()) for path in arguments.reports]
    columns = {
        f"{title(report)} ({path.stem})": ratios(report)
        for path, report in zip(arguments.reports, reports, strict=True)
    }
    print(table(columns))
    if arguments.picture:
        draw(columns, arguments.picture)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
