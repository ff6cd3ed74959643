"""Probes in processes of their own: what they find comes back, and they never stay."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conformance import environments, results
from conformance.environments import InstallationError
from conformance.execution import Done, execute
from conformance.finding import Finding
from conformance.peers import OURS, module_of
from conformance.results import examine, imported, put

LONG = "import time; time.sleep(3600)"

PEERS = """
import time
from conformance.adapter import Adapter

class Hanging(Adapter):
    distribution, module = "microbatch", "microbatch"
    def __init__(self, *_, **__):
        time.sleep(3600)

class Crashing(Hanging):
    def __init__(self, *_, **__):
        raise RuntimeError("no such luck")

class Elsewhere(Hanging):
    module = "a_library_that_nobody_has"
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules, one for each fake library."""
    for name in ("Hanging", "Crashing", "Elsewhere"):
        (tmp_path / f"{name.lower()}.py").write_text(f"{PEERS}\nPeer = {name}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_a_finding_comes_back_from_the_process_of_a_probe() -> None:
    finding = put(sys.executable, module_of(OURS), "handler-raises", 20)
    assert finding == Finding("pass", "ValueError, 3 objects")


@pytest.mark.usefixtures("fake")
def test_a_probe_that_hangs_is_killed() -> None:
    finding = put(sys.executable, "hanging", "handler-raises", 0.3)
    assert finding == Finding("fail", "hang: killed after 0.3 s")


@pytest.mark.usefixtures("fake")
def test_a_probe_that_crashes_fails() -> None:
    finding = put(sys.executable, "crashing", "handler-raises", 20)
    assert finding == Finding("fail", "crash: RuntimeError: no such luck")


@pytest.mark.usefixtures("fake")
def test_a_library_that_cannot_be_imported_says_why() -> None:
    with pytest.raises(InstallationError, match="No module named 'a_library_that_nobody_has'"):
        imported(sys.executable, "elsewhere")


def test_what_a_killed_command_has_started_is_killed_too() -> None:
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {LONG!r}])"
    # The inner process holds the pipes open: without its end this would not return.
    assert execute([sys.executable, "-c", nested], 0.3).code is None


def test_an_interrupt_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[str]] = []

    def interrupted(process: "subprocess.Popen[str]", **_: Any) -> None:
        started.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute([sys.executable, "-c", LONG], 20)
    assert [process.returncode for process in started] == [-signal.SIGKILL]


def test_the_reason_of_a_failure_is_the_line_that_says_most() -> None:
    assert Done(1, "", "Trace\n  back\nKeyError: 1\n\n").reason == "KeyError: 1"
    assert Done(1, "", "ERROR: No matching x\n[notice] update\n").reason == "ERROR: No matching x"
    assert Done(3, "", "").reason == "it ended with status 3 and said nothing"


def test_each_environment_has_a_library_and_what_probes_answer_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[tuple[str, ...]] = []

    def must(*command: str) -> None:
        commands.append(command)
        if "venv" in command:
            Path(command[-1]).mkdir()

    monkeypatch.setattr(environments, "must", must)
    monkeypatch.setattr(environments, "CACHE", tmp_path)
    python = environments.prepare("smartbatch", fresh=False)
    made, *installed = commands
    assert made[0] == sys.executable
    assert {command[0] for command in installed} == {python}
    assert [command[6:] for command in installed] == [("--no-deps", "smartbatch"), ("pandas",)]
    assert environments.prepare("smartbatch", fresh=False) == python
    assert len(commands) == 3


def test_a_library_that_cannot_be_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *, fresh: bool) -> str:
        raise InstallationError("ERROR: not for this Python")

    monkeypatch.setattr(results, "prepare", refuse)
    told: list[str] = []
    result = examine("aiomisc", ["idle"], limit=1, fresh=False, tell=told.append)
    assert (result.missing, result.findings) == ("ERROR: not for this Python", {})
    assert told == [
        "aiomisc.aggregate: installing",
        "aiomisc.aggregate: left out: ERROR: not for this Python",
    ]


def test_a_library_is_examined_with_the_python_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "prepare", lambda name, *, fresh: sys.executable)
    told: list[str] = []
    result = examine(OURS, ["next-after-failure"], limit=20, fresh=False, tell=told.append)
    assert result.findings == {"next-after-failure": Finding("pass", "answered")}
    assert told[-1] == f"microbatch {result.version}: next-after-failure: pass: answered"
