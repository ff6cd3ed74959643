"""A virtual environment for each library, so that what they depend on never mixes."""

import shutil
import sys
import tempfile
from pathlib import Path

from conformance.execution import execute
from conformance.peers import OURS, adapter_of

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".conformance"
INSTALL_LIMIT = 1200.0
"""Seconds that an installation may take."""
PROBED_WITH = "pandas"
"""What probes answer with, and so every library has beside it."""
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "microbatch")


class InstallationError(Exception):
    """Say why a library cannot be had here."""


def prepare(name: str, *, fresh: bool) -> str:
    """Give the Python of the environment that has a library; make it where it is missing.

    microbatch is installed anew each time, for the checkout may have changed.

    Raises:
        InstallationError: it could not be installed; the message is what pip printed.
    """
    library = adapter_of(name)
    folder = CACHE / f"{name}-{sys.version_info.major}.{sys.version_info.minor}"
    wanted = " ".join((*(library.install or (library.distribution,)), "with", PROBED_WITH))
    mark = folder / "installed.txt"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if fresh or not mark.exists() or mark.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        CACHE.mkdir(exist_ok=True)
        must(sys.executable, "-m", "venv", str(folder))
        if name != OURS:
            pip(python, *(library.install or (library.distribution,)))
        pip(python, PROBED_WITH)
        mark.write_text(wanted)
    if name == OURS:
        install_checkout(python)
    return str(python)


def install_checkout(python: Path) -> None:
    """Build microbatch from a copy, so that the checkout gets no build folder."""
    with tempfile.TemporaryDirectory() as folder:
        for source in SOURCES:
            if (ROOT / source).is_dir():
                unwanted = shutil.ignore_patterns("*.so", "*.pyd", "*.c", "__pycache__")
                shutil.copytree(ROOT / source, Path(folder, source), ignore=unwanted)
            else:
                shutil.copy(ROOT / source, folder)
        pip(python, folder)


def pip(python: Path, *what: str) -> None:
    """Install something."""
    must(str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", *what)


def must(*command: str) -> None:
    """Run a command; raise InstallationError if it fails."""
    done = execute([*command], INSTALL_LIMIT)
    if done.code is None:
        raise InstallationError(f"it took longer than {INSTALL_LIMIT:g} seconds")
    if done.code:
        raise InstallationError(done.reason)
