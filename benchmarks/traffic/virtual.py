"""Rows in virtual time: measure each with every policy, and say where one falls short."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.traffic.figures import Figures, ratios, read
from benchmarks.traffic.policies import AUTO, NATURAL, Policy
from benchmarks.traffic.rows import Row
from benchmarks.traffic.stage import play
from conformance.report import table

WARM_UP = 80
"""Handler calls' worth of time that doesn't count: what can learn has learned by then."""
LEAST_SECONDS = 0.4
"""However fast a handler is, fixed policies of some ms need their time."""

HEAD = [
    "traffic / handler", "policy", "req/s", "p50 ms", "p99", "submit p50", "submit p99", "batch",
    "stragglers", "req/s ratio", "p50 ratio", "p99 ratio",
]  # fmt: skip

LEAST_THROUGHPUT, MOST_P50, MOST_P99 = 0.98, 1.05, 1.08
"""Bounds on the ratios to natural of a policy that should be nobody's loss."""
LEAST_OF_BEST = 0.95
"""Bound, in closed loops, on its ratio to the throughput of the best fixed policy."""
MOST_STRAGGLERS = 0.001
"""How much larger than natural's its part of stragglers may be."""


@dataclass
class Measured:
    """A row, and the figures of each policy, seed by seed."""

    row: Row
    figures: dict[str, list[Figures]] = field(default_factory=dict)

    def median(self, policy: str, what: str) -> float:
        """Give the median of a figure over the seeds."""
        return statistics.median(self.all(policy, what))

    def ratio(self, policy: str, what: str) -> float:
        """Give the median of its ratios to natural's, seed by seed."""
        return ratios(self.all(policy, what), self.all(NATURAL, what))

    def all(self, policy: str, what: str) -> list[float]:
        """Give a figure of each seed."""
        return [getattr(each, what) for each in self.figures[policy]]


def measure(row: Row, policies: Sequence[Policy], seeds: Sequence[int], calls: int) -> Measured:
    """Play a row with every policy and seed, for so many handler calls' worth of time."""
    measured = Measured(row)
    warm_up = row.seconds(WARM_UP, WARM_UP)
    seconds = warm_up + max(row.seconds(calls, 20 * calls), LEAST_SECONDS)
    for policy in policies:
        for seed in seeds:
            phases = [(row.sources, seconds)]
            log = play(row.setup, policy, phases, f"{seed} {row.name}", row.call)
            figures = read(log, warm_up, row.setup.size)
            measured.figures.setdefault(policy.name, []).append(figures)
    return measured


def lines(measured: Measured) -> Iterator[list[str]]:
    """Give a line for each policy."""
    for policy in measured.figures:
        times = [
            f"{measured.median(policy, what) * 1e3:.2f}"
            for what in ("p50", "p99", "submit_p50", "submit_p99")
        ]
        yield [
            measured.row.name,
            policy,
            f"{measured.median(policy, 'throughput'):.0f}",
            *times,
            f"{measured.median(policy, 'batch'):.1f}",
            f"{measured.median(policy, 'stragglers'):.2%}",
            *(f"{measured.ratio(policy, what):.2f}" for what in ("throughput", "p50", "p99")),
        ]


def page(every: Sequence[Measured]) -> str:
    """Give the table of all rows, what each policy comes to, and where auto falls short."""
    parts = [table(HEAD, [line for each in every for line in lines(each)], right=10)]
    for what, kind in (("closed loops", True), ("other rows", False)):
        if some := [each for each in every if each.row.closed is kind]:
            parts += [f"Over {len(some)} {what}, the geometric mean and the worst:", summary(some)]
    if AUTO in every[0].figures:
        short = [f"- {each.row.name}: {what}" for each in every for what in shortfalls(each)]
        parts.append("\n".join([f"{AUTO} falls short in {len(short)} places.", "", *short]).strip())
    return "\n\n".join(parts)


def summary(every: Sequence[Measured]) -> str:
    """Give, for each policy, the mean and the worst of its ratios to natural."""
    rows = []
    for policy in every[0].figures:
        cells = [policy]
        for what, worst in (("throughput", min), ("p50", max), ("p99", max)):
            found = [each.ratio(policy, what) for each in every]
            cells += [f"{statistics.geometric_mean(found):.2f}", f"{worst(found):.2f}"]
        rows.append(cells)
    head = ["policy / natural", "req/s", "worst", "p50", "worst", "p99", "worst"]
    return table(head, rows, right=6)


def shortfalls(measured: Measured) -> Iterator[str]:
    """Say what of the bounds auto does not keep in a row."""
    throughput = measured.ratio(AUTO, "throughput")
    if throughput < LEAST_THROUGHPUT:
        yield f"throughput {throughput:.3f} of natural's, under {LEAST_THROUGHPUT}"
    for what, most in (("p50", MOST_P50), ("p99", MOST_P99)):
        found = measured.ratio(AUTO, what)
        if found > most:
            yield f"{what} {found:.3f} of natural's, over {most}"
    if measured.row.closed:
        best = max(measured.ratio(policy, "throughput") for policy in measured.figures)
        if throughput < LEAST_OF_BEST * best:
            yield f"throughput {throughput / best:.3f} of the best policy's, under {LEAST_OF_BEST}"
    more = measured.median(AUTO, "stragglers") - measured.median(NATURAL, "stragglers")
    if more > MOST_STRAGGLERS:
        yield f"stragglers {more:.2%} more than natural's, over {MOST_STRAGGLERS:.2%}"


def report(every: Sequence[Measured]) -> list[dict[str, Any]]:
    """Give all that was measured, as it can be written down."""
    return [
        {
            "row": each.row.name,
            "closed": each.row.closed,
            "policies": {
                policy: [asdict(figures) for figures in found]
                for policy, found in each.figures.items()
            },
        }
        for each in every
    ]
