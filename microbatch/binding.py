"""Bind the arguments of one call to one item, as Python binds them, and turn items into lists."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

__all__ = ["Signature"]


@dataclass(frozen=True, slots=True)
class Signature:
    """Know the parameters of a batch function, each of which takes a list.

    With one parameter an item is the value itself; with several it is the tuple of them.
    """

    parameters: tuple[Parameter, ...]
    bind: Callable[..., Any]
    """Take the arguments of one call, and give the item; raises TypeError as the call would."""

    @classmethod
    def of(cls, function: Callable[..., Any], *, skip_first: bool) -> "Signature":
        """Read a function's signature; ``skip_first`` leaves out ``self`` or ``cls``."""
        parameters = tuple(inspect.signature(function).parameters.values())[int(skip_first) :]
        name = getattr(function, "__name__", "handler")
        if not parameters:
            raise TypeError(f"a batched function must take a list of items, {name}() takes nothing")
        for parameter in parameters:
            if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
                raise TypeError(
                    f"a batched function must name its parameters, {name}() takes {parameter}"
                )
        return cls(parameters, make_bind(name, parameters))

    @property
    def arity(self) -> int:
        """How many positional arguments are the item as they stand; -1 when none can be."""
        keyword_only = any(each.kind is Parameter.KEYWORD_ONLY for each in self.parameters)
        return -1 if keyword_only else len(self.parameters)

    def transpose(self, function: Callable[..., Any]) -> Callable[[list[Any]], Any]:
        """Give a function of a list of items that calls ``function`` with one list a parameter."""
        if self.arity == 1:
            return function
        names = [each.name for each in self.parameters if each.kind is Parameter.KEYWORD_ONLY]
        positional = len(self.parameters) - len(names)

        def call(items: list[Any]) -> Any:
            columns = [items] if len(self.parameters) == 1 else [*map(list, zip(*items, strict=True))]
            keywords = dict(zip(names, columns[positional:], strict=True))
            return function(*columns[:positional], **keywords)

        return call


def make_bind(name: str, parameters: tuple[Parameter, ...]) -> Callable[..., Any]:
    """Compile a function with these parameters that gives back their values.

    It runs once per item, so it is compiled, as dataclasses compile their ``__init__``:
    ``inspect.Signature.bind`` does the same many times slower.
    """
    bare = [each.replace(annotation=Parameter.empty) for each in parameters]
    stand_ins = [
        each if each.default is Parameter.empty else each.replace(default=None) for each in bare
    ]
    values = ", ".join(each.name for each in parameters)
    answer = values if len(parameters) == 1 else f"({values})"
    source = f"def {name if name.isidentifier() else 'handler'}{inspect.Signature(stand_ins)}: return {answer}"
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    bind: Any = next(value for key, value in namespace.items() if key != "__builtins__")
    defaults = {each.name: each.default for each in bare if each.default is not Parameter.empty}
    keyword_only = {each.name for each in bare if each.kind is Parameter.KEYWORD_ONLY}
    bind.__defaults__ = tuple(v for k, v in defaults.items() if k not in keyword_only)
    bind.__kwdefaults__ = {k: v for k, v in defaults.items() if k in keyword_only}
    return bind  # type: ignore[no-any-return]
