"""A pytest plugin that runs the Python blocks of Markdown files: `pytest -p code_blocks README.md`.

The blocks of a file share one namespace, as if they stood in one program one after the other.
"""

from pathlib import Path
from typing import Any

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

ROOT = Path(__file__).parents[2]


def start_program(namespace: dict[str, Any]) -> None:
    namespace["__name__"] = "__main__"


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    path=str(ROOT),
    patterns=["*.md"],
    setup=start_program,
).pytest()
