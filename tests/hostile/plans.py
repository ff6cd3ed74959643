"""What one scenario is like: options, handler, and how hostile who is."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tests.hostile.things import HOOKS

if TYPE_CHECKING:
    import random

ENDINGS = ("patience", "patience", "flush", "drain", "aclose", "aclose early")
MOST_ITEMS = 64
"""In a batch, whatever the options."""


@dataclass(frozen=True)
class Plan:
    """One scenario; ``options`` are the batcher's, but for functions, which ``functions`` names."""

    options: dict[str, Any]
    functions: frozenset[str]
    handler: str
    paces: tuple[float, ...]
    """How long handler calls take, in seconds."""
    failing: float
    """How often calls and items fail."""
    keys: int
    hooks: frozenset[str]
    rate: float
    """How often a hook acts."""
    spite: float
    """How often what has acted raises."""
    threshold: int
    """Of the collector."""
    steps: int
    ending: str
    eager: bool
    decorated: bool
    weights: dict[str, int] = field(default_factory=dict)
    """Of the acts: more of some, fewer of others."""

    @property
    def longest(self) -> float:
        """Seconds after which something must have moved on, whatever the order of things."""
        return self.longest_with(self.options["max_latency"])

    def longest_with(self, latency: float | Literal["auto"]) -> float:
        """Give them with another latency; what is learned follows the pauses."""
        pauses = MOST_ITEMS if self.handler == "one by one" else 2
        if self.options["on_error"] == "bisect":  # in order: not before the last half is over
            pauses *= 2 * MOST_ITEMS - 1
        pause = pauses * max(self.paces)
        return 1.0 + pause + (1.5 * pause if latency == "auto" else float(latency))


def draw(rng: random.Random, acts: dict[str, int], only: frozenset[str] | None = None) -> Plan:
    """Draw a scenario; ``only`` names hooks that act in any case, and alone."""
    options, functions = draw_options(rng)
    hooks = sorted(HOOKS)
    if rng.random() < 0.4:  # a few act much, or all act at times
        hooks = rng.sample(hooks, rng.randint(1, 4))
        rate = rng.choice([0.2, 0.5, 0.9])
    else:
        rate = rng.choice([0.02, 0.05, 0.15])
    return Plan(
        options=options,
        functions=functions,
        handler=rng.choice(["whole", "whole", "one by one", "at once"]),
        paces=rng.choice([(0.0,), (0.0, 0.1), (0.05, 0.3), (1.0,)]),
        failing=rng.choice([0.0, 0.1, 0.4]),
        keys=rng.randint(1, 4),
        hooks=frozenset(hooks) if only is None else only,
        rate=rate,
        spite=rng.choice([0.0, 0.0, 0.0, 0.1, 0.4]),
        threshold=rng.choice([1, 2, 5, 20, 100]),
        steps=rng.randint(20, 160),
        ending=rng.choice(ENDINGS),
        eager=sys.version_info >= (3, 12) and rng.random() < 0.2,
        decorated=rng.random() < 0.3,
        weights={name: weight * rng.choice([0, 1, 1, 3]) for name, weight in acts.items()},
    )


def draw_options(rng: random.Random) -> tuple[dict[str, Any], frozenset[str]]:
    options: dict[str, Any] = {
        "max_batch_size": rng.choice([1, 2, 3, 4, 8, 64]),
        "max_latency": rng.choice([0.0, 0.0, 0.05, 0.5, 5.0, "auto", "auto"]),
        "max_concurrent_batches": rng.choice([1, 1, 2, 3]),
        "capacity": rng.choice([None, 1, 2, 4, 10, 100]),
        "overflow": rng.choice(["wait", "reject", "drop_oldest"]),
        "cancel_abandoned": rng.random() < 0.7,
        "capture_context": rng.random() < 0.1,
        "on_error": "bisect" if rng.random() < 0.06 else "fail",
    }
    functions = set()
    if rng.random() < 0.35:
        latency = 0.0 if options["max_latency"] == "auto" else options["max_latency"]
        options["timeout"] = latency + rng.choice([0.02, 0.3, 2.0])
    options["timeout_policy"] = rng.choice(["partial", "partial", "fail"])
    if rng.random() < 0.2:
        functions.add("timeout_policy")
    if rng.random() < 0.75:
        draw_groups(rng, options, functions)
    if rng.random() < 0.2 and "priority" not in functions:
        options["ordering"] = "ordered"
    if rng.random() < 0.3:
        functions.add("observer")
    return options, frozenset(functions)


def draw_groups(rng: random.Random, options: dict[str, Any], functions: set[str]) -> None:
    if rng.random() < 0.6:
        functions.add("key")
        if rng.random() < 0.3:
            options["max_concurrent_batches_per_key"] = rng.randint(1, 2)
    if rng.random() < 0.4:
        options["max_batch_weight"] = rng.choice([1.0, 3.0, 10.0])
        options["overweight"] = rng.choice(["alone", "alone", "reject"])
        if rng.random() < 0.7:
            functions.add("weigh")
    if rng.random() < 0.3:
        functions.add("priority")
    if rng.random() < 0.4:
        functions.add("dedupe")
        options["dedupe_in_flight"] = rng.random() < 0.5
