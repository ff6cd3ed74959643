"""The command line: what is wrong is said before anything takes time."""

from pathlib import Path
from typing import Any

import pytest

import conformance.__main__ as command
from conformance.finding import Finding
from conformance.results import Result


@pytest.fixture(autouse=True)
def examined(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """What was examined, without any process: microbatch fails a probe called idle, if asked."""
    asked: list[tuple[str, list[str]]] = []

    def examine(name: str, probes: list[str], **_: Any) -> Result:
        asked.append((name, [*probes]))
        found = {probe: Finding("fail" if probe == "idle" else "pass", "so") for probe in probes}
        return Result(name, name, "1.0", findings=found)

    monkeypatch.setattr(command, "examine", examine)
    return asked


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peers", "nobody"], "--peers: there is no peer 'nobody'; there are microbatch, async_"),
        (["--peers", ","], "--peers: must name at least one peer, got ','"),
        (["--probes", "idle,odd"], "--probes: there is no probe 'odd'; there are cancel-one, canc"),
        (["--timeout", "0"], "--timeout: must be a number of seconds > 0, got '0'"),
        (["--timeout", "soon"], "--timeout: must be a number of seconds > 0, got 'soon'"),
        (["--output", "no/where.md"], "--output: must be a file in a folder that exists, got 'no/"),
        (["--output", "."], "--output: must be a file in a folder that exists, got '.'"),
    ],
)
def test_a_wrong_argument_is_named(
    arguments: list[str], message: str, examined: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(arguments)
    assert f"error: argument {message}" in capsys.readouterr().err
    assert examined == []


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        command.main(["--help"])
    out = capsys.readouterr().out
    for text in ("late-binding", "strawberry DataLoader", "--fresh", "examples:"):
        assert text in out


def test_a_report_of_a_part_is_printed(
    examined: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--peers", "aiomisc,microbatch", "--probes", "two-loops"]
    assert command.main(arguments) == 0
    assert examined == [("microbatch", ["two-loops"]), ("aiomisc", ["two-loops"])]
    made_by = "`python -m conformance --peers microbatch,aiomisc --probes two-loops`"
    assert made_by in capsys.readouterr().out


def test_a_whole_report_goes_to_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "conformance.md"
    monkeypatch.setattr(command, "PAGE", page)
    assert command.main([]) == 1
    assert "- Made by `python -m conformance`\n" in page.read_text(encoding="utf-8")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"written: {page}\nmicrobatch fails: idle\n")


def test_a_report_goes_where_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "some.md"
    assert command.main(["--peers", "batched", "--output", str(path)]) == 0
    assert path.exists()


def test_microbatch_left_out_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.status([Result("microbatch", "microbatch", missing="no compiler")]) == 1
    assert capsys.readouterr().err == "microbatch fails: no compiler\n"
