"""Read what ``@batched`` is put on, and make the dispatchers for it."""

import functools
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass
from types import MethodType
from typing import Any

from microbatch._decorating.binding import Signature, parameters_of
from microbatch._dispatch.registry import Dispatchers
from microbatch._handlers.kinds import as_coroutine_function, check_columnar, check_stream, name_of
from microbatch.batch import makers_context
from microbatch.options import Options

__all__ = ["Definition"]


@dataclass(frozen=True)
class Definition:
    """What was decorated, and with which options."""

    kind: type[Any] | None
    """``classmethod`` or ``staticmethod`` where it is bound to a class, or to nothing."""
    function: Callable[..., Any]
    work: Callable[..., Coroutine[Any, Any, Any]]
    options: Options
    name: str
    in_class: bool
    """Whether a function was decorated in the body of a class."""
    is_method: bool
    """Whether its first parameter is surely no list."""
    signature: Signature
    context: Context
    """That of the decoration, in copies of which the function is called."""
    attributes: dict[str, Any]
    """What is set on the decorated function, for its bound methods to have too."""

    @classmethod
    def of(cls, given: Any, options: Options, attributes: dict[str, Any]) -> "Definition":
        """Read what was given to the decorator; TypeError where it is no batch function."""
        kind = kind_of(given)
        function: Callable[..., Any] = given.__func__ if isinstance(given, kind or ()) else given
        work = as_coroutine_function(function, options.executor)
        check_stream(function, options.stream)
        check_columnar(function, options.columnar)
        in_class = kind is None and is_in_class(function)
        is_method = kind is classmethod or (in_class and takes_instance(function))
        signature = Signature.of(function, skip_first=is_method)
        name = options.name or name_of(function)
        return cls(
            kind=kind,
            function=function,
            work=work,
            options=options,
            name=name,
            in_class=in_class,
            is_method=is_method,
            signature=signature,
            context=makers_context(),
            attributes=attributes,
        )

    @functools.cached_property
    def bound_signature(self) -> Signature:
        """The parameters that take lists where the first one takes an instance."""
        return self.signature if self.is_method else Signature.of(self.function, skip_first=True)

    def dispatchers(self) -> Dispatchers:
        """Make the dispatchers of the function itself."""
        work = self.signature.transpose(self.work)
        return Dispatchers(work, self.options, self.name, context=self.context)

    def bound_dispatchers(self, instance: Callable[[], Any]) -> Dispatchers:
        """Make those of one instance, which hold it only while something is unsettled."""
        work = self.work

        def call(*lists: list[Any], **named: list[Any]) -> Coroutine[Any, Any, Any]:
            return work(instance(), *lists, **named)

        transposed = self.bound_signature.transpose(call)
        return Dispatchers(transposed, self.options, self.name, pin=instance, context=self.context)


def kind_of(given: object) -> type[Any] | None:
    """Tell how Python would bind it: as a ``classmethod``, as a ``staticmethod``, or as functions.

    As a staticmethod is what it does not bind at all: bound methods, partials, callable objects.
    """
    if isinstance(given, classmethod):
        return classmethod
    unbound = (staticmethod, MethodType, functools.partial)
    if isinstance(given, unbound) or not hasattr(type(given), "__get__"):
        return staticmethod
    return None


def how_to_refer_to(instance: object) -> str:
    """Say what would make an instance one that can be weakly referenced."""
    kind = type(instance)
    name = kind.__qualname__
    if tuple in kind.__mro__ and hasattr(kind, "_fields"):
        return f"no named tuple can be, so make {name} a dataclass with frozen=True"
    if kind.__itemsize__:  # of variable size
        base = next(base.__name__ for base in kind.__mro__ if base.__module__ == "builtins")
        return f"no {base} can be, so make {name} a class that has the {base} in an attribute"
    parameters = getattr(kind, "__dataclass_params__", None)
    if parameters is not None and getattr(parameters, "slots", True):  # Python 3.11 doesn't say
        return f"add weakref_slot=True to the @dataclass(slots=True) of {name}"
    return f"add '__weakref__' to the __slots__ of {name}"


def is_in_class(function: Callable[..., Any]) -> bool:
    """Tell whether a function was defined in the body of a class."""
    parent = getattr(function, "__qualname__", "").rpartition(".")[0]
    return bool(parent) and not parent.endswith("<locals>")


def takes_instance(function: Callable[..., Any]) -> bool:
    """Tell whether the first parameter's name is one that methods give to it."""
    return any(each.name in ("self", "cls") for each in parameters_of(function)[:1])
