"""Every test of this folder has a recording handler, and a batcher of it."""

from __future__ import annotations

from typing import Any

import pytest

from microbatch import Batcher
from microbatch.testing import RecordingHandler
from tests.interop.trouble import answer


@pytest.fixture
def handler() -> RecordingHandler[Any, Any]:
    return RecordingHandler(answer)


@pytest.fixture
def batcher(handler: RecordingHandler[Any, Any]) -> Batcher[Any, Any]:
    return Batcher(handler)
