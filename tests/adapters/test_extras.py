"""An adapter without its library says which extra is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [
        ("prometheus", "prometheus_client", "prometheus"),
        ("opentelemetry", "opentelemetry", "opentelemetry"),
    ],
)
def test_a_missing_extra_is_named(module: str, library: str, extra: str) -> None:
    script = f"import sys; sys.modules['{library}'] = None; import microbatch.adapters.{module}"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: microbatch.adapters.{module} needs {library}: "
        f"pip install 'microbatch[{extra}]'"
    )
