"""The small examples, run as users do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"


def test_lookups_print_what_their_page_says(run_example: Callable[..., str]) -> None:
    output = run_example("lookups")
    assert output.startswith("one by one:  201 queries\nin batches:  2 queries\n")
    assert output in (HOW_TO / "lookups.md").read_text()


def test_tenants_are_kept_apart_and_none_takes_all(run_example: Callable[..., str]) -> None:
    line = r"(\w+) +([\d,]+) events in +(\d+) transactions, the first was number (\d+)\n"
    rows = re.findall(line, run_example("tenants"))
    assert {row[:3] for row in rows} == {
        ("noisy", "2,000", "20"),
        ("clinic", "5", "1"),
        ("bakery", "5", "1"),
        ("florist", "5", "1"),
    }
    places = [int(row[3]) for row in rows]
    assert places == sorted(set(places))
    assert places[0] == 1


def test_batches_of_like_lengths_are_padded_less(run_example: Callable[..., str]) -> None:
    pytest.importorskip("sklearn")
    output = run_example("tokens")
    rows = re.findall(r"^(.+?)  +(\d+) +([\d,]+) +(\d+)%$", output, re.MULTILINE)
    assert [title for title, *_ in rows] == [
        "64 passages",
        "1,024 tokens",
        "1,024 tokens, of like lengths",
        "the same, and padding weighs too",
    ]
    tables = [int(row[2].replace(",", "")) for row in rows]
    assert tables == sorted(tables, reverse=True)
    assert tables[-1] <= 1024 < tables[0]
    paddings = [int(row[3]) for row in rows]
    assert paddings[2] < paddings[1] < paddings[0]
    assert "weight must be <= max_batch_weight (1024)" in output


def test_steps_are_sooner_than_batches_as_their_page_says(run_example: Callable[..., str]) -> None:
    output = run_example("generation")
    rows = re.findall(r"^(.+?)  +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)$", output, re.MULTILINE)
    whole, streamed, stepped = [float(row[1]) for row in rows]
    assert whole > 400 * stepped
    assert streamed > 100 * stepped
    assert output in (HOW_TO / "generation.md").read_text()


def test_closed_loops_settle_as_their_page_says(run_example: Callable[..., str]) -> None:
    output = run_example("closed_loops")
    pattern = r"^([\d,]+ \w+(?: \w+)?) +(\S+) +([\d,]+) +([\d.]+) +([\d.]+) +[\d.]+  \w+$"
    rows = re.findall(pattern, output, re.MULTILINE)
    waits = {row[:2]: float(row[3]) for row in rows}
    sizes = {row[:2]: float(row[4]) for row in rows}
    assert len(rows) == 20
    assert sizes["64 over HTTP", "0.0"] < 33
    assert sizes["64 over HTTP", "0.005"] > 60
    assert sizes["64 over HTTP", "'auto'"] > 55
    assert sizes["64 in process", "0.0"] > 60
    assert waits["40 over HTTP", "'auto'"] < waits["40 over HTTP", "0.005"]
    for alone in ("1 over HTTP", "1,500 strangers"):
        assert waits[alone, "'auto'"] == waits[alone, "0.0"] < waits[alone, "0.005"]
    assert output in (HOW_TO / "closed-loops.md").read_text()
