"""Compare what microbatch and its peers cost per item; print a Markdown table of each workload.

    python -m benchmarks.peers --json docs/images/peers.json --svg docs/images/peers.svg

makes the chart of the documentation's home anew.

Each library runs in its own environment under .conformance/, which is made on first use. Each
repetition of each is a process of its own, and the libraries take turns. The ratio is the cost per
item over that of a bare asyncio.Future round trip in the same process: absolute times don't travel
between machines. All run on asyncio's own loop, with batches of at most 64 items, a handler that
gives its items back; benchmarks/peers/measure.py says the rest.
"""

import argparse
import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peers import chart, measure
from conformance import arguments as read
from conformance.child import command
from conformance.environments import InstallationError, prepare
from conformance.execution import execute
from conformance.peers import NAMES, OURS, adapter_of, module_of
from conformance.report import plain, table
from conformance.results import Setting, imported, say

PROG = "python -m benchmarks.peers"
LIMIT = 300.0
"""Seconds after which a repetition is killed."""


@dataclass
class Peer:
    """A library, and what was measured: ratios and seconds for each workload."""

    name: str
    title: str
    python: str = ""
    version: str = ""
    missing: str = ""
    ratios: dict[str, list[float]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def ratio(self, workload: str) -> float:
        """Give the median ratio."""
        return statistics.median(self.ratios[workload])


def prepared(name: str, *, fresh: bool) -> Peer:
    """Install a library."""
    peer = Peer(name, adapter_of(name).title)
    say(f"{peer.title}: installing")
    try:
        peer.python = prepare(name, fresh=fresh)
        peer.version = imported(peer.python, module_of(name))
    except InstallationError as reason:
        peer.missing = str(reason)
        say(f"{peer.title}: left out: {reason}")
    return peer


def repeat(peer: Peer) -> None:
    """Measure a library once more."""
    done = execute(command(peer.python, measure.__name__, module_of(peer.name)), LIMIT)
    if done.code is None:
        peer.missing = f"a repetition took longer than {LIMIT:g} s"
    elif done.code:
        peer.missing = done.reason
    else:
        for workload, figures in json.loads(done.output.splitlines()[-1]).items():
            peer.ratios.setdefault(workload, []).append(figures["ratio"])
            peer.seconds.setdefault(workload, []).append(figures["seconds"])


def rows(peers: Sequence[Peer], workload: str) -> str:
    """Give the table of a workload, the cheapest library first."""
    return table(
        ["library", "version", "ratio to a bare future", "lowest to highest", "µs per item"],
        [
            [
                peer.title,
                peer.version,
                f"{peer.ratio(workload):.2f}",
                f"{min(peer.ratios[workload]):.2f} to {max(peer.ratios[workload]):.2f}",
                f"{statistics.median(peer.seconds[workload]) * 1e6:.2f}",
            ]
            for peer in sorted(peers, key=lambda peer: peer.ratio(workload))
        ],
        right=3,
    )


def losses(peers: Sequence[Peer], workload: str) -> str:
    """Say what takes less than microbatch."""
    ours = next((peer for peer in peers if peer.name == OURS), None)
    if ours is None:
        return "microbatch was not measured."
    best = ours.ratio(workload)
    less = [
        f"{peer.title} ({peer.ratio(workload):.2f})"
        for peer in peers
        if peer.ratio(workload) < best
    ]
    if best > 1:
        less.append("bare futures (1.00)")
    return f"microbatch ({best:.2f}) loses to: {', '.join(less) or 'nothing in this table'}."


def page(peers: Sequence[Peer], repetitions: int) -> str:
    """Give the whole report."""
    setting = Setting.here()
    measured = [peer for peer in peers if not peer.missing]
    parts = [
        f"{setting.python}, {setting.machine}, {setting.date}; median of {repetitions}; `{PROG}`"
    ]
    for workload in measure.WORKLOADS if measured else ():
        parts += [f"## {workload}", rows(measured, workload), losses(measured, workload)]
    parts += [f"{peer.title} is left out: {plain(peer.missing)}" for peer in peers if peer.missing]
    return "\n\n".join(parts)


def report(peers: Sequence[Peer], repetitions: int) -> chart.Report:
    """Give all that was measured, as it can be written down."""
    setting = Setting.here()
    return {
        "python": setting.python,
        "machine": f"{setting.machine}, {processor()}",
        "date": setting.date,
        "repetitions": repetitions,
        "peers": [
            {
                "title": peer.title,
                "version": peer.version,
                "missing": peer.missing,
                "ratios": {} if peer.missing else peer.ratios,
                "seconds": {} if peer.missing else peer.seconds,
            }
            for peer in peers
        ],
    }


def processor(listed: Path = Path("/proc/cpuinfo")) -> str:
    """Name the processor, where the system tells, and count its cores."""
    cores = f"{os.cpu_count()} cores"
    lines = listed.read_text().splitlines() if listed.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{cores} of {models[0]}" if models else cores


def parser() -> argparse.ArgumentParser:
    """Say what can be asked for."""
    listed = "\n".join(f"  {name:<20}{adapter_of(name).title}" for name in NAMES)
    example = f"example:\n  {PROG} --peers microbatch,aiodataloader --repeat 3"
    made = argparse.ArgumentParser(
        prog=PROG,
        description=__doc__,
        epilog=f"peers:\n{listed}\n\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--peers", type=read.peers, metavar="A,B", help="only these libraries")
    made.add_argument(
        "--repeat", type=read.count, default=7, metavar="N", help="repetitions (default: 7)"
    )
    made.add_argument(
        "--json", type=read.output, metavar="FILE", help="write down all that was measured"
    )
    made.add_argument("--svg", type=read.output, metavar="FILE", help="draw it as a picture")
    made.add_argument(
        "--fresh", action="store_true", help="make the environments anew, with the newest versions"
    )
    return made


def main() -> int:
    """Measure, and print."""
    given = parser().parse_args()
    peers = [prepared(name, fresh=given.fresh) for name in given.peers or NAMES]
    for lap in range(given.repeat):
        say(f"repetition {lap + 1} of {given.repeat}")
        for peer in peers:
            if not peer.missing:
                repeat(peer)
    print(page(peers, given.repeat))
    figures = report(peers, given.repeat)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if given.svg:
        given.svg.write_text(chart.draw(figures), encoding="utf-8")
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        say("interrupted")
        raise SystemExit(130) from None
