"""Progress on stderr, where somebody watches."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from microbatch.offline.run import Counts

__all__ = ["SHOW_CURSOR", "answers_bar", "is_watched", "rows_bar"]

SHOW_CURSOR = b"\x1b[?25h"


def is_watched() -> bool:
    """Tell whether stderr is a terminal."""
    return sys.stderr.isatty()


class RowsColumn(ProgressColumn):
    """Show a task's rows, rows per second and failed rows."""

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        """Give the text for one task."""
        rows, failed = task.fields["rows"], task.fields["failed"]
        rate = rows / task.elapsed if task.elapsed else 0.0
        text = Text(f"{rows:,} rows  {rate:,.0f} rows/s  ")
        return text.append(f"{failed:,} failed", style="red" if failed else "")


@contextmanager
def rows_bar(total_bytes: int | None, *, show: bool) -> Generator[Callable[[Counts], object]]:
    """Show how far a run is, by the input's bytes when their number is known."""
    if not show:
        yield ignore
        return
    share = [TaskProgressColumn()] if total_bytes is not None else []
    columns = [BarColumn(20), *share, RowsColumn(), TimeElapsedColumn()]
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total_bytes, rows=0, failed=0)

        def update(counts: Counts) -> None:
            failed = counts.failed.total()
            bar.update(task, completed=counts.bytes_done, rows=counts.written, failed=failed)

        yield update


@contextmanager
def answers_bar(*, show: bool) -> Generator[Callable[[str, int, int], object]]:
    """Show how many of how many requests are answered, in a line for each stage."""
    if not show:
        yield ignore
        return
    columns = [TextColumn("{task.description}"), BarColumn(20), TaskProgressColumn()]
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def update(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                for earlier in tasks.values():
                    bar.update(earlier, completed=1, total=1)
                tasks[stage] = bar.add_task(stage, total=total or None)
            bar.update(tasks[stage], completed=done)

        yield update


def ignore(*_: object) -> None:
    """Show nothing."""
