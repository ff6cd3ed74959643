"""A Batcher that is called as its function would be, and bound to instances as a method."""

import functools
import inspect
import sys
import weakref
from collections.abc import Callable
from types import MethodType
from typing import Any, Generic, NoReturn, ParamSpec, Self, TypeVar, Unpack

from microbatch._core import BatchedCall, CallableSubmitter, Lane, Router
from microbatch._decorating.binding import Signature
from microbatch._decorating.definition import Definition, how_to_refer_to, kind_of
from microbatch._streams.stream import Stream
from microbatch.batcher import Batcher
from microbatch.options import BatcherOptions, Options

__all__ = ["Batched", "BatchedStream"]

P = ParamSpec("P")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
C = TypeVar("C")


class OwnDocstring:
    """The ``__doc__`` of a class whose instances each have their function's."""

    def __init__(self, of_the_class: str | None) -> None:
        self._of_the_class = of_the_class

    def __get__(self, instance: "Batched[..., Any, Any] | None", owner: type[Any]) -> str | None:
        return self._of_the_class if instance is None else instance.definition.function.__doc__


def own_docstring(of_the_class: str | None) -> Any:
    """Give what a class whose docstring is this takes for its ``__doc__``."""
    return OwnDocstring(of_the_class)


class Batched(
    Batcher[T_contra, R_co], CallableSubmitter[P, T_contra, R_co], Generic[P, T_contra, R_co]
):
    """A batch function that is called with one item at a time: a Batcher that can be called.

    The function takes one list for each of its parameters. A call takes one value for each, binds
    keywords and defaults as Python does, and is what the call of an ``async def`` is: a coroutine,
    that can be awaited or made a task, and a future as well, so that ``gather`` and the like need
    no task for it. It is submitted by the call, so an event loop must run then. anyio's
    ``start_soon`` takes the function from anyio 4.14 on. ``submit`` gives a plain future, a Ticket,
    which is what ``asyncio.wait`` wants.

    Where a whole item is asked for, as by ``submit``, several parameters make a tuple. Options that
    are functions of an item, such as ``key`` and ``weigh``, are given the same.

    The function runs in copies of the context in which it was decorated.

    In a class it is a method: each instance has a batcher of its own, which lives no longer than
    the instance and what is submitted to it. Instances have to be such as can be weakly referenced.
    A pydantic model takes it for a field unless it has
    ``model_config = ConfigDict(ignored_types=(Batched,))``.
    """

    __doc__ = own_docstring(__doc__)
    definition: Definition

    def __init__(self, function: Any, **options: Unpack[BatcherOptions]) -> None:
        if isinstance(function, Batcher):
            raise TypeError(f"{function.name!r} is batched already")
        self.definition = definition = Definition.of(function, Options.of(options), vars(self))
        self.__module__ = getattr(definition.function, "__module__", __name__)
        self.__isabstractmethod__ = getattr(function, "__isabstractmethod__", False)
        self._set_router(Unbound(definition) if definition.is_method else definition.dispatchers())
        if definition.in_class:  # what is put around it tells how it is called
            self.set_call(0, None)
        else:
            self._set_call(definition.signature)
        self._count_as_coroutine_function()

    def _count_as_coroutine_function(self) -> None:
        """Answer ``inspect.iscoroutinefunction`` as what gives coroutines should."""
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(self)
        else:  # there is no mark yet, and whatever looks like a function is asked for its code
            self.__code__ = like_a_call.__code__
            self.__defaults__ = self.__kwdefaults__ = None

    def _set_router(self, router: Router) -> None:
        super(Batcher, self).__init__(router)

    def _set_call(self, signature: Signature) -> None:
        self.set_call(signature.arity, signature.bind, len(signature.parameters))

    @property
    def batcher(self) -> Self:
        """The batcher behind the calls, which is this very object."""
        return self

    def _whole_item(self, item: Any) -> Any:
        return self._signature.whole(item)

    @property
    def _signature(self) -> Signature:
        definition = self.definition
        return definition.signature if self.instance is None else definition.bound_signature

    # ------------------------------------------------------------------------------ as a function
    def __getattr__(self, name: str) -> Any:
        function = self.definition.function
        if name == "__wrapped__":
            return function if self.instance is None else MethodType(function, self.instance)
        if name in ("__name__", "__qualname__"):
            return getattr(function, name)
        if name in self.definition.attributes:
            return self.definition.attributes[name]
        raise AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Batched) and other.router is self.router

    def __hash__(self) -> int:
        return hash(self.router)

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle it as functions and bound methods are: by name."""
        if self.instance is not None:
            return getattr, (self.instance, self.__name__)
        return str(self.__qualname__)

    # -------------------------------------------------------------------------------- in a class
    def bind_to(self, instance: Any, owner: type[Any] | None) -> "Batched[P, T_contra, R_co]":
        """Give the batcher of one instance, or of one class; called by the core."""
        if self.definition.kind is staticmethod or self.instance is not None:
            return self
        if self.definition.kind is classmethod:
            instance = instance.__class__ if owner is None else owner
        elif instance is None:
            return self._on_class
        key = id(instance)
        if key not in self.bound:
            self.bound.setdefault(key, self._bound_to(self._refer(instance, key)))
        submitter: Batched[P, T_contra, R_co] = self.bound[key]
        return submitter.pinned(instance)

    @functools.cached_property
    def _on_class(self) -> "UnboundMethod[P, T_contra, R_co]":
        return UnboundMethod(self)

    def _bound_to(self, instance: "weakref.ref[Any]") -> Self:
        submitter = type(self).__new__(type(self))
        submitter.definition = self.definition
        submitter._set_router(self.definition.bound_dispatchers(instance))
        submitter._set_call(self.definition.bound_signature)
        return submitter

    def _refer(self, instance: Any, key: int) -> "weakref.ref[Any]":
        bound = self.bound
        try:
            return weakref.ref(instance, lambda _: bound.pop(key, None))
        except TypeError:
            raise TypeError(
                f"{self.name!r} needs instances that can be weakly referenced: "
                f"{how_to_refer_to(instance)}"
            ) from None

    def refused(self, kwargs: dict[str, Any], error: TypeError) -> TypeError:
        """Give the error of a call with wrong arguments, better than Python's where it can be."""
        return self._signature.refused(kwargs, error, "submit")

    def call_unbound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> BatchedCall[R_co]:
        """Call it as an outer staticmethod does, or since Python 3.13 an outer classmethod."""
        if args and is_classmethod_of(args[0], self):
            return self.__get__(args[0])(*args[1:], **kwargs)
        self.router.here()  # tells that it is a method
        self._set_call(self.definition.signature)
        return self(*args, **kwargs)


class BatchedStream(Batched[P, T_contra, list[C]], Generic[P, T_contra, C]):
    """A streaming batch function: a call with one item gives the Stream of its chunks.

    For the rest it is as Batched; ``submit`` gives a Ticket for the list of all its chunks.
    """

    __doc__ = own_docstring(__doc__)
    _stands = False

    def _set_call(self, signature: Signature) -> None:
        super()._set_call(signature)
        self._stands = True

    def _count_as_coroutine_function(self) -> None:
        """Leave it: a call gives a stream."""

    def __call__(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self, *args: P.args, **kwargs: P.kwargs
    ) -> Stream[C]:
        """Submit one item, and give the stream of its chunks."""
        if self.instance is None and not self._stands:
            stream: Any = self.call_unbound(args, kwargs)
            return stream  # type: ignore[no-any-return]
        try:
            item = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise self.refused(kwargs, error) from None
        return self.stream(item)

    def refused(self, kwargs: dict[str, Any], error: TypeError) -> TypeError:
        """Give the error of a call with wrong arguments, better than Python's where it can be."""
        return self._signature.refused(kwargs, error, "stream")


class UnboundMethod(Batched[P, T_contra, R_co]):
    """A method as its class has it: to be called with the instance in front."""

    __doc__ = own_docstring(__doc__)

    def __init__(self, method: Batched[P, T_contra, R_co]) -> None:
        self.__dict__.update(method.__dict__)
        self.definition = method.definition
        self._method = method
        self._set_router(Unbound(method.definition))
        self.set_call(0, None)

    def bind_to(self, instance: Any, owner: type[Any] | None) -> Batched[P, T_contra, R_co]:
        """Give the batcher of one instance."""
        return self._method.__get__(instance, owner)

    def call_unbound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> BatchedCall[R_co]:
        """Call it with the instance in front."""
        if not args:
            self.router.here()
        return self._method.__get__(args[0])(*args[1:], **kwargs)


class Unbound(Router):
    """The dispatchers of a method that is not bound: there are none."""

    def __init__(self, definition: Definition) -> None:
        super().__init__(lambda: None)
        self.name = definition.name
        self.options = definition.options

    def find_lane(self) -> NoReturn:
        """Raise TypeError."""
        raise TypeError(
            f"{self.name!r} is a method: use it through an instance; "
            "a class method needs @batched() above @classmethod"
        )

    @property
    def closed(self) -> NoReturn:
        """Raise TypeError."""
        self.find_lane()

    def __getattr__(self, name: str) -> Callable[..., Lane]:
        return lambda *_, **__: self.find_lane()


async def like_a_call(*args: Any, **kwargs: Any) -> None:
    """Lend the code flags of what gives coroutines; never called."""


def is_classmethod_of(kind: Any, function: object) -> bool:
    """Tell whether ``kind`` is a class that has ``function`` wrapped as a classmethod."""
    return isinstance(kind, type) and any(
        kind_of(value) is classmethod and value.__func__ is function
        for base in kind.__mro__
        for value in vars(base).values()
    )
