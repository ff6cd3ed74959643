"""Run a command for so long and no longer, and leave nothing of it."""

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True)
class Done:
    """What became of a command; ``code`` is None where it was killed for taking too long."""

    code: int | None
    output: str
    errors: str

    @property
    def reason(self) -> str:
        """The line that says best why it failed."""
        lines = [line.strip() for line in self.errors.splitlines() if line.strip()]
        named = [line for line in lines if line.startswith("ERROR: ")]
        return (named or lines or [f"it ended with status {self.code} and said nothing"])[-1]


def execute(command: list[str], limit: float) -> Done:
    """Run a command for at most ``limit`` seconds.

    When this is left, also by an exception such as KeyboardInterrupt, the command has ended, and
    so have the processes that it started.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # a group of its own, to be killed as one
    ) as process:
        try:
            output, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            kill(process)
            return Done(None, *process.communicate())
        finally:
            kill(process)
    return Done(process.returncode, output, errors)


def kill(process: "subprocess.Popen[str]") -> None:
    """Kill a process, and its group where there are groups."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
