"""Every exception that microbatch raises by itself.

    MicrobatchError
    ├── BatchError               a failure that could not be handed on as it was; see __cause__
    ├── BatcherClosedError       the batcher is closed, or was closed before the item was handled
    ├── BatchTimeoutError        the item's timeout passed first (also a TimeoutError)
    ├── CapacityError            the batcher is full, or the item was dropped to make room
    ├── HandlerCancelledError    the handler was cancelled, or stopped by an exit request
    ├── OverweightError          the item is heavier than a batch may be (also a ValueError)
    └── ResultCountError         the handler answered another number of results than items

A wrong option is a plain ``ValueError`` or ``TypeError`` that names the parameter, the rule and
the value.
"""

__all__ = [
    "BatchError",
    "BatchTimeoutError",
    "BatcherClosedError",
    "CapacityError",
    "HandlerCancelledError",
    "MicrobatchError",
    "OverweightError",
    "ResultCountError",
]


class MicrobatchError(Exception):
    """The base of every error in this module."""


class BatchError(MicrobatchError):
    """Stand for a failure that could not be handed on as it was; ``__cause__`` is the original."""


class BatcherClosedError(MicrobatchError):
    """Say that the batcher is closed: the item was refused, or given up when closing timed out."""


class BatchTimeoutError(MicrobatchError, TimeoutError):
    """Say that an item's timeout passed before its result was there."""


class CapacityError(MicrobatchError):
    """Say that the batcher is full: the item was refused, or dropped for a newer one."""


class HandlerCancelledError(MicrobatchError):
    """Say that the handler was cancelled by something other than its callers."""


class OverweightError(MicrobatchError, ValueError):
    """Say that an item was refused: it alone is heavier than a batch may be."""


class ResultCountError(MicrobatchError):
    """Say that a handler answered ``received`` results for ``expected`` items.

    Of a streaming handler these are the chunks of one step, and the items that were still there.
    """

    def __init__(self, name: str, expected: int, received: int, message: str | None = None) -> None:
        super().__init__(name, expected, received)
        self.name = name
        self.expected = expected
        self.received = received
        self._message = message or (
            f"handler {name!r} must return one result for each of {expected} items, got {received}"
        )

    def __str__(self) -> str:
        return self._message
