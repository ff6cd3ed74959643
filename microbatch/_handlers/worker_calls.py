"""One handler call that an executor can run: in another thread, or pickled in another process."""

import functools
import importlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import Context
from types import FunctionType
from typing import Any, TypeAlias

__all__ = ["WorkerAnswer", "WorkerCall"]

WorkerAnswer: TypeAlias = tuple[Any, BaseException | None]
"""What a handler returned, or the exit request that it raised."""


class WorkerCall:
    """One call of a plain handler.

    In another thread it runs in the context that it is given. A context cannot be pickled, so in
    another process it runs in an empty one.
    """

    def __init__(
        self,
        handler: Callable[..., Any],
        lists: Sequence[Any],
        named: Mapping[str, Any],
        context: Context | None = None,
    ) -> None:
        self._handler, self._lists, self._named = handler, lists, named
        # A process that was forked has its parent's context, in which a batch is being handled.
        self._context = Context() if context is None else context

    def __call__(self) -> WorkerAnswer:
        """Call the handler in the context."""
        return self._context.run(self.answer)

    def answer(self) -> WorkerAnswer:
        """Call the handler; an exit request is handed over, for two tasks would propagate it."""
        try:
            return self._handler(*self._lists, **self._named), None
        except (KeyboardInterrupt, SystemExit) as error:
            return None, error

    def __reduce__(self) -> tuple[Any, ...]:
        return WorkerCall, (portable(self._handler), self._lists, self._named)


def portable(handler: Any) -> Any:
    """Give what can be pickled in a handler's place: a decorated function is not at its own name.

    Raises TypeError for a function that is not found by its name.
    """
    if not isinstance(handler, FunctionType):
        return handler
    module, name = handler.__module__, handler.__qualname__
    for depth, layer in enumerate(layers_at(module, name)):
        if layer is handler:
            return functools.partial(call_at, module, name, depth) if depth else handler
    raise TypeError(
        f"a handler must be found by its name to run in another process, "
        f"but {name!r} is not in module {module!r}"
    )


def call_at(module: str, name: str, depth: int, /, *lists: Any, **named: Any) -> Any:
    """Call what is so many layers under the thing of that name."""
    (function,) = itertools.islice(layers_at(module, name), depth, depth + 1)
    return function(*lists, **named)


def layers_at(module: str, name: str) -> Iterator[Any]:
    """Give what has a name in a module, what that wraps, and so on."""
    layer: Any = importlib.import_module(module)
    for part in name.split("."):
        layer = getattr(layer, part, None)
    while layer is not None:
        yield layer
        # A class method is wrapped as a bound method.
        layer = getattr(layer, "__wrapped__", None) or getattr(layer, "__func__", None)
