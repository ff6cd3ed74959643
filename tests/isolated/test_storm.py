"""Threads, loops, cancellations, timeouts and failures all at once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(120)
def test_in_a_storm_every_call_is_answered_and_nothing_is_left(tmp_path: Path) -> None:
    """Run it away from the checkout, which would stand before the installed package."""
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.storm", "--seconds", "3"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every call was answered, and nothing is left" in done.stdout
