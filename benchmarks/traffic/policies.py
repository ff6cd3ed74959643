"""The policies that are laid side by side: what ``max_latency`` is told."""

import argparse
import re
from dataclasses import dataclass
from typing import Any

from microbatch import Batcher

NATURAL = "natural"
AUTO = "auto"
DEFAULT = f"{NATURAL},1ms,5ms,20ms,{AUTO}"
PATTERN = re.compile(r"(\d+(?:\.\d+)?)ms")


@dataclass(frozen=True)
class Policy:
    """A name, and the value of ``max_latency`` that it stands for."""

    name: str
    max_latency: Any  # what some versions know is no type of others

    @property
    def fixed(self) -> bool:
        """Whether it waits for a length of time that somebody chose."""
        return self.name not in {NATURAL, AUTO}


def policy(name: str) -> Policy:
    """Read the name of a policy; raise ArgumentTypeError where there is none of that name."""
    if name == NATURAL:
        return Policy(name, 0.0)
    if name == AUTO:
        return Policy(name, AUTO)
    if found := PATTERN.fullmatch(name):
        return Policy(name, float(found[1]) / 1e3)
    raise argparse.ArgumentTypeError(
        f"there is no policy {name!r}; there are {NATURAL}, {AUTO}, and fixed ones such as 5ms"
    )


def policies(text: str) -> list[Policy]:
    """Read names of policies; natural, to which all are compared, is always the first."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    return [policy(name) for name in dict.fromkeys([NATURAL, *names])]


def refusal(asked: Policy) -> str:
    """Say why the installed microbatch can't have a policy; nothing where it can."""

    async def handler(items: list[int]) -> None:
        """Answer nothing."""

    try:
        Batcher(handler, max_latency=asked.max_latency)
    except (TypeError, ValueError) as reason:
        return str(reason)
    return ""
