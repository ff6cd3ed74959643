"""Scenarios, one after another."""

from __future__ import annotations

import contextlib
import gc
import warnings
from typing import TYPE_CHECKING

from tests.hostile.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Run:
    """The scenarios of one seed, in a row."""

    def __init__(self, seed: int, first: int = 0, hooks: frozenset[str] | None = None) -> None:
        self.seed = seed
        self.hooks = hooks
        self.scenario = first
        self.scenarios = self.steps = self.acts = 0

    def next(self, follow: Callable[[Machine], object] = lambda _: None) -> str | None:
        """Run one more; give what it failed with."""
        machine = Machine(self.seed, self.scenario, hooks=self.hooks)
        follow(machine)
        failure = outcome(machine)
        self.scenario += 1
        self.scenarios += 1
        self.steps += machine.step
        self.acts += machine.mischief.acts
        return failure


def outcome(machine: Machine) -> str | None:
    """Run a scenario; say what it fails with."""
    try:
        machine.run()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def shortest(seed: int, failed: Machine) -> str:
    """Run longer and longer prefixes of a scenario, until one fails."""
    for steps in range(failed.step):
        failure = outcome(Machine(seed, failed.scenario, steps, failed.hooks))
        if failure is not None:
            return f"{steps} steps: {failure}"
    return f"all {failed.step} steps"


@contextlib.contextmanager
def frozen() -> Iterator[None]:
    """Keep the collector off whatever there is already, so that a full collection is quick.

    The first scenario of a process fills caches, which moves its collections: so that a scenario
    runs alone as it does in a row, one is run before.
    """
    outcome(Machine(0, 0))
    gc.collect()
    gc.freeze()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    finally:
        gc.unfreeze()
