"""A pytest plugin that runs the Python blocks of Markdown files: `pytest -p code_blocks README.md`.

The blocks of a file share one namespace, as if they stood in one program one after the other. A
block may `await` at its top, as a notebook's cell may; such blocks of a file share one event loop.
"""

import ast
import asyncio
import inspect
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, SkipParser

ROOT = Path(__file__).parents[2]


def start_program(namespace: dict[str, Any]) -> None:
    namespace["__name__"] = "__main__"
    namespace["__runner__"] = asyncio.Runner()  # makes its loop when it is first used
    namespace["installed"] = lambda name: find_spec(name) is not None


def end_program(namespace: dict[str, Any]) -> None:
    namespace["__runner__"].close()


def run_block(example: Example) -> None:
    """Run a block; the lines in a traceback are those of the file."""
    source = (example.line + example.parsed.line_offset) * "\n" + example.parsed
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(source, example.path, "exec", flags=flags, dont_inherit=True)
    if code.co_flags & inspect.CO_COROUTINE:
        example.namespace["__runner__"].run(eval(code, example.namespace))
    else:
        exec(code, example.namespace)


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser("python", run_block), SkipParser()],
    path=str(ROOT),
    patterns=["*.md"],
    setup=start_program,
    teardown=end_program,
).pytest()
