"""Handlers by name, and the batchers that they are served by."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import Batcher, batched
from microbatch.offline.loading import HandlerNotFoundError, batcher_for, load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder, and forget what is imported from it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name, module in [*sys.modules.items()]:
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


async def handle(rows: list[Any]) -> list[Any]:
    return rows


def test_a_handler_is_found_in_the_current_directory(here: Path) -> None:
    (here / "shout.py").write_text("class Loud:\n    def handle(rows): return rows\n")
    handler = load("shout:Loud.handle")
    assert handler([1]) == [1]
    assert load("shout:Loud.handle") is handler
    assert sys.path.count(str(here)) == 1


def test_a_handler_is_found_in_what_is_installed() -> None:
    assert load("json:dumps").__module__ == "json"


@pytest.mark.parametrize("name", ["shout", "shout:", ":handle", ""])
def test_a_name_must_have_two_parts(name: str) -> None:
    with pytest.raises(HandlerNotFoundError) as caught:
        load(name)
    assert str(caught.value) == f"handler must be module:function, got {name!r}"


def test_a_module_that_is_missing_is_named() -> None:
    with pytest.raises(HandlerNotFoundError) as caught:
        load("missing:handle")
    expected = "cannot import 'missing': ModuleNotFoundError: No module named 'missing'"
    assert str(caught.value) == expected


def test_an_error_in_the_module_is_told_with_its_place(here: Path) -> None:
    (here / "broken.py").write_text("\nimport absent_module\n")
    with pytest.raises(HandlerNotFoundError) as caught:
        load("broken:handle")
    assert str(caught.value) == (
        "cannot import 'broken': ModuleNotFoundError: No module named 'absent_module' (broken.py:2)"
    )


def test_an_attribute_that_is_missing_is_named() -> None:
    with pytest.raises(HandlerNotFoundError, match="module 'json' has no attribute 'shout'"):
        load("json:shout")


# --------------------------------------------------------------------------------------- batchers
def test_a_plain_handler_gets_a_batcher_with_the_options() -> None:
    batcher, window = batcher_for(handle, {"max_batch_size": 8, "max_concurrent_batches": 2})
    assert (batcher.options.max_batch_size, batcher.options.max_concurrent_batches) == (8, 2)
    assert window == batcher.options.capacity == 64


def test_the_capacity_is_the_window() -> None:
    batcher, window = batcher_for(handle, {"capacity": 3})
    assert window == batcher.options.capacity == 3


def test_wrong_options_and_handlers_are_told_by_the_batcher() -> None:
    with pytest.raises(ValueError, match="max_batch_size must be >= 1, got 0"):
        batcher_for(handle, {"max_batch_size": 0})
    with pytest.raises(TypeError, match="handler must be callable, got 3"):
        batcher_for(3, {})


def test_a_decorated_handler_keeps_its_own_options() -> None:
    decorated = batched(max_batch_size=5, max_latency=1.0, capacity=None)(handle)
    assert batcher_for(decorated, {}) == (decorated, 20)


def test_a_decorated_handler_is_never_given_more_than_it_takes() -> None:
    batcher: Batcher[Any, Any] = Batcher(handle, capacity=7, overflow="reject")
    assert batcher_for(batcher, {}) == (batcher, 7)


def test_a_decorated_handler_takes_no_options() -> None:
    with pytest.raises(ValueError, match="a decorated handler brings its own options, got timeout"):
        batcher_for(batched()(handle), {"timeout": 1.0})
