"""Write down as Markdown what was found, and nothing else."""

from collections.abc import Iterable, Sequence

from conformance.finding import PATIENCE
from conformance.probes import PROBES
from conformance.results import Result, Setting

MARKS = {"pass": "✓", "fail": "✗", "not offered": "○"}

HEAD = """\
# Conformance

What happens when things go wrong: the same probes, put to microbatch and to other libraries that
batch single calls in one process. This page is written by a script from what one run showed;
nothing in it is edited by hand.

- Made by `{command}`
- {python}, {machine}, {date}
- Each probe runs in a process of its own, on asyncio's own event loop. A caller that has no outcome
  after {patience:g} seconds counts as a hang, and so does a process that is killed after
  {limit:g} seconds.

The expectations are those that microbatch was built for. Other libraries may have had other aims,
and a library that lacks what a probe asks for does not fail it.
"""


def report(
    results: Sequence[Result], probes: Sequence[str], setting: Setting, command: str, limit: float
) -> str:
    """Give the whole page."""
    head = HEAD.format(
        command=command,
        python=setting.python,
        machine=setting.machine,
        date=setting.date,
        patience=PATIENCE,
        limit=limit,
    )
    found = [result for result in results if not result.missing]
    parts = [head, "## The libraries", libraries(results)]
    if found:
        parts += ["## The results", LEGEND, marks(found, probes), "## What was seen"]
        parts += [seen(probe, found) for probe in probes]
    return "\n\n".join(part.strip() for part in parts) + "\n"


LEGEND = "✓ as expected, ✗ not as expected, ○ the library has nothing like it."


def libraries(results: Iterable[Result]) -> str:
    """Give the table of the libraries and their versions."""
    return table(
        ["library", "version", "remarks"],
        [
            [
                result.title,
                "-" if result.missing else result.version,
                f"left out: {result.missing}" if result.missing else result.note,
            ]
            for result in results
        ],
    )


def marks(results: Sequence[Result], probes: Iterable[str]) -> str:
    """Give the table of verdicts: a row for each probe, a column for each library."""
    header = ["probe", *(result.title for result in results)]
    rows = [
        [f"[{probe}](#{probe})", *(MARKS[result.findings[probe].verdict] for result in results)]
        for probe in probes
    ]
    return table(header, rows, centred=len(results))


def seen(name: str, results: Sequence[Result]) -> str:
    """Tell what one probe does and expects, and what it saw; libraries of one kind share a line."""
    probe = PROBES[name]
    groups: dict[tuple[str, str], list[str]] = {}
    for result in results:
        finding = result.findings[name]
        what = (MARKS[finding.verdict], plain(finding.seen))
        groups.setdefault(what, []).append(result.title)
    lines = [f"- {mark} {', '.join(who)}: {what}" for (mark, what), who in groups.items()]
    return "\n".join(
        [f"### {name}", "", probe.does, f"Expected: {lowered(probe.expects)}", "", *lines]
    )


def lowered(sentence: str) -> str:
    """Begin a sentence small, to stand after a colon."""
    return sentence[0].lower() + sentence[1:]


def plain(text: str) -> str:
    """Keep what a library printed from being read as Markdown."""
    for sign in "\\`*_<|[":
        text = text.replace(sign, f"\\{sign}")
    return text


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, centred: int = 0, right: int = 0
) -> str:
    """Give a Markdown table, with its last columns centred or set to the right."""
    rules = ["---"] * (len(header) - centred - right) + [":---:"] * centred + ["---:"] * right
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rules, *rows))
