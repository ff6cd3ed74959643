"""``microbatch demo``: print what micro-batching does to a real classifier."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from microbatch.cli.progress import answers_bar, is_watched

if TYPE_CHECKING:
    from microbatch.cli.comparing import Comparison, Demo, Measurement, Settings

__all__ = ["demo"]

HELP = """Serve a real classifier twice, and compare: one call at a time, and micro-batched.

Trains a small neural network on the pictures of digits that scikit-learn ships, and lets many
concurrent callers ask it about one picture each, again and again. First every request is a call to
the model of its own, in a worker thread; then a Batcher groups the requests that are waiting, and
calls the same model in the same kind of thread with many pictures at once. Prints a table, and
checks that all predictions are equal.

\b
Exit codes:
    0    done, and all predictions are equal
    1    some predictions differ
    2    wrong usage, or scikit-learn is not installed
    130  stopped by Ctrl-C
"""

READING = """How to read it: each caller waits for its answer before it asks again, so shorter \
latency is more throughput. A call to the model costs nearly the same for one picture as for many; \
micro-batching makes few calls of many pictures, and no caller has to know."""


ROWS: "tuple[tuple[str, str, Callable[[Measurement], float]], ...]" = (
    ("requests per second", "{:,.0f}", lambda one: one.throughput),
    ("latency, half below (p50)", "{:,.2f} ms", lambda one: 1000 * one.latency(50)),
    ("latency, 99 % below (p99)", "{:,.2f} ms", lambda one: 1000 * one.latency(99)),
    ("pictures per call, mean", "{:,.1f}", lambda one: one.mean_batch_size),
    ("calls to the model", "{:,}", lambda one: one.calls),
)

REASONS = {
    "size": "batch full",
    "natural": "model free",
    "latency": "longest wait over",
}


@click.command("demo", help=HELP)
@click.option("--callers", default=256, show_default=True, help="Concurrent callers.")
@click.option("--rounds", default=40, show_default=True, help="Requests of each caller.")
@click.option("--max-batch-size", default=64, show_default=True, help="Most pictures in one call.")
@click.option(
    "--max-latency",
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="Longest wait of a request for companions while the model is free.",
)
def demo(**settings: Any) -> None:
    """Parse the command line, run the demonstration, and exit; see HELP."""
    work: Demo | None = None
    try:
        with answers_bar(show=is_watched()) as on_progress:
            work = prepare(settings, on_progress)
            comparison = work.run()
    except KeyboardInterrupt:
        click.echo(f"microbatch: interrupted{where(work)}", err=True)
        sys.exit(130)
    show(comparison, work.settings)
    sys.exit(1 if comparison.different else 0)


def prepare(settings: dict[str, Any], on_progress: Callable[[str, int, int], object]) -> "Demo":
    """Import what the demonstration needs, and check its settings; raises click's UsageError."""
    try:
        from microbatch.cli.comparing import Demo, Settings  # noqa: PLC0415 - takes a second, may be missing
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("sklearn", "numpy"):
            raise
        raise click.UsageError(
            "the demo needs scikit-learn: pip install scikit-learn, "
            "or microbatch with its extra 'demo'"
        ) from error
    try:
        return Demo(Settings(**settings), on_progress)
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from error


def where(work: "Demo | None") -> str:
    """Say how far the demonstration came."""
    if work is None or not work.total:
        return " before the first request"
    return f", {work.stage}: {work.answered:,} of {work.total:,} requests were answered"


def show(comparison: "Comparison", settings: "Settings") -> None:
    """Print the comparison on stdout: for people on a terminal, plain text elsewhere."""
    from microbatch.cli.comparing import versions  # noqa: PLC0415 - as above

    console = Console(highlight=False)
    console.print(
        f"{settings.callers:,} callers, {settings.rounds:,} requests each, "
        f"to a classifier of handwritten digits."
    )
    console.print(table(comparison))
    console.print(verdict(comparison))
    console.print(f"\n{READING}")
    console.print(f"\n{versions()}")


def table(comparison: "Comparison") -> Table:
    """Lay out both measurements, a line for each quantity."""
    single, batched = comparison.single, comparison.batched
    grid = Table(box=SIMPLE)
    for heading in ("", "one at a time", "micro-batched", "change"):
        grid.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for name, text, value in ROWS:
        before, after = value(single), value(batched)
        grid.add_row(name, text.format(before), text.format(after), change(before, after))
    for reason, number in batched.reasons.items():
        grid.add_row(f"  sent: {REASONS.get(reason, reason)}", "", f"{number:,}", "")
    return grid


def change(before: float, after: float) -> str:
    """Say how many times more or less it is."""
    return f"{after / before:,.1f}x more" if after >= before else f"{before / after:,.1f}x less"


def verdict(comparison: "Comparison") -> str:
    """Say whether the predictions are equal, and how good they are."""
    number = len(comparison.direct)
    if comparison.different:
        return f"NOT EQUAL: {comparison.different:,} of {number:,} predictions differ."
    return (
        f"All {number:,} predictions are equal, also to those of the model asked directly; "
        f"{comparison.accuracy:.1%} are right."
    )
