"""A handler's function that answers trouble."""

from __future__ import annotations

from typing import Any


class Trouble(Exception):
    """What an item's place in an answer may hold."""


def answer(items: list[Any]) -> list[Any]:
    return [Trouble(item) if item == "bad" else item for item in items]
