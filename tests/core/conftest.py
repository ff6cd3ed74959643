"""Every test of the core runs on the compiled one and on its twin."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING

import pytest

from tests.core.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


@pytest.fixture(params=["_core", "_core_py"])
def core(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(f"microbatch.{request.param}")


@pytest.fixture
def make_world(core: ModuleType) -> Callable[..., World]:
    return functools.partial(World, core)


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
