"""The reference has each public name, and begins with what is used most."""

from __future__ import annotations

import re
from pathlib import Path

import microbatch

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "reference"
MKDOCS = (ROOT / "mkdocs.yml").read_text()


def names(page: str) -> list[str]:
    return re.findall(r"^::: microbatch\.(\w+)$", (PAGES / page).read_text(), re.MULTILINE)


def pages() -> list[str]:
    """Give the pages of the reference, in the order in which they are read."""
    return re.findall(r"reference/(\S+)$", MKDOCS, re.MULTILINE)


def test_each_public_name_has_one_place() -> None:
    found = [name for page in pages() for name in names(page)]
    modules = {"errors", "testing"}
    assert sorted(set(found) - modules) == sorted(microbatch.__all__)
    assert len(found) == len(set(found))


def test_each_page_can_be_reached() -> None:
    assert sorted(pages()) == sorted(path.name for path in PAGES.glob("*.md"))


def test_it_begins_with_batched_and_batcher() -> None:
    assert pages()[0] == "microbatch.md"
    assert names("microbatch.md")[:2] == ["batched", "Batcher"]
