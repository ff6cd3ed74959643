"""What ``@batched`` makes of a method, as type checkers see it in its class."""

from typing import Any, ParamSpec, Protocol, TypeVar, overload

from microbatch._core import BatchedCall
from microbatch._decorating.callable import Batched

__all__ = ["BatchedClassMethod", "BatchedMethod", "UnboundBatchedMethod"]

P = ParamSpec("P")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class UnboundBatchedMethod(Protocol[P, T_contra, R_co]):
    """A Batched of a class, which is called with the instance in front."""

    def __get__(
        self, instance: object, owner: type[Any] | None = None, /
    ) -> Batched[P, T_contra, R_co]:
        """Give the batcher of an instance."""
        ...

    def __call__(self, instance: Any, /, *args: P.args, **kwargs: P.kwargs) -> BatchedCall[R_co]:
        """Call it with the instance in front."""
        ...


class BatchedMethod(Protocol[P, T_contra, R_co]):
    """A Batched in a class, as type checkers see it.

    Some compare it as it stands with the methods of a protocol, and not what is bound to an
    instance; others take it for a function that is yet to be bound. So it can be called as both.
    """

    @overload
    def __get__(
        self, instance: None, owner: type[Any], /
    ) -> UnboundBatchedMethod[P, T_contra, R_co]: ...

    @overload
    def __get__(
        self, instance: object, owner: type[Any] | None = None, /
    ) -> Batched[P, T_contra, R_co]: ...

    @overload
    def __call__(
        self, instance: Any, /, *args: P.args, **kwargs: P.kwargs
    ) -> BatchedCall[R_co]: ...

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> BatchedCall[R_co]: ...


class BatchedClassMethod(Protocol[P, T_contra, R_co]):
    """A Batched over a classmethod, as type checkers see it."""

    def __get__(
        self, instance: object, owner: type[Any] | None = None, /
    ) -> Batched[P, T_contra, R_co]:
        """Give the batcher of the class."""
        ...

    @overload
    def __call__(self, owner: Any, /, *args: P.args, **kwargs: P.kwargs) -> BatchedCall[R_co]: ...

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> BatchedCall[R_co]: ...
