"""``@batched``: a batch function that is called with one item at a time."""

import weakref
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, Self, TypeAlias, TypeVar, Unpack, overload

from microbatch._select import CallableFront, Front, Ticket
from microbatch.batcher import Batcher, Results
from microbatch.binding import Signature
from microbatch.dispatcher import Dispatcher
from microbatch.handler import as_coroutine_function, name_of
from microbatch.lanes import Lanes
from microbatch.options import BatcherOptions, Options

__all__ = ["Batched", "BatchedMethod", "Decorator", "batched"]

P = ParamSpec("P")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
S = TypeVar("S")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")

Answer: TypeAlias = Awaitable[Results[R | Exception]] | Results[R | Exception]
Silence: TypeAlias = Awaitable[None] | None


class Batched(Batcher[T_contra, R_co], CallableFront[P, T_contra, R_co]):
    """Be a batch function that is called with one item at a time: a Batcher that can be called.

    The function takes one list for each of its parameters. A call takes one value for each, binds
    keywords and defaults as Python does, and gives a Ticket for its own result. Where a whole item
    is asked for, as by ``submit``, several parameters make a tuple.

    In a class body it makes a method: each instance has a batcher of its own, which lives no
    longer than the instance and what is submitted to it.
    """

    definition: "Definition"

    def __init__(self, function: Any, **options: Unpack[BatcherOptions]) -> None:
        self.definition = definition = Definition.of(function, Options(**options))
        self.__doc__ = definition.function.__doc__
        self.__isabstractmethod__ = getattr(function, "__isabstractmethod__", False)
        self._named = False
        signature = definition.signature(bound=False)
        if definition.kind is not staticmethod and is_in_class(definition.function):
            method = signature.parameters[0].name in ("self", "cls")
            self._set_router(Unbound(definition) if method else definition.lanes(signature))
            self.set_call(0, None)
        else:
            self._set_router(definition.lanes(signature))
            self.set_call(signature.arity, signature.bind)

    def _set_router(self, lanes: Lanes) -> None:
        Front.__init__(self, lanes)

    @property
    def batcher(self) -> Self:
        """The batcher behind the calls, which is this very object."""
        return self

    def __getattr__(self, name: str) -> Any:
        if name == "__wrapped__":
            return self.definition.function
        if name in ("__name__", "__qualname__"):
            return getattr(self.definition.function, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Batched) and other.router is self.router

    def __hash__(self) -> int:
        return hash(self.router)

    # -------------------------------------------------------------------------------- in a class
    def __set_name__(self, owner: type, name: str) -> None:
        if self.definition.kind is not staticmethod:
            self._named = True
            self._set_router(Unbound(self.definition))
            self.set_call(0, None)

    def bind_to(self, instance: Any, owner: type | None) -> "Batched[P, T_contra, R_co]":
        """Give the batcher of one instance, or of one class; called by the core."""
        if self.definition.kind is classmethod:
            instance = owner if owner is not None else type(instance)
        if self.definition.kind is staticmethod or instance is None:
            return self
        key = id(instance)
        if key not in self.bound:
            self.bound[key] = self._bound_to(self._refer(instance, key))
        return self.bound[key].pinned(instance)

    def _bound_to(self, instance: "weakref.ref[Any]") -> "Batched[P, T_contra, R_co]":
        bound = Batched.__new__(Batched)
        bound.definition = self.definition
        signature = self.definition.signature(bound=True)
        bound._set_router(self.definition.lanes(signature, instance))
        bound.set_call(signature.arity, signature.bind)
        return bound

    def _refer(self, instance: Any, key: int) -> "weakref.ref[Any]":
        bound = self.bound
        try:
            return weakref.ref(instance, lambda _: bound.pop(key, None))
        except TypeError:
            raise TypeError(
                f"{self.name!r} needs instances that can be weakly referenced: add '__weakref__' "
                f"to the __slots__ of {type(instance).__qualname__}"
            ) from None

    def call_unbound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Ticket[R_co]:
        """Call with the instance in front, or as an outer staticmethod or classmethod does."""
        if args and (self._named or is_classmethod_of(args[0], self)):
            return self.bind_to(args[0], type(args[0]))(*args[1:], **kwargs)
        self.router.here()  # tells that it is a method
        signature = self.definition.signature(bound=False)
        self.set_call(signature.arity, signature.bind)
        return self(*args, **kwargs)


@dataclass(frozen=True, slots=True)
class Definition:
    """Know what was decorated, and with which options."""

    kind: type | None
    """``staticmethod`` or ``classmethod`` where one of these was decorated."""
    function: Callable[..., Any]
    work: Callable[..., Coroutine[Any, Any, Any]]
    options: Options
    name: str

    @classmethod
    def of(cls, given: Any, options: Options) -> "Definition":
        """Read what was given to the decorator; TypeError where it is no batch function."""
        kind = type(given) if isinstance(given, staticmethod | classmethod) else None
        function = given.__func__ if kind else given
        work = as_coroutine_function(function)
        return cls(kind, function, work, options, options.name or name_of(function))

    def signature(self, *, bound: bool) -> Signature:
        """Read the parameters that take lists."""
        return Signature.of(self.function, skip_first=bound)

    def lanes(self, signature: Signature, instance: "weakref.ref[Any] | None" = None) -> Lanes:
        """Make new lanes, for the function itself or for what is bound to an instance.

        The lanes hold the instance only while something is unsettled.
        """
        work = self.work
        if instance is None:
            return Lanes(signature.transpose(work), self.options, self.name)

        def call(*lists: list[Any], **named: list[Any]) -> Coroutine[Any, Any, Any]:
            return work(instance(), *lists, **named)

        return Lanes(signature.transpose(call), self.options, self.name, hold=instance)


class Unbound(Lanes):
    """Be the lanes of a method that is not bound: there are none."""

    def __init__(self, definition: Definition) -> None:
        super().__init__(definition.work, definition.options, definition.name)

    def here(self) -> Dispatcher:
        """Raise TypeError."""
        raise TypeError(
            f"{self.name!r} is a method: use it through an instance or its class, "
            "with @batched above @classmethod"
        )


def is_in_class(function: Callable[..., Any]) -> bool:
    """Tell whether a function was defined in the body of a class."""
    parent = getattr(function, "__qualname__", "").rpartition(".")[0]
    return bool(parent) and not parent.endswith("<locals>")


def is_classmethod_of(kind: Any, function: object) -> bool:
    """Tell whether ``kind`` is a class that has ``function`` wrapped as a classmethod."""
    return isinstance(kind, type) and any(
        isinstance(value, classmethod) and value.__func__ is function
        for base in kind.__mro__
        for value in vars(base).values()
    )


class BatchedMethod(Protocol[P, T_contra, R_co]):
    """Be a Batched in a class body, as type checkers see it."""

    @overload
    def __get__(self, instance: None, owner: type, /) -> Self: ...

    @overload
    def __get__(
        self, instance: object, owner: type | None = None, /
    ) -> Batched[P, T_contra, R_co]: ...

    def __call__(self, instance: Any, /, *args: P.args, **kwargs: P.kwargs) -> Ticket[R_co]:
        """Call it with the instance in front."""
        ...


class BatchedClassMethod(Protocol[P, T_contra, R_co]):
    """Be a Batched over a classmethod, as type checkers see it."""

    def __get__(
        self, instance: object, owner: type | None = None, /
    ) -> Batched[P, T_contra, R_co]:
        """Give the batcher of the class."""
        ...


class Decorator:
    """Make Batched objects with the same options."""

    def __init__(self, options: BatcherOptions) -> None:
        self._options = options

    # fmt: off
    @overload
    def __call__(self, function: Callable[[list[A]], Silence], /) -> Batched[[A], A, None]: ...
    @overload
    def __call__(self, function: Callable[[list[A]], Answer[R]], /) -> Batched[[A], A, R]: ...
    @overload
    def __call__(self, function: Callable[[list[A], list[B]], Answer[R]], /) -> Batched[[A, B], tuple[A, B], R]: ...
    @overload
    def __call__(self, function: Callable[[list[A], list[B], list[C]], Answer[R]], /) -> Batched[[A, B, C], tuple[A, B, C], R]: ...
    @overload
    def __call__(self, function: "staticmethod[[list[A]], Answer[R]]", /) -> Batched[[A], A, R]: ...
    @overload
    def __call__(self, function: "classmethod[Any, [list[A]], Answer[R]]", /) -> BatchedClassMethod[[A], A, R]: ...
    @overload
    def __call__(self, function: Callable[[S, list[A]], Silence], /) -> BatchedMethod[[A], A, None]: ...
    @overload
    def __call__(self, function: Callable[[S, list[A]], Answer[R]], /) -> BatchedMethod[[A], A, R]: ...
    @overload
    def __call__(self, function: Callable[[S, list[A], list[B]], Answer[R]], /) -> BatchedMethod[[A, B], tuple[A, B], R]: ...
    @overload
    def __call__(self, function: Callable[[S, list[A], list[B], list[C]], Answer[R]], /) -> BatchedMethod[[A, B, C], tuple[A, B, C], R]: ...
    # fmt: on

    def __call__(self, function: Any, /) -> Any:
        """Make a Batched of a batch function."""
        return Batched(function, **self._options)


def batched(**options: Unpack[BatcherOptions]) -> Decorator:
    """Make a batch function callable with one item at a time.

    ::

        @batched(max_batch_size=32, max_latency=0.005)
        async def embed(texts: list[str]) -> list[Vector]: ...

        vector = await embed("hello")

    The options are those of Batcher, and are checked at once. Works on functions, methods, class
    methods, static methods and abstract methods; put it above the other decorators. Decorating
    needs no event loop.
    """
    Options(**options)
    return Decorator(options)
