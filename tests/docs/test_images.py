"""The pictures of the documentation are what their scripts draw."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

IMAGES = Path(__file__).parents[2] / "docs" / "images"


@pytest.mark.parametrize("name", ["auto", "way"])
def test_a_picture_is_what_its_script_draws(name: str) -> None:
    drawn = runpy.run_path(str(IMAGES / f"{name}.py"))["draw"]()
    assert drawn == (IMAGES / f"{name}.svg").read_text(encoding="utf-8")
