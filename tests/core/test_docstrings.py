"""The compiled core tells the same about itself as its twin."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from microbatch import _core, _core_py

PUBLIC = [
    f"{kind}.{name}"
    for kind in ("Ticket", "Router", "Front")
    for name, value in vars(getattr(_core_py, kind)).items()
    if inspect.isfunction(value) and not name.startswith("_")
]


def docstring(core: Any, path: str) -> str | None:
    kind, _, name = path.partition(".")
    found = getattr(core, kind)
    return inspect.getdoc(inspect.getattr_static(found, name) if name else found)


@pytest.mark.parametrize("name", _core_py.__all__)
def test_classes_begin_their_docstrings_alike(name: str) -> None:
    first, second = (docstring(core, name) for core in (_core, _core_py))
    assert first
    assert second
    assert first.splitlines()[0] == second.splitlines()[0]


@pytest.mark.parametrize("path", PUBLIC)
def test_what_users_call_has_the_same_docstring(path: str) -> None:
    assert docstring(_core, path)
    assert docstring(_core, path) == docstring(_core_py, path)


@pytest.mark.parametrize("name", ["submit", "submit_nowait", "submit_many"])
def test_what_users_call_has_the_same_parameters(name: str) -> None:
    first, second = (inspect.signature(getattr(core.Front, name)) for core in (_core, _core_py))
    assert list(first.parameters) == list(second.parameters)
    assert [each.kind for each in list(first.parameters.values())[1:]] == [
        each.kind for each in list(second.parameters.values())[1:]
    ]
