"""Look for what hostile code can do: ``python -m tests.hostile --steps 1000000 --seed 1``.

A seed gives a row of scenarios, of some hundred steps each; a scenario is told by the seed and its
number, and can be run again alone. What fails is printed with both, with the step, with what was
done before, and with the shortest prefix of its steps that fails too.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.hostile.runs import Run, frozen, shortest
from tests.hostile.things import HOOKS

if TYPE_CHECKING:
    from tests.hostile.machine import Machine

STUCK = 60
"""Seconds that no scenario takes."""
CLEAN, FAILED = 0, 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000, help="how many, in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenario", type=int, help="run this one alone")
    parser.add_argument("--first", type=int, default=0, help="the scenario to begin with")
    parser.add_argument("--hooks", type=hooks, help="what acts alone, such as eq,hash")
    parser.add_argument("--keep-going", action="store_true", help="report all that fail, in brief")
    parser.add_argument("--journal", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def hooks(text: str) -> frozenset[str]:
    chosen = frozenset(text.split(","))
    if not chosen <= HOOKS:
        raise argparse.ArgumentTypeError(f"hooks must be among {', '.join(sorted(HOOKS))}")
    return chosen


# ------------------------------------------------------------------------------- in another process
def watch() -> int:
    """Run it in a process of its own, and tell where that was if it dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the other to tell
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal"
        journal.write_text("at its start")
        command = [sys.executable, "-m", "tests.hostile", *sys.argv[1:], "--journal", str(journal)]
        status = subprocess.run(command, check=False).returncode
        place = journal.read_text().strip()
    if place != "done":
        print(f"\nthe process died with status {status} {place}", flush=True)
        return FAILED
    return status


class Search:
    """Run one scenario after another, and tell of it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.journal = os.open(options.journal, os.O_WRONLY)
        self.machine: Machine | None = None
        self.began = time.monotonic()
        self.told = 0.0
        self.kinds: Counter[str] = Counter()

    def write(self, text: str) -> None:
        os.pwrite(self.journal, text.encode().ljust(100), 0)

    def place(self) -> str:
        machine = self.machine
        if machine is None:
            return "between scenarios"
        number, step = machine.scenario, machine.step
        return f"in seed {self.options.seed}, scenario {number}, step {step} of {machine.steps}"

    def progress(self, run: Run) -> None:
        now = time.monotonic()
        if now - self.told > 10:
            self.told = now
            pace = run.steps / (now - self.began)
            print(f"{run.steps:>9} steps, {run.acts} acts, {pace:.0f} steps a second", flush=True)

    def run(self) -> int:
        options = self.options
        alone = options.scenario is not None
        run = Run(options.seed, options.scenario if alone else options.first, options.hooks)
        failed = CLEAN
        while run.steps < options.steps:
            signal.alarm(STUCK)
            faulthandler.dump_traceback_later(STUCK + 30, exit=True)  # where no signal arrives
            failure = run.next(self.follow)
            if failure is not None:
                failed = FAILED
                self.report(failure)
            if alone or (failed and not options.keep_going):
                break
            self.progress(run)
        pace = run.steps / (time.monotonic() - self.began)
        print(
            f"seed {options.seed}: {run.scenarios} scenarios, {run.steps} steps, {run.acts} acts "
            f"from within, {pace:.0f} steps a second: {'FAILED' if failed else 'nothing found'}"
        )
        for kind, count in self.kinds.most_common():
            print(f"{count:>6} {kind}")
        return failed

    def follow(self, machine: Machine) -> None:
        self.machine = machine
        machine.tell = lambda _: self.write(self.place())

    def report(self, failure: str) -> None:
        print(f"\n{failure}\n{self.place()}", flush=True)
        self.kinds["".join(each for each in failure[:90] if not each.isdigit())] += 1
        if not self.options.keep_going:
            self.print_state()
            assert self.machine is not None
            print("the shortest prefix that fails:", shortest(self.options.seed, self.machine))
            print(f"again: --seed {self.options.seed} --scenario {self.machine.scenario}")

    def print_state(self) -> None:
        if self.machine is not None:
            print(*self.machine.trace, self.machine.plan, sep="\n")
            print(self.machine.batcher.statistics() if self.machine.batcher else "no batcher yet")

    def interrupted(self, number: int, _frame: Any) -> None:
        """Print the state, and end here."""
        print(f"\n{signal.Signals(number).name} {self.place()}")
        self.print_state()
        sys.stdout.flush()
        self.write("done")
        os._exit(FAILED)


def work(options: argparse.Namespace) -> int:
    faulthandler.enable()
    search = Search(options)
    signal.signal(signal.SIGINT, search.interrupted)
    signal.signal(signal.SIGALRM, search.interrupted)
    with frozen():
        status = search.run()
    search.write("done")
    return status


if __name__ == "__main__":
    chosen = arguments()
    sys.exit(watch() if chosen.journal is None else work(chosen))
