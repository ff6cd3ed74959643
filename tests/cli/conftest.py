"""Every test of the command line has some handlers at hand."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HANDLERS = """
import asyncio, os, signal, sys

def same(rows):
    return rows

async def double(rows):
    return [2 * row for row in rows]

def odd(rows):
    return [ValueError("odd") if row % 2 else row for row in rows]

def chatty(rows):
    print("working")
    return rows

def leaving(rows):
    sys.exit(0)

async def interrupted(rows):
    if not rows[0]:
        signal.raise_signal(signal.SIGINT)
    return rows

def waiting(rows):
    for row in rows:
        if row == "wait":
            print("waiting", flush=True)
            with open("go") as go:
                go.read()
    return rows
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder with some handlers and no more, and forget what is imported from it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "handlers.py").write_text(HANDLERS)
    yield tmp_path
    for name, module in [*sys.modules.items()]:
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
