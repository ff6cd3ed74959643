"""Progress on stderr."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.command import COMMAND, invoke, posix, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["microbatch.cli.run"], "is_watched", lambda: True)


@pytest.mark.usefixtures("watched")
def test_progress_shows_rows_and_share_of_a_file(here: Path) -> None:
    (here / "rows.jsonl").write_text("1\n" * 1500)
    result = invoke("rows.jsonl", "--handler", "handlers:odd")
    assert "100% 1,500 rows" in result.stderr
    assert "1,500 failed" in result.stderr


@pytest.mark.usefixtures("watched")
def test_progress_shows_rows_of_a_pipe() -> None:
    result = run("same", given="1\n2\n")
    assert "2 rows" in result.stderr
    assert "%" not in result.stderr


@pytest.mark.usefixtures("watched")
def test_quiet_shows_no_progress() -> None:
    assert run("same", "--quiet", given="1\n").stderr == ""


@posix
def test_progress_on_a_terminal_leaves_the_output_clean() -> None:
    import pty

    try:
        outer, inner = pty.openpty()
    except OSError as error:
        pytest.skip(f"no pseudo-terminal here: {error}")
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, outer)
        arguments = [*COMMAND, "run", "-", "--handler", "handlers:chatty"]
        given: Any = {"input": b"1\n2\n", "stdout": subprocess.PIPE, "stderr": inner}
        done = subprocess.run(arguments, **given, check=True)
        os.close(inner)
        assert done.stdout == b"1\n2\n"
        shown = os.read(outer, 65536)
    assert b"rows/s" in shown
    assert b"working" in shown
