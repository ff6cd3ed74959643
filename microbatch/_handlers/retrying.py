"""Call again as a tenacity policy says, on the clock of the loop."""

import functools
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeAlias

from tenacity import AsyncRetrying, DoAttempt, DoSleep, RetryCallState, RetryError, TryAgain

__all__ = ["RetryPolicy"]

Attempt: TypeAlias = Callable[[RetryCallState], Awaitable[tuple[Any, Exception | None]]]
Pause: TypeAlias = Callable[[Callable[[], Any]], Awaitable[None]]


class CallState(RetryCallState):
    """What tenacity's strategies look at; its times are the loop's."""

    def __init__(
        self, retrying: AsyncRetrying, handler: Any, name: str, clock: Callable[[], float]
    ) -> None:
        super().__init__(retrying, handler, (), {})
        self._name = name
        self._clock = clock
        self.start_time = clock()

    def get_fn_name(self) -> str:
        """Give the name of the batcher, for logs."""
        return self._name

    def set_result(self, val: Any) -> None:
        """Take what a call answered."""
        super().set_result(val)
        self.outcome_timestamp = self._clock()

    def set_exception(
        self, exc_info: tuple[type[BaseException], BaseException, TracebackType | None]
    ) -> None:
        """Take what a call raised."""
        super().set_exception(exc_info)
        self.outcome_timestamp = self._clock()


class RetryPolicy:
    """Drive the user's AsyncRetrying, which several batches may go by at once."""

    def __init__(
        self, retrying: AsyncRetrying, handler: Any, name: str, clock: Callable[[], float]
    ) -> None:
        self._retrying = retrying
        self._handler = handler
        self._name = name
        self._clock = clock

    async def call(self, attempt: Attempt, pause: Pause) -> tuple[Any, BaseException | None]:
        """Attempt until the policy is content; give its answer, or the failure that stays.

        ``attempt(state)`` gives an answer, or an exception. ``pause(sleep)`` awaits what
        ``sleep()`` gives. Whatever is no plain exception they may raise.
        """
        retrying = self._retrying.copy()  # it keeps the state of a call
        retrying.begin()
        state = CallState(retrying, self._handler, self._name, self._clock)
        error, traceback = None, None
        try:
            while True:
                step = await retrying.iter(retry_state=state)
                if isinstance(step, DoAttempt):
                    answer, error = await attempt(state)
                    if error is None:
                        state.set_result(answer)
                    else:
                        traceback = error.__traceback__
                        state.set_exception((type(error), error, traceback))
                elif isinstance(step, DoSleep):
                    state.prepare_for_next_attempt()
                    await pause(functools.partial(retrying.sleep, step))
                else:
                    return step, None
        except Exception as raised:
            last = last_error(raised)
            if last is error:  # without the frames of tenacity, which know it
                raised.with_traceback(None)  # which no exception of a frozen class refuses
                last.with_traceback(traceback)
            return None, last
        finally:
            retrying.iter_state.reset()  # it knows its owner


def last_error(error: Exception) -> BaseException:
    """Give what the last attempt raised, where a policy gave up with a plain RetryError."""
    if type(error) is not RetryError:
        return error
    last = error.last_attempt.exception()
    if isinstance(last, TryAgain):  # a handler's word for "this, once more"
        last = last.__cause__ or last.__context__ or last
    return error if last is None else last
