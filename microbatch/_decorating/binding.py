"""Bind the arguments of one call to one item, as Python binds them, and turn items into lists."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

__all__ = ["Signature"]

OWN = frozenset(("timeout", "weight", "key", "priority"))
"""The keywords of submit() and stream(), which replace options for one item."""


@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters of a batch function, each of which takes a list.

    With one parameter an item is the value itself; with several it is the tuple of them.
    """

    parameters: tuple[Parameter, ...]
    bind: Callable[..., Any]
    """Take the arguments of one call, and give the item; raises TypeError as the call would."""

    @classmethod
    def of(cls, function: Callable[..., Any], *, skip_first: bool = False) -> "Signature":
        """Read the parameters of a function; ``skip_first`` leaves out ``self`` or ``cls``.

        Raises TypeError unless there are some, each of them named.
        """
        parameters = parameters_of(function)[int(skip_first) :]
        name = getattr(function, "__name__", "handler")
        if not parameters:
            raise TypeError(
                "a batched function must take a list of items, "
                f"got {name}{inspect.signature(function)}"
            )
        for parameter in parameters:
            if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
                raise TypeError(
                    f"a batched function must name its parameters, {name}() takes {parameter}"
                )
        return cls(parameters, make_bind(name, parameters))

    @property
    def keywords(self) -> list[str]:
        """The parameters that are passed by keyword only; these come last."""
        return [each.name for each in self.parameters if each.kind is Parameter.KEYWORD_ONLY]

    @property
    def arity(self) -> int:
        """How many positional arguments are the item as they stand; -1 when none can be."""
        return -1 if self.keywords else len(self.parameters)

    def whole(self, item: Any) -> Any:
        """Give an item back; TypeError where it lacks one value for each parameter."""
        width = len(self.parameters)
        if width > 1 and not (issubclass(type(item), (tuple, list)) and len(item) == width):
            raise TypeError(
                f"an item must be a tuple of {width} values, one for each parameter, got {item!r}"
            )
        return item

    def refused(self, kwargs: dict[str, Any], error: TypeError, instead: str) -> TypeError:
        """Give the error of a wrong call: Python's, unless it is one for another method."""
        names = [each.name for each in self.parameters]
        unexpected = [name for name in kwargs if name not in names]
        if not unexpected or not set(unexpected) <= OWN:
            return error
        item = f"({', '.join(names)})" if len(names) > 1 else names[0]
        name, keyword = self.bind.__name__, unexpected[0]
        return TypeError(
            f"{name}() got an unexpected keyword argument {keyword!r}: a call takes what the "
            f"function takes, so write {name}.{instead}({item}, {keyword}={kwargs[keyword]!r})"
        )

    def transpose(self, function: Callable[..., Any]) -> Callable[[list[Any]], Any]:
        """Give a function of a list of items that calls ``function`` with one list a parameter."""
        if self.arity == 1:
            return function
        count, keywords = len(self.parameters), self.keywords
        positional = count - len(keywords)

        def call(items: list[Any]) -> Any:
            columns = [items] if count == 1 else [*map(list, zip(*items, strict=True))]
            named = dict(zip(keywords, columns[positional:], strict=True))
            return function(*columns[:positional], **named)

        return call


def parameters_of(function: Callable[..., Any]) -> tuple[Parameter, ...]:
    """Give a function's parameters without their annotations."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # some of those written in C
        raise TypeError(
            f"a batched function must have a signature that can be read, got {function!r}"
        ) from None
    return tuple(each.replace(annotation=Parameter.empty) for each in signature.parameters.values())


def make_bind(name: str, parameters: tuple[Parameter, ...]) -> Callable[..., Any]:
    """Compile a function with these parameters that gives back their values.

    It runs once per item, so it is compiled, as dataclasses compile their ``__init__``:
    ``inspect.Signature.bind`` does the same many times slower.
    """
    optional = [each for each in parameters if each.default is not each.empty]
    stand_ins = [p if p.default is p.empty else p.replace(default=None) for p in parameters]
    head = str(inspect.Signature(stand_ins))[1:-1]
    bind = eval(f"lambda {head}: ({', '.join(each.name for each in parameters)})")
    bind.__name__ = bind.__qualname__ = name  # it stands in the errors about wrong arguments
    bind.__defaults__ = tuple(p.default for p in optional if p.kind is not p.KEYWORD_ONLY)
    bind.__kwdefaults__ = {p.name: p.default for p in optional if p.kind is p.KEYWORD_ONLY}
    return bind  # type: ignore[no-any-return]
