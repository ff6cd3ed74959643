"""Lines to rows and results to lines: one row for each line, however the bytes come."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microbatch.offline.jsonl import Failure, JsonLines, Row, encode, failure

if TYPE_CHECKING:
    from collections.abc import Iterable

PIECES = [b"\n", b"\r\n", b"1", b"-0", b'{"a": [1.5, null]}', b'"w\xc3\xb6"', b"\xff", b" ", b"NaN"]

TOO_DEEP = "Stack overflow" if sys.version_info >= (3, 14) else "maximum recursion depth exceeded"

texts = st.one_of(st.binary(), st.lists(st.sampled_from(PIECES)).map(b"".join))


def rows_of(blocks: Iterable[bytes], **options: int) -> list[Row]:
    lines = JsonLines(**options)
    rows = [row for block in blocks for row in lines.feed(block)]
    return rows + list(lines.finish())


def one(text: bytes, **options: int) -> Row:
    (row,) = rows_of([text], **options)
    return row


@st.composite
def texts_in_blocks(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    text = draw(texts)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)))))
    places = zip([0, *cuts], [*cuts, len(text)], strict=True)
    return text, [text[start:end] for start, end in places]


@settings(deadline=None, max_examples=60)
@given(texts_in_blocks())
def test_any_blocks_give_the_rows_of_a_naive_split(case: tuple[bytes, list[bytes]]) -> None:
    text, blocks = case
    naive = text.split(b"\n")
    if not naive[-1]:
        naive.pop()
    rows = rows_of(blocks)
    assert [row.line for row in rows] == list(range(1, len(naive) + 1))
    assert [row.end for row in rows] == [
        min(len(b"\n".join(naive[: n + 1])) + 1, len(text)) for n in range(len(naive))
    ]
    for row, line in zip(rows, naive, strict=True):
        alone = one(line + b"\n") if row.line == 1 else rows_of([b"\n" + line + b"\n"])[1]
        assert repr(row[2:]) == repr(alone[2:])


@settings(deadline=None, max_examples=60)
@given(texts_in_blocks(), st.integers(1, 8))
def test_a_limit_fails_the_longer_lines_and_no_others(
    case: tuple[bytes, list[bytes]], most: int
) -> None:
    text, blocks = case
    for row, free in zip(rows_of(blocks, max_line_bytes=most), rows_of([text]), strict=True):
        start = text.rfind(b"\n", 0, row.end - 1) + 1
        size = len(text[start : row.end].removesuffix(b"\n"))
        if size > most:
            message = f"the line must have at most {most} bytes, got {size}"
            assert row[:2] == free[:2]
            assert row.failure == Failure("parse", "ValueError", message)
        else:
            assert repr(row) == repr(free)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        )
    )
)
def test_what_is_written_is_read_back_the_same(values: list[Any]) -> None:
    text = b"".join(encode(number, value)[0] for number, value in enumerate(values, 1))
    assert text.count(b"\n") == len(values)
    assert [(row.value, row.failure) for row in rows_of([text])] == [(v, None) for v in values]


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        (b"", "ValueError", "the line is blank"),
        (b" \t\r", "ValueError", "the line is blank"),
        (b'{"a":', "JSONDecodeError", "Expecting value: column 6"),
        (b"1 2", "JSONDecodeError", "Extra data: column 3"),
        (b"\xff", "UnicodeDecodeError", "can't decode byte 0xff in position 0"),
        (b"[NaN]", "ValueError", "NaN is not JSON"),
        (b"-Infinity", "ValueError", "-Infinity is not JSON"),
        (b"9" * (sys.get_int_max_str_digits() + 1), "ValueError", "Exceeds the limit"),
        (b"[" * 200_000, "RecursionError", TOO_DEEP),
    ],
    ids=["empty", "blank", "cut", "two", "utf-8", "nan", "infinity", "huge", "deep"],
)
def test_a_malformed_line_is_a_row_that_says_why(line: bytes, kind: str, message: str) -> None:
    row, after = rows_of([line + b"\n7\n"])
    assert row.failure is not None
    assert (row.line, row.value, row.failure.stage, row.failure.type) == (1, None, "parse", kind)
    assert message in row.failure.message
    assert (after.line, after.value) == (2, 7)


def test_windows_line_ends_and_a_byte_order_mark_are_no_matter() -> None:
    rows = rows_of([b'\xef\xbb\xbf{"a": 1}\r\n2\r\n3'])
    assert [row.value for row in rows] == [{"a": 1}, 2, 3]


def test_a_byte_order_mark_further_down_is_not_json() -> None:
    assert rows_of([b"1\n\xef\xbb\xbf2\n"])[1].failure is not None


def test_integers_stay_integers_of_any_size() -> None:
    assert one(b"123456789012345678901234567890").value == 123456789012345678901234567890
    assert encode(1, 12345678901234567890)[0] == b"12345678901234567890\n"


def test_a_limit_must_leave_room_for_a_line() -> None:
    with pytest.raises(ValueError, match="max_line_bytes must be >= 1, got 0"):
        JsonLines(0)


# --------------------------------------------------------------------------------------- encoding
class Scalar:
    def __init__(self, value: object) -> None:
        self.value = value

    def tolist(self) -> object:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def test_unicode_is_kept() -> None:
    assert encode(1, "wörld ☃") == ('"wörld ☃"\n'.encode(), None)


def test_half_a_surrogate_pair_is_escaped() -> None:
    value = one(b'"\\ud800"').value
    assert encode(1, value) == (b'"\\ud800"\n', None)


def test_what_has_tolist_is_written_as_that() -> None:
    assert encode(1, {"a": [Scalar(3), Scalar([1.5])]})[0] == b'{"a": [3, [1.5]]}\n'


def test_numpy_is_written_as_plain_numbers() -> None:
    np = pytest.importorskip("numpy")
    result = {"array": np.arange(4).reshape(2, 2), "scalar": np.float32(0.5), "bool": np.True_}
    assert json.loads(encode(1, result)[0]) == {
        "array": [[0, 1], [2, 3]],
        "scalar": 0.5,
        "bool": True,
    }


def endless() -> list[object]:
    inner: list[object] = []
    inner.append(inner)
    return inner


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (object(), "TypeError", "a result must be JSON or have tolist(), got object"),
        (math.nan, "ValueError", "Out of range float values are not JSON compliant"),
        ({(1, 2): 3}, "TypeError", "keys must be str, int, float, bool or None, not tuple"),
        (endless(), "ValueError", "Circular reference detected"),
        (Scalar(KeyError("gone")), "KeyError", "'gone'"),
    ],
    ids=["object", "nan", "key", "circle", "tolist"],
)
def test_what_json_cannot_hold_is_an_error_in_its_place(
    value: object, kind: str, message: str
) -> None:
    line, failed = encode(4, value)
    assert failed is not None
    assert failed[:2] == ("encode", kind)
    assert failed.message.startswith(message)
    assert json.loads(line) == {
        "error": {"line": 4, "stage": "encode", "type": kind, "message": failed.message}
    }


def test_a_failure_is_written_with_line_and_stage_first() -> None:
    line, failed = encode(3, Failure("parse", "ValueError", "bäd"))
    assert failed == Failure("parse", "ValueError", "bäd")
    expected = '{"error": {"line": 3, "stage": "parse", "type": "ValueError", "message": "bäd"}}\n'
    assert line.decode() == expected


def test_an_error_that_cannot_be_printed_is_described_all_the_same() -> None:
    expected = Failure("handler", "Unprintable", "(the error has no readable message)")
    assert failure("handler", Unprintable()) == expected
