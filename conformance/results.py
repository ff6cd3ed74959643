"""What came out: for each library its version, or why it has none, and its findings."""

import json
import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from conformance import child
from conformance.environments import InstallationError, prepare
from conformance.execution import execute
from conformance.finding import Finding
from conformance.peers import load, module_of

Tell = Callable[[str], None]

IMPORT_LIMIT = 60.0
"""Seconds that an import may take."""


@dataclass
class Result:
    """One library, and what was found; ``missing`` says why nothing was."""

    name: str
    title: str
    version: str = ""
    note: str = ""
    missing: str = ""
    findings: dict[str, Finding] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """Where and when it was."""

    python: str
    machine: str
    date: str

    @classmethod
    def here(cls) -> "Setting":
        """Describe this run."""
        return cls(
            f"{platform.python_implementation()} {platform.python_version()}",
            f"{platform.system()} on {platform.machine()}",
            str(datetime.now(UTC).date()),
        )


def examine(name: str, probes: Iterable[str], *, limit: float, fresh: bool, tell: Tell) -> Result:
    """Install a library, and put probes to it, each in a process of its own."""
    module = module_of(name)
    library = load(module)
    result = Result(name, library.title, note=library.note)
    tell(f"{library.title}: installing")
    try:
        python = prepare(name, fresh=fresh)
        result.version = imported(python, module)
    except InstallationError as reason:
        result.missing = str(reason)
        tell(f"{library.title}: left out: {reason}")
        return result
    for probe in probes:
        finding = put(python, module, probe, limit)
        tell(f"{library.title} {result.version}: {probe}: {finding.verdict}: {finding.seen}")
        result.findings[probe] = finding
    return result


def imported(python: str, module: str) -> str:
    """Give the version of a library that can be imported; raise InstallationError otherwise."""
    done = execute(child.command(python, child.__name__, module), IMPORT_LIMIT)
    if done.code is None:
        raise InstallationError(f"its import took longer than {IMPORT_LIMIT:g} seconds")
    if done.code:
        raise InstallationError(done.reason)
    return str(json.loads(done.output.splitlines()[-1]))


def put(python: str, module: str, probe: str, limit: float) -> Finding:
    """Put one probe to the library that a module adapts, for at most ``limit`` seconds."""
    done = execute(child.command(python, child.__name__, module, probe), limit)
    if done.code is None:
        return Finding("fail", f"hang: killed after {limit:g} s")
    if done.code:
        return Finding("fail", f"crash: {done.reason}")
    return Finding(**json.loads(done.output.splitlines()[-1]))


def say(line: str) -> None:
    """Show progress, out of the way of what is printed."""
    print(line, file=sys.stderr, flush=True)
