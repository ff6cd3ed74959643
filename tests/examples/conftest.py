"""Every test of an example may run it as users do, or import it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def run_example() -> Callable[..., str]:
    """Run an example in a process of its own, with warnings as errors; give what it printed."""

    def run(name: str, *arguments: str) -> str:
        command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=25, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


@pytest.fixture(scope="session")
def load_example() -> Callable[[str], ModuleType]:
    """Import an example."""

    def load(name: str) -> ModuleType:
        path = EXAMPLES / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"examples.{name}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
