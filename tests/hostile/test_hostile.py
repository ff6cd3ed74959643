"""Hostile code finds nothing: a short run, which ``python -m tests.hostile`` makes longer."""

from __future__ import annotations

import pytest

from tests.hostile.runs import Run, frozen

STEPS = 750


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_whatever_the_users_code_does_when_it_is_called_no_promise_is_broken(seed: int) -> None:
    run = Run(seed)
    with frozen():
        while run.steps < STEPS:
            failure = run.next()
            assert failure is None, f"seed {seed}, scenario {run.scenario - 1}: {failure}"
