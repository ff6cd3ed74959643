"""When the user's code acts: at any call that the library makes to it, and as deep as allowed."""

from __future__ import annotations

import functools
import gc
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.hostile.plans import Plan

DEPTH = 3
"""How deep acts may be nested."""
BUDGET = 200
"""How many acts there may be in one step: each may lead to more, and time would never pass."""

F = TypeVar("F", bound="Callable[..., Any]")


class Spite(Exception):
    """What hostile code raises, and nobody else."""


class Mischief:
    """Decide whether hostile code acts where it is called, and hold it back elsewhere.

    It is free while the library runs, and held back while the machine keeps its books; so these
    need no care. The collector is held back with it: what it collects acts.
    """

    def __init__(self, rng: random.Random, plan: Plan) -> None:
        self.rng = rng
        self.plan = plan
        self.free = False
        self.depth = 0
        self.acts = 0
        self.budget = BUDGET
        self.act: Callable[[str], object] = lambda _: None
        """Does one thing to the batcher, given what called."""

    def strike(self, where: str) -> None:
        """Act, perhaps, and then perhaps raise Spite; called by all hostile code."""
        if not self.free or where not in self.plan.hooks or self.depth >= DEPTH:
            return
        if self.budget <= 0 or self.rng.random() >= self.plan.rate:
            return
        self.hold_back()
        self.depth += 1
        self.acts += 1
        self.budget -= 1
        try:
            self.act(where)
            if self.rng.random() < 0.2:
                self.act(where)
            spiteful = self.rng.random() < self.plan.spite
        finally:
            self.depth -= 1
            self.let_loose()
        if spiteful:
            raise Spite(where)

    def let_loose(self) -> None:
        self.free = True
        gc.enable()

    def hold_back(self) -> None:
        gc.disable()
        self.free = False

    def during(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call the library."""
        self.let_loose()
        try:
            return call(*args, **options)
        finally:
            self.hold_back()


def held_back(method: F) -> F:
    """Hold hostile code back in a method of something with ``mischief`` that the library calls."""

    @functools.wraps(method)
    def call(self: Any, *args: Any) -> Any:
        mischief = self.mischief
        was_free = mischief.free
        mischief.hold_back()
        try:
            return method(self, *args)
        finally:
            if was_free:
                mischief.let_loose()

    return call  # type: ignore[return-value]
