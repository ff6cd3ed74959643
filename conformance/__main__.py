"""The command line: which probes are put to which libraries, and where the report goes."""

import argparse
import signal
from collections.abc import Sequence
from typing import NoReturn

from conformance import arguments as read
from conformance.environments import CACHE, ROOT
from conformance.peers import NAMES, OURS, adapter_of
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


def parser() -> argparse.ArgumentParser:
    """Say what can be asked for."""
    listed = "\n".join(
        [
            "peers:",
            *(f"  {name:<20}{adapter_of(name).title}" for name in NAMES),
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
    made.add_argument("--peers", type=read.peers, metavar="A,B", help="only these libraries")
    made.add_argument("--probes", type=read.probes, metavar="X,Y", help="only these probes")
    made.add_argument(
        "--output",
        type=read.output,
        metavar="FILE",
        help="default: docs/explanation/conformance.md",
    )
    made.add_argument(
        "--timeout",
        type=read.seconds,
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
    chosen = given.probes or [*PROBES]
    results = [
        examine(name, chosen, limit=given.timeout, fresh=given.fresh, tell=say)
        for name in given.peers or NAMES
    ]
    page = report(results, chosen, Setting.here(), command(given), given.timeout)
    where = given.output or (None if given.peers or given.probes else PAGE)
    if where:
        where.write_text(page, encoding="utf-8")
        say(f"written: {where}")
    else:
        print(page, end="")
    return status(results)


def command(given: argparse.Namespace) -> str:
    """Give the command that makes the same report again."""
    words = [PROG]
    for option in ("peers", "probes"):
        if chosen := getattr(given, option):
            words += [f"--{option}", ",".join(chosen)]
    return " ".join(words)


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
    signal.signal(signal.SIGTERM, stop)  # so that it ends what it has started, as Ctrl-C does
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        say("interrupted: nothing was written")
        raise SystemExit(130) from None
