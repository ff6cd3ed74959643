"""What ends a run before its input does: errors, readers that leave, and signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from microbatch.cli.interrupts import Interrupts
from tests.cli.command import invoke, posix, process, run

if TYPE_CHECKING:
    from pathlib import Path


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
