"""The command line: which probes are put to which libraries, and where the report goes."""

import argparse
import math
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from conformance.environments import CACHE, ROOT, title_of
from conformance.peers import NAMES, OURS
from conformance.probes import PROBES
from conformance.report import report
from conformance.results import Result, Setting, examine, say

PROG = "python -m conformance"
PAGE = ROOT / "docs" / "explanation" / "conformance.md"
LIMIT = 20.0

DESCRIPTION = f"""\
Put failure probes to microbatch and to its peers, and write down what they show.

Each library gets a virtual environment of its own under {CACHE.name}/, made on first use with the
Python that runs this, which needs a package index; each probe runs in a process of its own, and is
killed when it takes too long. All of it takes some minutes."""

EXAMPLES = f"""\
examples:
  {PROG}                                            write the page of the documentation
  {PROG} --peers microbatch                         see only how microbatch does
  {PROG} --peers microbatch,aiomisc --probes idle   print a small report

A report of some peers or some probes is printed, unless --output says where it goes.
The status is 0 if microbatch passed all that was put to it, 1 if it did not."""


def names(kind: str, known: Sequence[str], text: str) -> list[str]:
    """Read names with commas between; give them in the order of the known ones."""
    given = [name.strip() for name in text.split(",") if name.strip()]
    for name in given:
        if name not in known:
            raise argparse.ArgumentTypeError(
                f"there is no {kind} {name!r}; there are {', '.join(known)}"
            )
    if not given:
        raise argparse.ArgumentTypeError(f"must name at least one {kind}, got {text!r}")
    return [name for name in known if name in given]


def peers(text: str) -> list[str]:
    """Read names of libraries."""
    return names("peer", NAMES, text)


def probes(text: str) -> list[str]:
    """Read names of probes."""
    return names("probe", [*PROBES], text)


def seconds(text: str) -> float:
    """Read a length of time."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds > 0, got {text!r}")
    return value


def output(text: str) -> Path:
    """Read the path of a file that can be written, before anything takes time."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file in a folder that exists, got {text!r}")
    return path


def parser() -> argparse.ArgumentParser:
    """Say what can be asked for."""
    listed = "\n".join(
        [
            "peers:",
            *(f"  {name:<20}{title_of(name)}" for name in NAMES),
            "\nprobes:",
            *(f"  {name:<20}{probe.expects}" for name, probe in PROBES.items()),
        ]
    )
    made = argparse.ArgumentParser(
        prog=PROG,
        description=DESCRIPTION,
        epilog=f"{listed}\n\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--peers", type=peers, metavar="A,B", help="only these libraries")
    made.add_argument("--probes", type=probes, metavar="X,Y", help="only these probes")
    made.add_argument(
        "--output", type=output, metavar="FILE", help=f"default: {PAGE.relative_to(ROOT)}"
    )
    made.add_argument(
        "--timeout",
        type=seconds,
        default=LIMIT,
        metavar="S",
        help=f"seconds after which a probe is killed (default: {LIMIT:g})",
    )
    made.add_argument(
        "--fresh", action="store_true", help="make the environments anew, with the newest versions"
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what was asked for; give the exit status."""
    given = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, stop)  # so that it ends what it has started, as Ctrl-C does
    chosen = given.probes or [*PROBES]
    results = [
        examine(name, chosen, limit=given.timeout, fresh=given.fresh, tell=say)
        for name in given.peers or NAMES
    ]
    page = report(results, chosen, Setting.here(), PROG, given.timeout)
    where = given.output or (None if given.peers or given.probes else PAGE)
    if where:
        where.write_text(page, encoding="utf-8")
        say(f"written: {where}")
    else:
        print(page, end="")
    return status(results)


def status(results: Sequence[Result]) -> int:
    """Give 1 if microbatch was examined and did not pass, and say why."""
    for result in results:
        if result.name == OURS:
            failed = [name for name, each in result.findings.items() if each.verdict == "fail"]
            if failed or result.missing:
                say(f"microbatch fails: {', '.join(failed) or result.missing}")
                return 1
    return 0


def stop(*_: object) -> NoReturn:
    """End as if interrupted."""
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        say("interrupted: nothing was written")
        raise SystemExit(130) from None
