"""One question to one library, in a process of its own; the answer is the last line it prints."""

import asyncio
import importlib
import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from conformance.finding import Finding
from conformance.peers import load

BOOT = (
    f"import sys; sys.path.append({str(Path(__file__).parents[1])!r}); "
    "from {module} import main; main(*sys.argv[1:])"
)


def command(python: str, module: str, *arguments: str) -> list[str]:
    """Give the command that runs ``main`` of a module of this checkout in some environment.

    The checkout comes last on the path, so that what is installed there is found first.
    """
    return [python, "-P", "-c", BOOT.format(module=module), *arguments]


def say_version(peer: str) -> str:
    """Import the library, and give its version."""
    library = load(peer)
    importlib.import_module(library.module)
    return version(library.distribution)


def probe(peer: str, name: str) -> Finding:
    """Put one probe to a library."""
    from conformance.probes import PROBES

    return PROBES[name].put_to(load(peer), asyncio.run)


def main(peer: str, name: str = "") -> None:
    """Put a probe to the library that the module ``peer`` adapts; without one say its version."""
    answer = asdict(probe(peer, name)) if name else say_version(peer)
    print("\n" + json.dumps(answer))
