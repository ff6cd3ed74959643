"""What a probe is."""

import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias

from conformance.adapter import Adapter, NotOffered
from conformance.finding import Finding
from conformance.stage import HandlerNeverRan

Run: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]
"""Run a coroutine on a new loop, as ``asyncio.run`` does."""


@dataclass(frozen=True)
class Probe:
    """One experiment, and what is expected of it; the two lines are for the report."""

    name: str
    does: str
    expects: str
    function: Callable[..., Any]

    def put_to(self, library: type[Adapter], run: Run) -> Finding:
        """Try it on a library; give what was found."""
        try:
            if inspect.iscoroutinefunction(self.function):
                finding = run(self.function(library))
            else:
                finding = self.function(library, run)
        except NotOffered as reason:
            finding = Finding("not offered", str(reason))
        except HandlerNeverRan:
            finding = Finding("fail", "the handler never ran")
        return finding  # type: ignore[no-any-return]


def probe(does: str, expects: str) -> Callable[[Callable[..., Any]], Probe]:
    """Make a probe of a coroutine function of a library, or of a function of it and Run."""

    def decorate(function: Callable[..., Any]) -> Probe:
        return Probe(function.__name__.replace("_", "-"), does, expects, function)

    return decorate
