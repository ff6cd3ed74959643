"""A world for each test of the core, which needs no event loop."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest

from microbatch import _core
from tests.core.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


@pytest.fixture
def core() -> ModuleType:
    return _core


@pytest.fixture
def make_world(core: ModuleType) -> Callable[..., World]:
    return functools.partial(World, core)


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
