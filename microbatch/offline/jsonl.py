"""JSON lines: bytes to rows and results to lines; no input or output.

A line ends with a newline, or where the input ends. Every line is a row, and a line that is not
JSON is a row that says why.
"""

import codecs
import json
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, NoReturn, TypeAlias

__all__ = ["MAX_LINE_BYTES", "Failure", "JsonLines", "Row", "Stage", "encode", "failure"]

MAX_LINE_BYTES = 64 * 1024 * 1024

Stage: TypeAlias = Literal["parse", "handler", "timeout", "encode"]


class Failure(NamedTuple):
    """Say why a row has no result: at which stage, and the error's type and message."""

    stage: Stage
    type: str
    message: str


class Row(NamedTuple):
    """One line of the input: its value, or why it has none."""

    line: int
    """The line's number, from 1."""
    end: int
    """The bytes of the input up to the line's end, its newline included."""
    value: Any
    failure: Failure | None = None


def failure(stage: Stage, error: BaseException) -> Failure:
    """Describe an error; one that can't even be printed is described by its type alone."""
    try:
        message = str(error)
    except Exception:
        message = "(the error has no readable message)"
    return Failure(stage, type(error).__name__, message)


class JsonLines:
    """Turn blocks of bytes into rows, however the blocks cut the lines.

    Holds no more than one line, and of that no more than ``max_line_bytes``: a longer line is a
    failed row. A byte order mark at the very start is skipped.
    """

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        if max_line_bytes < 1:
            raise ValueError(f"max_line_bytes must be >= 1, got {max_line_bytes!r}")
        self._most = max_line_bytes
        self._pieces: list[bytes] = []
        self._size = 0  # of the line so far, what is not kept included
        self._line = 0
        self._end = 0

    def feed(self, block: bytes) -> Iterator[Row]:
        """Yield the rows that this block completes; use them up before the next block is fed."""
        first, *others = block.split(b"\n")
        self._add(first)
        for piece in others:
            yield self._row(newline=1)
            self._add(piece)

    def finish(self) -> Iterator[Row]:
        """Yield the last row, if the input ends without a newline."""
        if self._size:
            yield self._row(newline=0)

    def _add(self, piece: bytes) -> None:
        if self._size <= self._most:
            self._pieces.append(piece[: self._most + 1 - self._size])
        self._size += len(piece)

    def _row(self, *, newline: int) -> Row:
        text, size = b"".join(self._pieces), self._size
        self._pieces, self._size = [], 0
        self._line += 1
        self._end += size + newline
        try:
            if size > self._most:
                raise ValueError(f"the line must have at most {self._most} bytes, got {size}")
            value = parse(text.removeprefix(codecs.BOM_UTF8) if self._line == 1 else text)
        except json.JSONDecodeError as error:
            message = f"{error.msg}: column {error.colno}"
            return Row(self._line, self._end, None, Failure("parse", "JSONDecodeError", message))
        except (ValueError, RecursionError) as error:
            return Row(self._line, self._end, None, failure("parse", error))
        return Row(self._line, self._end, value)


def parse(text: bytes) -> Any:
    """Give the value of one line; raises ValueError or RecursionError for what is not JSON."""
    if not text.strip():
        raise ValueError("the line is blank")
    return decoder.decode(text.decode())


def refuse_constant(name: str) -> NoReturn:
    """Refuse what Python's decoder takes and JSON does not have: NaN and the infinities."""
    raise ValueError(f"{name} is not JSON")


def plain(value: Any) -> Any:
    """Give a numpy scalar or array, or what has its ``tolist()``, as plain Python."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a result must be JSON or have tolist(), got {type(value).__qualname__}")


decoder = json.JSONDecoder(parse_constant=refuse_constant)
encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=plain)
ascii_encoder = json.JSONEncoder(allow_nan=False, default=plain)


def encode(line: int, outcome: Any) -> tuple[bytes, Failure | None]:
    """Give the output line for a result or a Failure, and the Failure that the line tells of.

    A result that JSON can't hold is a failure of stage ``encode``; nothing is raised.
    """
    if not isinstance(outcome, Failure):
        try:
            return to_line(outcome), None
        except Exception as error:  # whatever the result's own tolist() raises, too
            outcome = failure("encode", error)
    return to_line({"error": {"line": line, **outcome._asdict()}}), outcome


def to_line(value: Any) -> bytes:
    """Give a value as one line of UTF-8; raises what the encoder raises."""
    try:
        return encoder.encode(value).encode() + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair, which only an escape can carry
        return ascii_encoder.encode(value).encode() + b"\n"
