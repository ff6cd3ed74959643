"""Fronts: what items are submitted to."""

# The classes of the core share their internals.
# pyright: reportPrivateUsage=false

from collections.abc import Callable, Iterable
from types import GenericAlias
from typing import Any, Self

from microbatch._core_py.lanes import Lane
from microbatch._core_py.tickets import Ticket, Timeout


class Router:
    """Know the lane of the running loop."""

    def __init__(self, running_loop: Callable[[], object]) -> None:
        self.running_loop = running_loop

    def find_lane(self) -> Lane:
        """Give the running loop's lane; for the subclass to say."""
        raise NotImplementedError


class Front:
    """Be what items are submitted to."""

    _width = 1

    def __class_getitem__(cls, parameters: Any) -> GenericAlias:
        return GenericAlias(cls, parameters)

    def __init__(self, router: Router) -> None:
        self.router = router

    def submit(
        self,
        item: Any,
        *,
        timeout: Timeout = ...,
        weight: Any = ...,
        key: Any = ...,
        priority: Any = ...,
    ) -> Ticket:
        """Submit one item, and give the ticket to await for its result.

        ``timeout``, in seconds, replaces the option of that name for this item; None is no limit.
        ``weight``, ``key`` and ``priority`` replace what the options would say of it.
        At capacity the item waits for admission, or CapacityError is raised, or the oldest queued
        item is dropped, as ``overflow`` says. Raises BatcherClosedError after closing, and
        RuntimeError where no event loop runs.
        """
        lane = self.router.find_lane()
        return lane._push(self._whole(item), timeout, weight, key, priority)

    def submit_nowait(
        self,
        item: Any,
        *,
        timeout: Timeout = ...,
        weight: Any = ...,
        key: Any = ...,
        priority: Any = ...,
    ) -> Ticket:
        """Submit one item as submit() does; raise CapacityError where it would have to wait."""
        lane = self.router.find_lane()
        if lane._overflow == "wait" and lane.crowded and not lane.closed:
            lane._refuse(1)
        return lane._push(self._whole(item), timeout, weight, key, priority)

    def _submit_waiting(self, item: Any) -> Ticket:
        """Submit one item as submit() does, and at capacity wait, whatever ``overflow`` says."""
        lane = self.router.find_lane()
        lane._refuse_when_closed(1)
        return lane._accept(self._whole(item), ..., lane._ask([item]))

    def submit_many(
        self,
        items: Iterable[Any],
        *,
        timeout: Timeout = ...,
        key: Any = ...,
        priority: Any = ...,
        return_exceptions: bool = False,
    ) -> Ticket:
        """Submit items with one ticket for all, whose result is the list of their results.

        It settles when all have. Where items fail, it raises the exception of the first of them
        by place, or with ``return_exceptions`` has each exception in its place. The items may be
        handled in several batches. For the rest it is as submit().
        """
        lane, every = self.router.find_lane(), [self._whole(item) for item in items]
        return lane._push_many(every, timeout, bool(return_exceptions), ..., key, priority)

    def _whole(self, item: Any) -> Any:
        """Give an item back; TypeError where it lacks one value for each parameter."""
        if self._width > 1 and not has_width(item, self._width):
            raise TypeError(
                f"an item must be a tuple of {self._width} values, one for each parameter, "
                f"got {item!r}"
            )
        return item


def has_width(item: Any, width: int) -> bool:
    """Tell whether an item is a tuple or a list of so many values."""
    return issubclass(type(item), (tuple, list)) and len(item) == width


class CallableFront(Front):
    """Be a front that is called as its function would be, and is bound to instances as a method.

    A subclass has ``bind_to(instance, owner)``, which gives the front of an instance and may keep
    it in ``bound``, by the instance's ``id()``; and ``call_unbound(args, kwargs)``, for what is
    not callable as it stands.
    """

    bind_to: Callable[[Any, type | None], Any]
    call_unbound: Callable[[tuple[Any, ...], dict[str, Any]], Any]
    bound: dict[int, Any]
    instance: Any = None  # what this is bound to, alive as long as this
    definition: Any = None  # what was decorated: its owner's

    def set_call(self, arity: int, bind: Callable[..., Any] | None, width: int = 1) -> None:
        """Say how a call becomes an item, and what is one.

        ``arity`` positional arguments are the item as they stand, whatever else is given goes
        through ``bind``; 0 is not callable as it stands. With a ``width`` above 1 an item is a
        tuple or a list of so many values.
        """
        self._arity, self._bind, self._width, self.bound = arity, bind, width, {}

    def pinned(self, instance: Any) -> Self:
        """Give a front like this one that keeps ``instance`` alive."""
        front = type(self).__new__(type(self))
        front.router, front._arity, front._bind = self.router, self._arity, self._bind
        front.bound, front.definition, front.instance = self.bound, self.definition, instance
        front._width = self._width
        return front

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        front = None if instance is None else self.bound.get(id(instance))
        return self.bind_to(instance, owner) if front is None else front.pinned(instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._arity == 0:
            return self.call_unbound(args, kwargs)
        if kwargs or len(args) != self._arity:
            assert self._bind is not None
            item = self._bind(*args, **kwargs)
        else:
            item = args[0] if self._arity == 1 else args
        return self.router.find_lane()._push(item, ...)
