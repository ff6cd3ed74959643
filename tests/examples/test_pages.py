"""What the how-to pages quote from the examples is what stands there."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import indent

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "how-to").glob("*.md"))
EXAMPLES = [path.read_text() for path in (ROOT / "examples").glob("*.py")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_quoted_code_is_in_an_example(page: Path) -> None:
    """Blocks that are marked ``py`` are quotations; those that are marked ``python`` are run."""
    for block in re.findall(r"^```py\n(.+?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        quoted = (block, indent(block, "    "))
        assert any(each in example for each in quoted for example in EXAMPLES), block


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_included_files_are_there(page: Path) -> None:
    """A formatter that took the line for code would change it, and nothing would be included."""
    for line in re.findall(r"^--8.*$", page.read_text(), re.MULTILINE):
        path = re.fullmatch(r'--8<-- "(.+)"', line)
        assert path is not None, line
        assert (ROOT / path[1]).is_file()
