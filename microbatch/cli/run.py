"""``microbatch run``: a file of JSON lines through a handler."""

import asyncio
import contextlib
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import click

from microbatch import Batcher, BatcherOptions
from microbatch.cli.interrupts import Interrupts
from microbatch.cli.progress import SHOW_CURSOR, is_watched, rows_bar
from microbatch.offline.files import (
    BlockReader,
    LineWriter,
    bytes_left,
    is_same_file,
    open_output,
)
from microbatch.offline.jsonl import MAX_LINE_BYTES, JsonLines
from microbatch.offline.loading import HandlerNotFoundError, batcher_for, load
from microbatch.offline.run import Counts, JsonLinesSource, Run

__all__ = ["run"]

STDIO = Path("-")
BROKEN_PIPE = 128 + 13  # as of a program that SIGPIPE ends; there is no such signal on Windows

HELP = """Send each line of INPUT through a handler, in batches, and write one line for each.

INPUT is a file of JSON lines, or - for stdin. The handler is a Python function, async or not, that
takes a list of rows and returns a list of as many results. For example, with shout.py:

\b
    def handle(rows):
        return [row["text"].upper() for row in rows]

\b
    $ cat rows.jsonl
    {"text": "hello"}
    {"text":
    {"text": "wörld"}
    $ microbatch run rows.jsonl --handler shout:handle
    "HELLO"
    {"error": {"line": 2, "stage": "parse", "type": "JSONDecodeError", "message": "..."}}
    "WÖRLD"
    microbatch: 1 of 3 rows failed (1 parse); the first: line 2: JSONDecodeError: ...

Line N of the output answers line N of the input, always. A row that fails is an error in its place
and the others go on; its stage is parse (the line is not JSON), handler (it raised, or returned an
exception for this row, or too few results for the batch, or the row does not fit its parameters),
timeout, or encode (the result is not JSON; numpy's scalars and arrays become numbers and lists). A
result of the handler's own that has the key "error" looks alike, but is no failure: the last line
on stderr and the exit code tell of failures alone.

\b
More examples:
    $ microbatch run rows.jsonl --handler shout:handle --output out.jsonl --max-batch-size 256
    $ tail -f events.jsonl | microbatch run - --handler shout:handle --max-latency 0.05
    $ microbatch run rows.jsonl --handler shout:handle | jq -c 'select(.error?)'

The handler is imported from the current directory or from what is installed. What it prints goes
to stderr, so that the output stays clean. One decorated with @batched keeps its own options, and
may have several parameters: the keys of a row are their names, or a row is an array with a value
for each.

Ctrl-C (or SIGTERM) takes no more rows; those under way, at most --capacity of them, are finished
and written, and a last line says how far that is. A second Ctrl-C stops at once.

\b
Exit codes:
    0    every row has its result
    1    some rows failed, or reading or writing did
    2    wrong usage: no such handler, option, input; the output exists
    130  stopped by Ctrl-C (143 by SIGTERM, 141 when the reader of the output went away)
"""


@dataclass(frozen=True, slots=True)
class Job:
    """Hold what a run needs, checked and open."""

    batcher: Batcher[Any, Any]
    window: int
    source: IO[bytes]
    lines: JsonLines
    sink: IO[bytes]
    quiet: bool


@click.command("run", help=HELP)
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.option("--handler", required=True, metavar="MODULE:FUNCTION", help="The batch function.")
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    default=STDIO,
    type=click.Path(path_type=Path),
    help="Where to write; - is stdout, the default. An existing file is refused, see --force.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing output file.")
@click.option("--max-batch-size", type=int, help="Most rows in one handler call.  [default: 64]")
@click.option(
    "--max-latency",
    type=float,
    metavar="SECONDS",
    help="Longest wait of a row for companions while the handler is free.  [default: 0]",
)
@click.option(
    "--max-concurrent-batches", type=int, help="Handler calls under way at once.  [default: 1]"
)
@click.option(
    "--timeout",
    type=float,
    metavar="SECONDS",
    help="Longest from reading a row to its result; a late row is an error.  [default: none]",
)
@click.option(
    "--capacity",
    type=int,
    help="Most rows read and not yet written.  [default: 4 batches for each under way]",
)
@click.option(
    "--max-line-bytes",
    type=int,
    default=MAX_LINE_BYTES,
    show_default=True,
    help="A longer line is an error, and is not held in memory.",
)
@click.option("--quiet", "-q", is_flag=True, help="No progress and no summary on stderr.")
def run(source: Path, output: Path, **parameters: Any) -> None:
    """Parse the command line, run, and exit; see HELP."""
    try:
        sys.exit(start(source, output, **parameters))
    except KeyboardInterrupt:  # before or after the rows; meanwhile it is Interrupts' affair
        sys.exit(128 + signal.SIGINT)


def start(source: Path, output: Path, **parameters: Any) -> int:
    """Prepare and execute a run, and give the exit code; raises click's UsageError."""
    stdout = sys.stdout.buffer
    with contextlib.ExitStack() as stack:
        if output == STDIO:  # then only results may go there
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        with usage_errors():
            job = prepare(stack, source, stdout if output == STDIO else output, **parameters)
        return execute(job)


@contextlib.contextmanager
def usage_errors() -> Generator[None]:
    """Turn what is wrong with the command line into click's usage errors, which exit with 2."""
    try:
        yield
    except HandlerNotFoundError as error:
        raise click.BadParameter(str(error), param_hint="--handler") from error
    except FileExistsError as error:
        raise click.UsageError(f"{error.filename} exists; --force overwrites it") from error
    except OSError as error:
        raise click.UsageError(f"{error.filename}: {error.strerror}") from error
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from error


def prepare(
    stack: contextlib.ExitStack,
    source: Path,
    output: IO[bytes] | Path,
    *,
    handler: str,
    force: bool,
    max_line_bytes: int,
    quiet: bool,
    **options: Any,
) -> Job:
    """Check everything, and open the files: the output last, for that may make or empty it."""
    given = {name: value for name, value in options.items() if value is not None}
    lines = JsonLines(max_line_bytes)
    batcher, window = batcher_for(load(handler), cast("BatcherOptions", given))
    if source == STDIO:
        reading: IO[bytes] = sys.stdin.buffer
    else:
        reading = stack.enter_context(source.open("rb", buffering=0))
    if is_same_file(reading, output):
        raise ValueError("the output must not be the input")
    if isinstance(output, Path):
        output = stack.enter_context(open_output(output, force=force))
    return Job(batcher, window, reading, lines, output, quiet)


def execute(job: Job) -> int:
    """Run to the end, say on stderr what went wrong, and give the exit code."""
    writer = LineWriter(job.sink)
    show = is_watched() and not job.quiet
    ended: BaseException | None = None
    with (
        rows_bar(bytes_left(job.source), show=show) as on_progress,
        BlockReader(job.source) as blocks,
        asyncio.Runner() as runner,
    ):
        source = JsonLinesSource(blocks, job.lines)
        work = Run(source, job.batcher, writer, window=job.window, on_progress=on_progress)
        loop = runner.get_loop()
        abort = aborter(writer, b"\n" + SHOW_CURSOR if show else b"")
        with Interrupts(loop, stopper(loop, work), abort) as interrupts:
            try:
                runner.run(work.run())
            except (OSError, SystemExit, KeyboardInterrupt) as error:
                ended = error  # of the output; or the handler asked for it
    return report(work.counts, interrupts.received, ended, quiet=job.quiet)


def stopper(loop: asyncio.AbstractEventLoop, work: Run) -> Callable[[int], object]:
    """Make what the first signal calls: the run ends with the rows under way."""

    def stop() -> None:
        say("finishing the rows under way; stop at once with Ctrl-C again")
        work.stop()

    return lambda _: loop.call_soon_threadsafe(stop)


def aborter(writer: LineWriter, terminal: bytes) -> Callable[[int], object]:
    """Make what the next signal calls: the process ends here, whatever its threads are doing."""

    def abort(number: int) -> None:
        # Not through sys.stderr, which the interrupted code may be in the middle of.
        os.write(2, terminal + f"microbatch: stopped at once: {progress(writer.lines)}\n".encode())
        os._exit(128 + number)

    return abort


def report(
    counts: Counts, stopped_by: int | None, ended: BaseException | None, *, quiet: bool
) -> int:
    """Say what went wrong, and give the exit code."""
    if isinstance(ended, BrokenPipeError):  # whoever reads has had enough, which is no news
        return BROKEN_PIPE
    if counts.failed and not quiet:
        say(summary(counts))
    if reason := early_end(counts, ended):
        say(f"{reason}: {progress(counts.written)}")
        return 1
    if stopped_by and counts.stopped:
        say(f"stopped: {progress(counts.written)}")
        return 128 + stopped_by
    return 1 if counts.failed else 0


def early_end(counts: Counts, ended: BaseException | None) -> str:
    """Tell what ended a run before its time; nothing if it was a signal, or the end."""
    if isinstance(ended, OSError):
        return f"writing failed: {ended.strerror}"
    if ended:
        return f"the handler raised {type(ended).__name__}"
    return f"reading failed: {counts.read_error.strerror}" if counts.read_error else ""


def summary(counts: Counts) -> str:
    """Tell in one line how many rows failed, at which stages, and how the first did."""
    stages = ", ".join(f"{number:,} {stage}" for stage, number in counts.failed.items())
    total = f"{counts.failed.total():,} of {counts.written:,} rows failed ({stages})"
    return f"{total}; the first: {textwrap.shorten(counts.first_failure or '', 200)}"


def progress(lines: int) -> str:
    """Tell how far the output is."""
    return f"{lines:,} lines written, the answers to the first {lines:,} lines of the input"


def say(text: str) -> None:
    """Print a line on stderr."""
    click.echo(f"microbatch: {text}", err=True)
