"""An adapter without its library says which extra is missing."""

from __future__ import annotations

import importlib
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "library", "distribution"),
    [
        ("prometheus", "prometheus_client", "prometheus-client"),
        ("opentelemetry", "opentelemetry", "opentelemetry-api"),
        ("starlette", "starlette", "starlette"),
    ],
)
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str, library: str, distribution: str
) -> None:
    adapter = f"microbatch.adapters.{module}"
    importlib.import_module(adapter)
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, adapter)
    with pytest.raises(ImportError) as caught:
        importlib.import_module(adapter)
    assert str(caught.value) == (
        f"{adapter} needs {library}: "
        f"pip install {distribution}, or microbatch with its extra '{module}'"
    )
