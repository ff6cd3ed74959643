"""Call again as a tenacity policy says, on the clock of the loop."""

import functools
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, cast

from tenacity import AsyncRetrying, DoAttempt, DoSleep, RetryCallState, RetryError, TryAgain

from microbatch._handlers.attempts import ATTEMPT, Accepted, GivenUp, Pause, Step

__all__ = ["PolicyAttempts"]


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


class PolicyAttempts:
    """The attempts for one sub-batch, as a copy of the user's AsyncRetrying has them."""

    def __init__(
        self, retrying: AsyncRetrying, handler: Any, name: str, clock: Callable[[], float]
    ) -> None:
        self._retrying = retrying.copy()  # it keeps the state of a call
        self._retrying.begin()
        self._state = CallState(self._retrying, handler, name, clock)
        self._error: Exception | None = None  # of the last attempt
        self._traceback: TracebackType | None = None
        self._broken: Exception | None = None  # what a pause has raised

    async def next_step(self) -> Step:
        """Ask the policy what is to be done next; what its callbacks raise ends the attempts."""
        if self._broken is not None:
            return GivenUp(last_error(self._broken))
        try:
            step = await self._retrying.iter(retry_state=self._state)
        except Exception as raised:
            return GivenUp(self._final(raised))
        if isinstance(step, DoAttempt):
            return ATTEMPT
        if isinstance(step, DoSleep):
            self._state.prepare_for_next_attempt()
            return Pause(functools.partial(self._sleep, step))
        return Accepted(step)

    def ended(self, items: list[Any], answer: Any, error: Exception | None) -> None:
        """Show the policy the items of an attempt, and what the handler has answered or raised."""
        self._state.args = (items,)
        self._error = error
        if error is None:
            self._state.set_result(answer)
        else:
            self._traceback = error.__traceback__
            self._state.set_exception((type(error), error, self._traceback))

    def close(self) -> None:
        """Let go of what knows its owner."""
        self._retrying.iter_state.reset()
        self._broken = None

    async def _sleep(self, seconds: float) -> None:
        """Sleep as the policy does; a sleep that raises ends the attempts."""
        try:
            await cast("Awaitable[None]", self._retrying.sleep(seconds))
        except Exception as raised:
            self._broken = raised

    def _final(self, raised: Exception) -> BaseException:
        """Give the failure that stays, without the frames of tenacity, which know it."""
        last = last_error(raised)
        if last is self._error:
            raised.with_traceback(None)  # which no exception of a frozen class refuses
            last.with_traceback(self._traceback)
        return last


def last_error(error: Exception) -> BaseException:
    """Give what the last attempt raised, where a policy gave up with a plain RetryError."""
    if type(error) is not RetryError:
        return error
    last = error.last_attempt.exception()
    if isinstance(last, TryAgain):  # a handler's word for "this, once more"
        last = last.__cause__ or last.__context__ or last
    return error if last is None else last
