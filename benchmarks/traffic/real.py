"""Real rows: clients over HTTP and from threads, for microbatch and its peers, policy by policy."""

import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.traffic import from_threads, over_http
from benchmarks.traffic.figures import Figures, ratios
from benchmarks.traffic.handling import FIXED, PER_ITEM, Work
from benchmarks.traffic.policies import AUTO, NATURAL, Policy
from conformance.environments import InstallationError, pip, prepare
from conformance.peers import OURS, adapter_of, module_of
from conformance.report import plain, table
from conformance.results import imported, say

PEERS = (OURS, "async_batcher", "ray_serve")
BESIDE = ("fastapi", "uvicorn[standard]")
"""What a peer's environment needs to serve."""
HANDLER = f"{FIXED * 1e3:g}+{PER_ITEM * 1e3:g}n"

HEAD = [
    "traffic / handler", "library", "policy", "req/s", "p50 ms", "p99", "batch",
    "req/s ratio", "p50 ratio", "p99 ratio",
]  # fmt: skip
SHOWN = (("throughput", 1, 0), ("p50", 1e3, 1), ("p99", 1e3, 1), ("batch", 1, 1))
"""Figures, what they are multiplied by, and digits that are shown; ratios of the first three."""


@dataclass(frozen=True)
class RealRow:
    """So many clients, and how they are measured."""

    name: str
    measure: Callable[[str, str, Work], dict[str, float]]
    clients: int
    size: int


HTTP = [
    RealRow(f"http 64 / {HANDLER} 64x1", over_http.measure, 64, 64),
    RealRow(f"http 64 / {HANDLER} 128x1", over_http.measure, 64, 128),
]
THREADS = [RealRow(f"threads 32 / {HANDLER} 64x1", from_threads.measure, 32, 64)]


@dataclass
class Library:
    """A library, and the Python that has it."""

    name: str
    title: str
    python: str = ""
    version: str = ""
    missing: str = ""


@dataclass
class Compared:
    """A row, and the figures of each library and policy, repetition by repetition."""

    row: RealRow
    figures: dict[tuple[str, str], list[Figures]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def all(self, library: str, policy: str, what: str) -> list[float]:
        """Give a figure of each repetition."""
        return [getattr(each, what) for each in self.figures[library, policy]]


def prepared(name: str) -> Library:
    """Find the Python that has a library: this one, or that of an environment of its own."""
    library = Library(name, adapter_of(name).title, sys.executable)
    try:
        if name != OURS:
            say(f"{library.title}: installing")
            library.python = prepare(name, fresh=False)
            pip(Path(library.python), *BESIDE)
        library.version = imported(library.python, module_of(name))
    except InstallationError as reason:
        library.missing = str(reason)
        say(f"{library.title}: left out: {reason}")
    return library


def compare(
    rows: Sequence[RealRow],
    libraries: Sequence[Library],
    policies: Sequence[Policy],
    repetitions: int,
    seconds: float,
) -> list[Compared]:
    """Measure every row, library and policy in turn, again and again."""
    every = [Compared(row) for row in rows]
    for lap in range(repetitions):
        for compared in every:
            say(f"{compared.row.name}: repetition {lap + 1} of {repetitions}")
            for library in libraries:
                for policy in policies:
                    if not library.missing and (library.name == OURS or policy.name != AUTO):
                        once(compared, library, policy, seconds)
    return every


def once(compared: Compared, library: Library, policy: Policy, seconds: float) -> None:
    """Measure one library and policy; what fails is told, and measured no more."""
    row, what = compared.row, f"{library.title}, {policy.name}"
    if what in compared.failures:
        return
    try:
        work = Work(row.size, policy.max_latency, row.clients, seconds)
        found = row.measure(library.python, module_of(library.name), work)
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as reason:
        compared.failures[what] = str(reason)
        say(f"{row.name}: {what}: {reason}")
        compared.figures.pop((library.title, policy.name), None)
        return
    compared.figures.setdefault((library.title, policy.name), []).append(Figures(**found))


def lines(compared: Compared) -> Iterator[list[str]]:
    """Give a line for each library and policy; ratios are to the same library's natural."""
    for library, policy in compared.figures:
        cells = [compared.row.name, library, policy]
        for what, scale, digits in SHOWN:
            found = statistics.median(compared.all(library, policy, what)) * scale
            cells.append(f"{found:.{digits}f}")
        cells += [f"{ratio(compared, library, policy, what):.2f}" for what, *_ in SHOWN[:3]]
        yield cells


def ratio(compared: Compared, library: str, policy: str, what: str) -> float:
    """Give the median ratio to the same library's natural."""
    if (library, NATURAL) not in compared.figures:
        return float("nan")
    return ratios(compared.all(library, policy, what), compared.all(library, NATURAL, what))


def page(every: Sequence[Compared], libraries: Sequence[Library]) -> str:
    """Give the table of all real rows, and what is missing in it."""
    parts = [table(HEAD, [line for each in every for line in lines(each)], right=7)]
    parts.append(
        f"Services run on {' and '.join(over_http.UVICORN)}. "
        + ", ".join(f"{each.title} {each.version}" for each in libraries if each.version)
    )
    missing = [
        f"{each.title} is left out: {plain(each.missing)}" for each in libraries if each.missing
    ]
    missing += [
        f"{each.row.name}: {what}: {plain(reason)}"
        for each in every
        for what, reason in each.failures.items()
    ]
    return "\n\n".join(parts + missing)


def report(every: Sequence[Compared], libraries: Sequence[Library]) -> dict[str, Any]:
    """Give all that was measured, as it can be written down."""
    return {
        "services": over_http.UVICORN,
        "libraries": {each.title: each.version or each.missing for each in libraries},
        "rows": [
            {
                "row": each.row.name,
                "figures": [
                    {
                        "library": library,
                        "policy": policy,
                        **{what: each.all(library, policy, what) for what, *_ in SHOWN},
                    }
                    for library, policy in each.figures
                ],
                "failures": each.failures,
            }
            for each in every
        ],
    }
