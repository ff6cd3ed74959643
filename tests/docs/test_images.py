"""The pictures of the documentation are what their scripts draw."""

from __future__ import annotations

import runpy
from pathlib import Path

IMAGES = Path(__file__).parents[2] / "docs" / "images"


def test_the_way_of_an_item_is_what_the_script_draws() -> None:
    drawn = runpy.run_path(str(IMAGES / "way.py"))["draw"]()
    assert drawn == (IMAGES / "way.svg").read_text(encoding="utf-8")
