"""Wrong usage, the help, and extras that are missing."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from click.testing import CliRunner

from microbatch import cli
from microbatch.cli.app import app
from tests.cli.command import COMMAND, invoke, posix, run

if TYPE_CHECKING:
    from pathlib import Path


# ------------------------------------------------------------------------------------------ usage
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-", "--handler", "handlers"], "handler must be module:function, got 'handlers'"),
        (["-", "--handler", "none:f"], "cannot import 'none': ModuleNotFoundError"),
        (["-", "--handler", "handlers:none"], "module 'handlers' has no attribute 'none'"),
        (["-", "--handler", "handlers:sys"], "handler must be callable, got <module 'sys'"),
        (["-", "--handler", "handlers:same", "--max-batch-size", "0"], "max_batch_size must be >="),
        (["-", "--handler", "handlers:same", "--max-latency", "nan"], "max_latency must be a fini"),
        (["-", "--handler", "handlers:same", "--max-line-bytes", "0"], "max_line_bytes must be >"),
        (["none.jsonl", "--handler", "handlers:same"], "none.jsonl: No such file or directory"),
        (["-", "--handler", "handlers:same", "-o", "no/out"], "no/out: No such file or directory"),
        (["-", "--handler", "handlers:same", "-o", "handlers.py"], "handlers.py exists; --force"),
        (["-"], "Missing option '--handler'"),
    ],
)
def test_wrong_usage_is_told_and_exits_with_2(arguments: list[str], message: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_wrong_usage_leaves_no_output_behind(here: Path) -> None:
    assert run("same", "--timeout", "0", "-o", "out.jsonl").exit_code == 2
    assert not (here / "out.jsonl").exists()


def test_an_existing_output_is_overwritten_if_forced(here: Path) -> None:
    (here / "out.jsonl").write_text("old\nold\n")
    assert run("same", "-o", "out.jsonl", "--force", given="1\n").exit_code == 0
    assert (here / "out.jsonl").read_text() == "1\n"


def test_the_output_is_never_the_input(here: Path) -> None:
    (here / "rows.jsonl").write_text("1\n")
    arguments = ["rows.jsonl", "--handler", "handlers:same", "--force", "-o", "./rows.jsonl"]
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert "the output must not be the input" in result.stderr
    assert (here / "rows.jsonl").read_text() == "1\n"


@posix
def test_the_output_is_never_the_input_even_if_the_shell_opened_both(here: Path) -> None:
    path = here / "rows.jsonl"
    path.write_text("1\n")
    with path.open("rb") as source, path.open("ab") as sink:
        done = subprocess.run(
            [*COMMAND, "run", "-", "--handler", "handlers:same"],
            stdin=source,
            stdout=sink,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, path.read_text()) == (2, "1\n")
    assert b"the output must not be the input" in done.stderr


def test_the_help_teaches() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    for part in ("--handler shout:handle", '"stage": "parse"', "Exit codes:", "130", "looks alike"):
        assert part in " ".join(result.stdout.split())


def test_the_version_is_that_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", {"microbatch": "1.2.3"}.__getitem__)
    assert "1.2.3" in CliRunner().invoke(app, ["--version"]).stdout


# --------------------------------------------------------------------------------- missing extras
def test_the_command_starts_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["microbatch", "--help"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0


@pytest.mark.parametrize("missing", ["click", "rich.console"])
def test_without_its_extra_the_command_says_what_to_install(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_cli(monkeypatch)
    monkeypatch.setitem(sys.modules, missing, None)  # type: ignore[arg-type]
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    package = missing.partition(".")[0]
    expected = (
        f"microbatch needs {package}: pip install click rich, or microbatch with its extra 'cli'\n"
    )
    assert capsys.readouterr() == ("", expected)


def test_another_missing_module_is_a_bug_and_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_cli(monkeypatch)
    monkeypatch.setitem(sys.modules, "microbatch.offline.run", None)  # type: ignore[arg-type]
    with pytest.raises(ModuleNotFoundError, match=r"microbatch\.offline\.run"):
        cli.main()


def forget_cli(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("microbatch.cli.")]:
        monkeypatch.delitem(sys.modules, name)
