"""Traffic that changes: how soon does a policy do as well as it will?

Each change is a phase of traffic after another. Windows of handler calls after it are laid beside
the last LEVEL calls of the phase: the ratios of their throughput and of their latency, from
submission to answer, say how near the new level is. Where arrivals know nothing of each other the
throughput of a window is theirs, and a matter of chance.
"""

import math
import statistics
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from benchmarks.traffic.policies import NATURAL, Policy
from benchmarks.traffic.rows import ms, named, net
from benchmarks.traffic.sources import Closed, Network, Poisson, Traffic
from benchmarks.traffic.stage import Log, Setup, play
from conformance.report import table

WINDOWS = ((0, 25), (25, 50), (50, 100))
"""Handler calls after a change."""
LEVEL = 100
"""How many calls, the last of a phase, tell its level."""
CALLS = 300
"""Full handler calls' worth of time that a phase takes."""
SETTLED, TOLERANCE = 2, 0.03
"""In which window the throughput of a closed loop is at its level, and how nearly."""

HEAD = [
    "traffic that changes / handler", "to", "policy", "req/s level", "/ natural", "p50 level",
    *(f"{what} {first}-{last}" for what in ("req/s", "p50") for first, last in WINDOWS),
]  # fmt: skip


@dataclass(frozen=True)
class Change:
    """Phases of traffic, each with what the table calls it."""

    name: str
    phases: Sequence[tuple[str, Traffic]]
    setup: Setup


@dataclass(frozen=True)
class Level:
    """What a phase settles at, and each window's throughput and latency over that."""

    throughput: float
    p50: float
    throughputs: tuple[float, ...]
    p50s: tuple[float, ...]


@dataclass
class Changed:
    """A change, and for each policy the levels of its phases, seed by seed."""

    change: Change
    levels: dict[str, list[list[Level]]] = field(default_factory=dict)

    def all(self, policy: str, phase: int) -> list[Level]:
        """Give the levels of one phase."""
        return [levels[phase] for levels in self.levels[policy]]

    def throughput(self, policy: str, phase: int) -> float:
        """Give the median level of the throughput."""
        return statistics.median(each.throughput for each in self.all(policy, phase))

    def windows(self, policy: str, phase: int, what: str) -> list[float]:
        """Give the medians of the windows' ratios to the level."""
        found = [getattr(each, what) for each in self.all(policy, phase)]
        return [statistics.median(window) for window in zip(*found, strict=True)]


def change(setup: Setup, **phases: Traffic) -> Change:
    """Give a row, which is named by what its phases are called."""
    named_phases = [(name.strip("_").replace("_", " "), phase) for name, phase in phases.items()]
    name = " > ".join(name for name, _ in named_phases)
    return Change(f"{name} / {named(setup)}", named_phases, setup)


def changes() -> Iterator[Change]:
    """Give the rows."""
    crowd, few = Closed(64, net(1, 4)), Closed(16, net(1, 4))
    yield change(ms(20, 0.05), clients_64=crowd, clients_16=few, clients_64_=crowd)
    yield change(ms(20, 0.05, slots=2), clients_64=crowd, clients_16=few, clients_64_=crowd)
    fast, fewer = Closed(64, net(0.2, 1)), Closed(16, net(0.2, 1))
    yield change(ms(2, 0.05), clients_64=fast, clients_16=fewer, clients_64_=fast)
    one = Closed(1, net(1, 4))
    yield change(ms(20, 0.05), client_1=one, clients_64=crowd, client_1_=one)
    arrivals = Poisson.steady(1_500)
    yield change(ms(20, 0.05), poisson=arrivals, clients_64=crowd, poisson_=arrivals)
    here = Closed(64, Network())
    yield change(ms(20, 0.05), clients_64=crowd, in_process_64=here, clients_64_=crowd)
    far = Closed(64, net(10, 15))
    yield change(ms(20, 0.05), near_64=crowd, far_64=far, near_64_=crowd)


def measure(row: Change, policies: Sequence[Policy], seeds: Sequence[int]) -> Changed:
    """Play a change with every policy and seed."""
    changed = Changed(row)
    seconds = CALLS * row.setup.call(row.setup.size)
    phases = [([traffic], seconds) for _, traffic in row.phases]
    for policy in policies:
        for seed in seeds:
            spread = row.setup.call(row.setup.size)
            log = play(row.setup, policy, phases, f"{seed} {row.name}", spread)
            changed.levels.setdefault(policy.name, []).append(read(log))
    return changed


def read(log: Log) -> list[Level]:
    """Read the level of each phase, and how the windows after its beginning compare to it."""
    log.requests.sort(key=lambda each: each.answered)
    answers = [each.answered for each in log.requests]
    latencies = [each.answered - each.submitted for each in log.requests]
    departures = [call.departed for call in log.calls]
    borders = [*(bisect_left(departures, began) for began in log.began), len(departures)]

    def between(first: int, last: int) -> tuple[float, float]:
        """Give the throughput of some calls, and the p50 of what was answered meanwhile."""
        start, end = departures[first], departures[last]
        inside = latencies[bisect_left(answers, start) : bisect_left(answers, end)]
        items = sum(call.size for call in log.calls[first:last])
        return items / (end - start), statistics.median(inside)

    levels = []
    for first, beyond in pairwise(borders):
        last = beyond - 1
        throughput, p50 = between(max(first, last - LEVEL), last)
        windows = [
            between(first + a, first + b) if first + b <= last else (math.nan, math.nan)
            for a, b in WINDOWS
        ]
        levels.append(
            Level(
                throughput,
                p50,
                tuple(window[0] / throughput for window in windows),
                tuple(window[1] / p50 for window in windows),
            )
        )
    return levels


def lines(changed: Changed) -> Iterator[list[str]]:
    """Give a line for each phase after a change, and each policy."""
    for phase, (name, _) in enumerate(changed.change.phases):
        for policy in changed.levels if phase else ():
            throughput = changed.throughput(policy, phase)
            p50 = statistics.median(each.p50 for each in changed.all(policy, phase))
            windows = [
                ratio
                for what in ("throughputs", "p50s")
                for ratio in changed.windows(policy, phase, what)
            ]
            yield [
                changed.change.name,
                name,
                policy,
                f"{throughput:.0f}",
                f"{throughput / changed.throughput(NATURAL, phase):.2f}",
                f"{p50 * 1e3:.2f}",
                *(f"{ratio:.2f}" for ratio in windows),
            ]


def page(every: Sequence[Changed]) -> str:
    """Give the table of all changes, and who does not keep what is promised."""
    late = [f"- {what}" for each in every for what in unsettled(each)]
    first, last = WINDOWS[SETTLED]
    verdict = (
        f"After a change to a closed loop, calls {first} to {last} are not within {TOLERANCE:.0%} "
        f"of the level in {len(late)} places."
    )
    head = table(HEAD, [line for each in every for line in lines(each)], right=len(HEAD) - 3)
    return "\n\n".join([head, "\n".join([verdict, "", *late]).strip()])


def unsettled(changed: Changed) -> Iterator[str]:
    """Say where the throughput of a closed loop is not at its level when it should be."""
    for phase, (name, traffic) in enumerate(changed.change.phases):
        for policy in changed.levels if phase and traffic.closed else ():
            ratio = changed.windows(policy, phase, "throughputs")[SETTLED]
            if not abs(ratio - 1) <= TOLERANCE:  # nor where the phase has too few calls
                yield f"{changed.change.name}: {policy}, to {name}: {ratio:.3f} of the level"


def report(every: Sequence[Changed]) -> list[dict[str, Any]]:
    """Give all that was measured, as it can be written down."""
    return [
        {
            "row": each.change.name,
            "phases": [name for name, _ in each.change.phases],
            "policies": {
                policy: [[asdict(level) for level in levels] for levels in found]
                for policy, found in each.levels.items()
            },
        }
        for each in every
    ]
