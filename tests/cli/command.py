"""The command line, in this process and as a process of its own, with pipes and signals."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from click.testing import CliRunner, Result

from microbatch.cli import run as _  # noqa: F401 - tests look its module up by name
from microbatch.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = [sys.executable, "-c", "from microbatch.cli import main; main()"]

posix = pytest.mark.skipif(os.name != "posix", reason="has no such signals and pipes")


def invoke(*arguments: str, given: str | bytes = b"") -> Result:
    return CliRunner().invoke(app, ["run", *arguments], input=given, prog_name="microbatch")


def run(handler: str, *arguments: str, given: str | bytes = b"") -> Result:
    return invoke("-", "--handler", f"handlers:{handler}", *arguments, given=given)


class Process:
    """The command as a process with pipes, killed at the end."""

    def __init__(self, *arguments: str) -> None:
        self.popen = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )

    def write(self, text: bytes) -> None:
        self.popen.stdin.write(text)  # type: ignore[union-attr]

    def line(self) -> bytes:
        return self.popen.stdout.readline()  # type: ignore[union-attr]

    def error_line(self) -> bytes:
        return self.popen.stderr.readline()  # type: ignore[union-attr]

    def rest(self) -> tuple[bytes, bytes, int]:
        output, errors = self.popen.communicate()
        return output, errors, self.popen.returncode


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[Process]:
    started = Process(*arguments)
    try:
        yield started
    finally:
        started.popen.kill()
        started.popen.communicate()
