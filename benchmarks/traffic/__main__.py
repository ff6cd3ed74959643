"""Compare how microbatch waits for companions, policy by policy, under traffic as it is.

    python -m benchmarks.traffic                          everything
    python -m benchmarks.traffic virtual --rows slow,64x4 some rows, by words of their names
    python -m benchmarks.traffic http --peers microbatch  one library alone
    python -m benchmarks.traffic --policies 5ms,auto --json traffic.json --svg traffic.svg

Every row is some traffic that meets some handler; each policy (a value of max_latency) meets the
same one, and is compared to natural batching (max_latency=0):

  virtual  closed loops (clients that wait for their answers, in process or over a network), open
           ones (Poisson, bursts, rates that double and halve or come and go), one to four slots,
           handlers of 0.2 to 200 ms; in virtual time, with the very core. The same seed is the same
           run, so a busy machine doesn't matter.
  change   traffic that changes, in virtual time: how soon a policy does as well as it will
  http     64 keep-alive clients, and FastAPI behind uvicorn in a process of its own
  threads  32 threads, through BlockingBatcher

The last two are real, and want an idle machine. They measure peers too, each in an environment of
its own under .conformance/, which is made on first use. A policy that the installed microbatch
refuses is left out, and a note says why.

Latencies are from the sending of a request to the arrival of its answer; those of "submit" are from
its submission to its answer. A straggler narrowly missed a batch and paid a whole one for it: it
was submitted within a tenth of a handler call after that call had begun with room to spare, and
waited for at least nine tenths of that call. Where arrivals know nothing of each other, a tenth of
them are such by chance.
"""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from benchmarks.floor import setting
from benchmarks.traffic import changes, chart, real, virtual
from benchmarks.traffic.policies import DEFAULT, Policy, policies, refusal
from benchmarks.traffic.rows import chosen
from conformance import arguments as read
from conformance.peers import adapter_of
from conformance.results import say

PROG = "python -m benchmarks.traffic"
PARTS = ("virtual", "change", "http", "threads")


def words(text: str) -> list[str]:
    """Read words with commas between."""
    found = [word.strip() for word in text.split(",") if word.strip()]
    if not chosen(found):
        raise argparse.ArgumentTypeError(f"no row has any of these in its name: {text!r}")
    return found


def peers(text: str) -> list[str]:
    """Read names of libraries."""
    return read.names("peer", real.PEERS, text)


def parser() -> argparse.ArgumentParser:
    """Say what can be asked for."""
    listed = "\n".join(f"  {name:<20}{adapter_of(name).title}" for name in real.PEERS)
    made = argparse.ArgumentParser(
        prog=PROG,
        description=__doc__,
        epilog=f"peers:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all of them)"
    )
    made.add_argument(
        "--policies",
        type=policies,
        default=DEFAULT,
        metavar="A,B",
        help=f"natural, auto, and lengths of time such as 5ms (default: {DEFAULT})",
    )
    made.add_argument(
        "--rows", type=words, default=[], metavar="A,B", help="only rows with such words, virtual"
    )
    made.add_argument(
        "--repeat", type=read.count, default=3, metavar="N", help="seeds, repetitions (default: 3)"
    )
    made.add_argument(
        "--seed", type=read.count, default=1, metavar="N", help="the first seed (default: 1)"
    )
    made.add_argument(
        "--calls",
        type=read.count,
        default=200,
        metavar="N",
        help="handler calls' worth of time that a virtual row is measured for (default: 200)",
    )
    made.add_argument(
        "--seconds",
        type=read.seconds,
        default=4.0,
        metavar="S",
        help="seconds that a real row is measured for (default: 4)",
    )
    made.add_argument(
        "--quick", action="store_true", help="one repetition, of 100 calls and 2 seconds"
    )
    made.add_argument(
        "--jobs",
        type=read.count,
        default=1,
        metavar="N",
        help="processes for what runs in virtual time (default: 1)",
    )
    made.add_argument(
        "--peers", type=peers, default=real.PEERS, metavar="A,B", help="only these libraries"
    )
    made.add_argument(
        "--json", type=read.output, metavar="FILE", help="write down all that was measured"
    )
    made.add_argument("--svg", type=read.output, metavar="FILE", help="draw it as a picture")
    return made


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    made = parser()
    found = made.parse_args(given)
    for part in found.parts:
        if part not in PARTS:
            made.error(f"there is no part {part!r}; there are {', '.join(PARTS)}")
    found.parts = found.parts or [*PARTS]
    if found.quick:
        found.repeat, found.calls, found.seconds = 1, 100, 2.0
    return found


def usable(asked: Sequence[Policy], left_out: dict[str, str]) -> list[Policy]:
    """Give the policies that this microbatch can have, and note the others."""
    for policy in asked:
        if reason := refusal(policy):
            left_out[policy.name] = reason
    return [policy for policy in asked if policy.name not in left_out]


def in_turn(measure: Any, rows: Sequence[Any], jobs: int) -> list[Any]:
    """Measure rows, in this process or in several, and show progress."""
    done = []
    if jobs == 1:
        for number, row in enumerate(rows, 1):
            say(f"{number} of {len(rows)}: {row.name}")
            done.append(measure(row))
        return done
    with ProcessPoolExecutor(jobs) as pool:
        for row, found in zip(rows, pool.map(measure, rows), strict=True):
            say(f"{len(done) + 1} of {len(rows)}: {row.name}")
            done.append(found)
    return done


def main(given: Sequence[str] | None = None) -> int:
    """Measure, and print."""
    asked = arguments(given)
    report: dict[str, Any] = {"setting": setting(), "left_out": {}}
    laid = usable(asked.policies, report["left_out"])
    seeds = range(asked.seed, asked.seed + asked.repeat)
    print(f"{report['setting']}; median of {asked.repeat}; `{PROG}`")
    for name, reason in report["left_out"].items():
        print(f"\nThe policy {name} is left out: this microbatch refuses it: {reason}")
    if "virtual" in asked.parts:
        measure = partial(virtual.measure, policies=laid, seeds=seeds, calls=asked.calls)
        rows = in_turn(measure, chosen(asked.rows), asked.jobs)
        print(f"\n{virtual.page(rows)}", flush=True)
        report["virtual"] = virtual.report(rows)
    if "change" in asked.parts:
        change = partial(changes.measure, policies=laid, seeds=seeds)
        changed = in_turn(change, [*changes.changes()], asked.jobs)
        print(f"\n{changes.page(changed)}", flush=True)
        report["change"] = changes.report(changed)
    real_rows = [
        row
        for part, some in (("http", real.HTTP), ("threads", real.THREADS))
        for row in some
        if part in asked.parts
    ]
    if real_rows:
        libraries = [real.prepared(name) for name in asked.peers]
        compared = real.compare(real_rows, libraries, laid, asked.repeat, asked.seconds)
        print(f"\n{real.page(compared, libraries)}", flush=True)
        report["real"] = real.report(compared, libraries)
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if asked.svg:
        asked.svg.write_text(chart.draw(report), encoding="utf-8")
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        say("interrupted")
        raise SystemExit(130) from None
