"""What ``@batched`` makes of a method, as type checkers see it in its class."""

from typing import Any, ParamSpec, Protocol, Self, TypeVar, overload

from microbatch._core import BatchedCall
from microbatch.callable import Batched

__all__ = ["BatchedClassMethod", "BatchedMethod"]

P = ParamSpec("P")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class BatchedMethod(Protocol[P, T_contra, R_co]):
    """Be a Batched in a class, as type checkers see it."""

    @overload
    def __get__(self, instance: None, owner: type[Any], /) -> Self: ...

    @overload
    def __get__(
        self, instance: object, owner: type[Any] | None = None, /
    ) -> Batched[P, T_contra, R_co]: ...

    def __call__(self, instance: Any, /, *args: P.args, **kwargs: P.kwargs) -> BatchedCall[R_co]:
        """Call it with the instance in front."""
        ...


class BatchedClassMethod(Protocol[P, T_contra, R_co]):
    """Be a Batched over a classmethod, as type checkers see it."""

    def __get__(
        self, instance: object, owner: type[Any] | None = None, /
    ) -> Batched[P, T_contra, R_co]:
        """Give the batcher of the class."""
        ...

    def __call__(self, owner: Any, /, *args: P.args, **kwargs: P.kwargs) -> BatchedCall[R_co]:
        """Call it with the class in front."""
        ...
