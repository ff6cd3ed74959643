"""A pytest plugin that runs the Python blocks of Markdown files: `pytest -p code_blocks README.md`.

The blocks of a file share one namespace and one event loop, and may `await` at the top level.
"""

import ast
import asyncio
from pathlib import Path
from typing import Any

from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, SkipParser

ROOT = Path(__file__).parents[2]


def start_loop(namespace: dict[str, Any]) -> None:
    namespace["__name__"] = "__main__"
    namespace["__runner__"] = asyncio.Runner()


def close_loop(namespace: dict[str, Any]) -> None:
    namespace["__runner__"].close()


def run(example: Example) -> None:
    # The blank lines make a traceback show the line of the document.
    source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
    code = compile(source, example.path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    pending = eval(code, example.namespace)
    if pending is not None:
        example.namespace["__runner__"].run(pending)


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser(language="python", evaluator=run), SkipParser()],
    path=str(ROOT),
    patterns=["*.md"],
    setup=start_loop,
    teardown=close_loop,
).pytest()
