"""The command line, in this process and as a process of its own, with pipes and signals."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from click.testing import CliRunner, Result

from microbatch import cli
from microbatch.cli import run as _  # noqa: F401 - its module is looked up by name below
from microbatch.cli.app import app
from microbatch.cli.interrupts import Interrupts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND = [sys.executable, "-c", "from microbatch.cli import main; main()"]

HANDLERS = """
import asyncio, os, signal, sys

def same(rows):
    return rows

async def double(rows):
    return [2 * row for row in rows]

def odd(rows):
    return [ValueError("odd") if row % 2 else row for row in rows]

def chatty(rows):
    print("working")
    return rows

def leaving(rows):
    sys.exit(0)

async def interrupted(rows):
    if not rows[0]:
        signal.raise_signal(signal.SIGINT)
    return rows

def waiting(rows):
    for row in rows:
        if row == "wait":
            print("waiting", flush=True)
            with open("go") as go:
                go.read()
    return rows
"""

posix = pytest.mark.skipif(os.name != "posix", reason="has no such signals and pipes")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Be in a folder with some handlers and no more, and forget what is imported from it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "handlers.py").write_text(HANDLERS)
    yield tmp_path
    for name, module in [*sys.modules.items()]:
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def invoke(*arguments: str, given: str | bytes = b"") -> Result:
    return CliRunner().invoke(app, ["run", *arguments], input=given, prog_name="microbatch")


def run(handler: str, *arguments: str, given: str | bytes = b"") -> Result:
    return invoke("-", "--handler", f"handlers:{handler}", *arguments, given=given)


class Process:
    """The command as a process with pipes, killed at the end."""

    def __init__(self, *arguments: str) -> None:
        self.popen = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )

    def write(self, text: bytes) -> None:
        self.popen.stdin.write(text)  # type: ignore[union-attr]

    def line(self) -> bytes:
        return self.popen.stdout.readline()  # type: ignore[union-attr]

    def error_line(self) -> bytes:
        return self.popen.stderr.readline()  # type: ignore[union-attr]

    def rest(self) -> tuple[bytes, bytes, int]:
        output, errors = self.popen.communicate()
        return output, errors, self.popen.returncode


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[Process]:
    started = Process(*arguments)
    try:
        yield started
    finally:
        started.popen.kill()
        started.popen.communicate()


# ------------------------------------------------------------------------------------------- rows
def test_lines_go_in_and_come_out_in_order(here: Path) -> None:
    (here / "rows.jsonl").write_text("".join(f"{number}\n" for number in range(1000)))
    result = invoke("rows.jsonl", "--handler", "handlers:double", "--max-batch-size", "7")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "".join(f"{2 * number}\n" for number in range(1000))


def test_the_example_of_the_help_is_true(here: Path) -> None:
    (here / "shout.py").write_text(
        'def handle(rows):\n    return [row["text"].upper() for row in rows]\n'
    )
    (here / "rows.jsonl").write_text(
        '{"text": "hello"}\n{"text":\n{"text": "wörld"}\n', encoding="utf-8"
    )
    result = invoke("rows.jsonl", "--handler", "shout:handle")
    assert result.exit_code == 1
    first, second, third = result.stdout.splitlines()
    assert (first, third) == ('"HELLO"', '"WÖRLD"')
    error = json.loads(second)["error"]
    assert (error["line"], error["stage"], error["type"]) == (2, "parse", "JSONDecodeError")
    assert result.stderr == (
        "microbatch: 1 of 3 rows failed (1 parse); "
        "the first: line 2: JSONDecodeError: Expecting value: column 9\n"
    )


def test_failed_rows_are_counted_by_stage() -> None:
    result = run("odd", given="0\n1\nx\n3\n")
    assert result.exit_code == 1
    assert result.stderr == (
        "microbatch: 3 of 4 rows failed (2 handler, 1 parse); the first: line 2: ValueError: odd\n"
    )


def test_quiet_leaves_the_exit_code_alone() -> None:
    result = run("odd", "--quiet", given="1\n")
    assert (result.exit_code, result.stderr) == (1, "")


def test_the_output_can_be_a_file(here: Path) -> None:
    result = run("double", "--output", "out.jsonl", given="1\n2")
    assert (result.exit_code, result.stdout) == (0, "")
    assert (here / "out.jsonl").read_text() == "2\n4\n"


def test_what_the_handler_prints_goes_to_stderr() -> None:
    result = run("chatty", given="1\n")
    assert (result.stdout, result.stderr) == ("1\n", "working\n")


def test_what_the_handler_prints_is_left_alone_where_the_output_is_a_file() -> None:
    result = run("chatty", "--output", "out.jsonl", given="1\n")
    assert (result.stdout, result.stderr) == ("working\n", "")


def test_every_option_reaches_the_batcher() -> None:
    options = ["--max-latency", "0.5", "--max-concurrent-batches", "2", "--timeout", "60"]
    result = run("same", *options, "--capacity", "5", "--max-line-bytes", "3", given="1\n1234\n")
    assert result.exit_code == 1
    assert "the line must have at most 3 bytes, got 4" in result.stdout


# --------------------------------------------------------------------------- several parameters
PAIRS = """
from microbatch import batched

@batched()
def joined(a, b="none"):
    return [f"{one}|{two}" for one, two in zip(a, b, strict=True)]

class Joiner:
    @batched()
    def joined(self, a, b):
        return joined.__wrapped__(a, b)

joiner = Joiner()
"""


@pytest.mark.parametrize("handler", ["joined", "joiner.joined"])
def test_rows_are_bound_to_the_parameters_of_the_handler(here: Path, handler: str) -> None:
    (here / "pairs.py").write_text(PAIRS)
    given = '{"b":2,"a":1}\n[3,4]\n'
    result = invoke("-", "--handler", f"pairs:{handler}", given=given)
    assert (result.exit_code, result.stdout) == (0, '"1|2"\n"3|4"\n')


def test_rows_that_do_not_fit_the_parameters_are_errors(here: Path) -> None:
    (here / "pairs.py").write_text(PAIRS)
    rows = ['{"a":1}', '{"b":2}', '{"a":1,"c":3}', "[1,2,3]", '"ab"', "null"]
    result = invoke("-", "--handler", "pairs:joined", given="\n".join(rows))
    first, *others = map(json.loads, result.stdout.splitlines())
    assert (result.exit_code, first) == (1, "1|none")
    assert {(each["error"]["stage"], each["error"]["type"]) for each in others} == {
        ("handler", "TypeError")
    }
    assert [each["error"]["message"] for each in others] == [
        "joined() missing 1 required positional argument: 'a'",
        "joined() got an unexpected keyword argument 'c'",
        "joined() takes from 1 to 2 positional arguments but 3 were given",
        "a row must be an object or an array for the parameters a and b, got 'ab'",
        "a row must be an object or an array for the parameters a and b, got None",
    ]


def test_a_method_without_its_instance_is_wrong_usage(here: Path) -> None:
    (here / "pairs.py").write_text(PAIRS)
    result = invoke("-", "--handler", "pairs:Joiner.joined", given="[1,2]\n")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'Joiner.joined' is a method: use it through an instance" in result.stderr


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
    expected = f"microbatch needs {package}: pip install 'microbatch[cli]'\n"
    assert capsys.readouterr() == ("", expected)


def test_another_missing_module_is_a_bug_and_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_cli(monkeypatch)
    monkeypatch.setitem(sys.modules, "microbatch.offline.run", None)  # type: ignore[arg-type]
    with pytest.raises(ModuleNotFoundError, match=r"microbatch\.offline\.run"):
        cli.main()


def forget_cli(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("microbatch.cli.")]:
        monkeypatch.delitem(sys.modules, name)


# --------------------------------------------------------------------------------------- progress
@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["microbatch.cli.run"], "is_watched", lambda: True)


@pytest.mark.usefixtures("watched")
def test_progress_shows_rows_and_share_of_a_file(here: Path) -> None:
    (here / "rows.jsonl").write_text("1\n" * 1500)
    result = invoke("rows.jsonl", "--handler", "handlers:odd")
    assert "100% 1,500 rows" in result.stderr
    assert "1,500 failed" in result.stderr


@pytest.mark.usefixtures("watched")
def test_progress_shows_rows_of_a_pipe() -> None:
    result = run("same", given="1\n2\n")
    assert "2 rows" in result.stderr
    assert "%" not in result.stderr


@pytest.mark.usefixtures("watched")
def test_quiet_shows_no_progress() -> None:
    assert run("same", "--quiet", given="1\n").stderr == ""


# ------------------------------------------------------------------------------------- early ends
def test_a_handler_that_exits_ends_the_run_and_never_quietly() -> None:
    result = run("leaving", given="1\n")
    assert result.exit_code == 1
    assert result.stderr == (
        "microbatch: the handler raised SystemExit: "
        "0 lines written, the answers to the first 0 lines of the input\n"
    )


def test_an_input_that_cannot_be_read_on_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    files = sys.modules["microbatch.offline.files"]

    def broken(reader: object) -> OSError:
        return OSError(5, "Input/output error")

    monkeypatch.setattr(files.BlockReader, "_read_or_error", broken)
    result = run("same", given="1\n")
    assert result.exit_code == 1
    assert "reading failed: Input/output error: 0 lines written" in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="has no such device")
def test_an_output_that_is_full_is_an_error() -> None:
    result = run("same", "-o", "/dev/full", given="1\n")
    assert result.exit_code == 1
    assert "writing failed: No space left on device: 0 lines written" in result.stderr


def test_a_broken_pipe_is_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(writer: object, text: bytes) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(sys.modules["microbatch.offline.files"].LineWriter, "_write_all", broken)
    result = run("same", given="x\n")
    assert (result.exit_code, result.output) == (141, "")


@posix
def test_a_reader_that_goes_away_is_no_news(here: Path) -> None:
    os.mkfifo(here / "out")
    with process("run", "-", "--handler", "handlers:same", "-o", "out") as command:
        with (here / "out").open("rb") as reader:
            command.write(b"1\n")
            assert reader.readline() == b"1\n"
        command.write(b"2\n")
        assert command.rest() == (b"", b"", 141)


# ---------------------------------------------------------------------------------------- signals
def test_an_interrupt_finishes_the_rows_under_way() -> None:
    given = "".join(f"{number}\n" for number in range(20_000))  # more than is read at once
    result = run("interrupted", given=given)
    assert result.exit_code == 130
    lines = result.stdout.splitlines()
    assert given.startswith(result.stdout)
    assert 0 < len(lines) <= 256  # as many as may be under way
    assert result.stderr == (
        "microbatch: finishing the rows under way; stop at once with Ctrl-C again\n"
        f"microbatch: stopped: {len(lines):,} lines written, "
        f"the answers to the first {len(lines):,} lines of the input\n"
    )


def test_an_interrupt_leaves_the_other_rows_of_a_block_alone() -> None:
    given = "".join(f"{number}\n" for number in range(6000))  # one block, and many windows
    result = run("interrupted", "--max-batch-size", "8", given=given)
    assert result.exit_code == 130
    assert result.stdout == "".join(f"{number}\n" for number in range(32))
    assert "stopped: 32 lines written, the answers to the first 32 lines" in result.stderr


def test_an_interrupt_after_the_last_row_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = sys.modules["microbatch.offline.run"]
    monkeypatch.setattr(runs.Run, "stop", lambda run: None)
    assert run("interrupted", given="0\n").exit_code == 0


def test_a_second_interrupt_stops_at_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    run("interrupted", "--max-batch-size", "1", given="0\n0\n")
    assert codes == [130]
    assert "microbatch: stopped at once: " in capfd.readouterr().err


def test_an_interrupt_before_the_first_row_says_nothing(here: Path) -> None:
    (here / "slow.py").write_text("raise KeyboardInterrupt")
    assert invoke("-", "--handler", "slow:f").exit_code == 130


def closing_loop() -> contextlib.closing[asyncio.AbstractEventLoop]:
    return contextlib.closing(asyncio.new_event_loop())


def test_signals_that_were_ignored_stay_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with closing_loop() as loop, Interrupts(loop, pytest.fail, pytest.fail):
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_signals_are_given_back() -> None:
    calls: list[tuple[str, int]] = []
    before = signal.getsignal(signal.SIGINT)
    with (
        closing_loop() as loop,
        Interrupts(loop, lambda n: calls.append(("first", n)), lambda n: calls.append(("next", n))),
    ):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGINT):
            signal.raise_signal(number)
    assert calls == [("first", 15), ("next", 2), ("next", 2)]
    assert signal.getsignal(signal.SIGINT) is before


@posix
def test_a_line_that_is_piped_is_answered_at_once() -> None:
    with process("run", "-", "--handler", "handlers:double") as command:
        for number in range(3):
            command.write(b"%d\n" % number)
            assert command.line() == b"%d\n" % (2 * number)
        command.write(b"7")
        assert command.rest() == (b"14\n", b"", 0)


@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_wait_for_more_lines(number: int, code: int) -> None:
    with process("run", "-", "--handler", "handlers:same") as command:
        command.write(b"1\n2")
        assert command.line() == b"1\n"
        command.popen.send_signal(number)
        assert b"finishing the rows under way" in command.error_line()
        assert command.popen.wait() == code  # though stdin is still open
        assert b"stopped: 1 lines written" in command.error_line()


@posix
def test_an_interrupt_waits_for_the_handler(here: Path) -> None:
    os.mkfifo(here / "go")
    with process("run", "-", "--handler", "handlers:waiting") as command:
        command.write(b'"wait"\n')
        assert command.error_line() == b"waiting\n"
        command.popen.send_signal(signal.SIGINT)
        assert b"finishing the rows under way" in command.error_line()
        (here / "go").write_text("")
        output, errors, code = command.rest()
        assert (output, code) == (b'"wait"\n', 130)
        assert b"stopped: 1 lines written" in errors


@posix
def test_a_second_interrupt_does_not_wait_for_the_handler(here: Path) -> None:
    os.mkfifo(here / "go")
    with process("run", "-", "--handler", "handlers:waiting") as command:
        command.write(b"1\n")
        assert command.line() == b"1\n"
        command.write(b'"wait"\n')
        assert command.error_line() == b"waiting\n"
        command.popen.send_signal(signal.SIGINT)
        assert b"finishing the rows under way" in command.error_line()
        command.popen.send_signal(signal.SIGINT)
        output, errors, code = command.rest()
        assert (output, code) == (b"", 130)
        assert errors == (
            b"microbatch: stopped at once: "
            b"1 lines written, the answers to the first 1 lines of the input\n"
        )


@posix
def test_progress_on_a_terminal_leaves_the_output_clean() -> None:
    import pty

    outer, inner = pty.openpty()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, outer)
        arguments = [*COMMAND, "run", "-", "--handler", "handlers:chatty"]
        given: Any = {"input": b"1\n2\n", "stdout": subprocess.PIPE, "stderr": inner}
        done = subprocess.run(arguments, **given, check=True)
        os.close(inner)
        assert done.stdout == b"1\n2\n"
        shown = os.read(outer, 65536)
    assert b"rows/s" in shown
    assert b"working" in shown
