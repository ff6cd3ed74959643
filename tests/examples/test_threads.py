"""The threaded web application runs as its readers run it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

EXAMPLE = Path(__file__).parents[2] / "examples" / "threads.py"


def test_the_application_names_flowers_in_few_calls() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE)],
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    requests, calls = done.stdout.splitlines()
    right = re.fullmatch(r"150 requests in 32 threads, (\d+) named right", requests)
    assert right is not None
    assert int(right[1]) > 140
    assert 0 < int(calls.removesuffix(" calls of the model")) <= 150
