"""Run what only a process of its own can show."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def run_script(*parts: str, flags: tuple[str, ...] = (), timeout: float) -> tuple[int, str, str]:
    """Run the parts of a script in a fresh interpreter; give its exit status and both outputs."""
    done = subprocess.run(
        [sys.executable, *flags, "-c", "".join(map(textwrap.dedent, parts))],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr
