"""Rows go in and their answers come out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.command import invoke, posix, process, run

if TYPE_CHECKING:
    from pathlib import Path


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


@posix
def test_a_line_that_is_piped_is_answered_at_once() -> None:
    with process("run", "-", "--handler", "handlers:double") as command:
        for number in range(3):
            command.write(b"%d\n" % number)
            assert command.line() == b"%d\n" % (2 * number)
        command.write(b"7")
        assert command.rest() == (b"14\n", b"", 0)


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
