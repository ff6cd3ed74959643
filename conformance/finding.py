"""What a probe found, and the words for what became of a caller."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Verdict: TypeAlias = Literal["pass", "fail", "not offered"]

PATIENCE = 2.0
"""Seconds without an outcome that are a hang: handlers of the probes take milliseconds."""

ANSWERED = "answered"
HANG = "hang"


@dataclass(frozen=True)
class Finding:
    """A verdict, and in a few words what was seen."""

    verdict: Verdict
    seen: str


def judge(good: object, seen: str) -> Finding:
    """Find that something passes, or fails."""
    return Finding("pass" if good else "fail", seen)


def answer(item: int) -> str:
    """Give what the handlers answer for an item."""
    return f"answer {item}"


async def outcomes(callers: dict[int, "asyncio.Task[Any]"]) -> list[str]:
    """Wait for callers, by their items; say for each: answered, hang, or what it raised."""
    if callers:
        await asyncio.wait(callers.values(), timeout=PATIENCE)
    return [outcome(item, caller) for item, caller in callers.items()]


def outcome(item: int, caller: "asyncio.Task[Any]") -> str:
    """Say what became of the caller of an item."""
    if not caller.done():
        return HANG
    if caller.cancelled():
        return "CancelledError"
    if (error := caller.exception()) is not None:
        return type(error).__name__
    return ANSWERED if caller.result() == answer(item) else "wrong answer"


def all_answered(seen: Sequence[str]) -> bool:
    """Say whether every caller got its own answer."""
    return set(seen) <= {ANSWERED}


def all_failed(seen: Sequence[str]) -> bool:
    """Say whether every caller got an error that is its own to handle."""
    return not {ANSWERED, HANG, "CancelledError", "wrong answer"} & set(seen)


def tell(seen: Iterable[str]) -> str:
    """Sum up outcomes: ``answered``, or ``2 answered, 1 hang``."""
    counts = Counter(seen)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} {word}" for word, count in counts.items())
