"""All dispatchers of one batcher: one for each event loop that it is used from."""

import asyncio
import concurrent.futures
import contextlib
import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextvars import Context
from typing import Any

from microbatch._core import InFlightBatch, Lane, Router
from microbatch._dispatch.dispatcher import Dispatcher
from microbatch._dispatch.items import refuse_one
from microbatch._handlers.calling import Handler
from microbatch._loops.closing import tell_when_closed
from microbatch._loops.missing import no_loop
from microbatch.batch import makers_context
from microbatch.options import Options
from microbatch.statistics import BatcherStatistics

__all__ = ["Dispatchers"]


class Dispatchers(Router):
    """Make, find, close and count the dispatchers of one batcher."""

    def __init__(
        self,
        handler: Handler,
        options: Options,
        name: str,
        pin: Callable[[], object] | None = None,
        context: Context | None = None,
    ) -> None:
        super().__init__(asyncio._get_running_loop)
        self.handler = handler
        self.options = options
        self.name = name
        self._pin = pin
        self._context = makers_context() if context is None else context
        self._dispatchers: dict[AbstractEventLoop, Dispatcher] = {}
        self._past = BatcherStatistics()
        self._past_lock = threading.Lock()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether new items are refused on all loops."""
        return self._closed

    def find_lane(self) -> Lane:
        """Give the running loop's lane; called by the core when it doesn't know it yet."""
        return self.here().lane

    def check_items(self, items: object) -> None:
        """Raise TypeError for what are not several items; called by the core."""
        refuse_one("items", items, "submit_many")

    def here(self) -> Dispatcher:
        """Give the running loop's dispatcher; RuntimeError where no loop runs."""
        loop = self.loop_here()
        return self._dispatchers.get(loop) or self._open(loop)

    def loop_here(self) -> AbstractEventLoop:
        """Give the running loop; RuntimeError, which says what to do, where none runs."""
        try:
            return asyncio.get_running_loop()
        except RuntimeError:
            raise no_loop(self.name) from None

    def _open(self, loop: AbstractEventLoop) -> Dispatcher:
        self._forget_closed_loops()
        dispatcher = Dispatcher(
            loop, self.handler, self.options, self.name, pin=self._pin, context=self._context
        )
        first = self._dispatchers.setdefault(loop, dispatcher)
        if first is not dispatcher:  # a finalizer has submitted an item meanwhile
            return first
        if self._closed:
            dispatcher.lane.close()
        with contextlib.suppress(OSError):  # then it is told when the next is made
            tell_when_closed(loop, dispatcher)
        return dispatcher

    def serves(self, batch: InFlightBatch[Any], loop: AbstractEventLoop) -> bool:
        """Tell whether a handler call for these items is under way on a loop."""
        dispatcher = self._dispatchers.get(loop)
        return dispatcher is not None and dispatcher.serves(batch)

    async def aclose(self, timeout: float | None) -> int:
        """Close all dispatchers, and wait for those of running loops, each on its own loop."""
        here = self.loop_here()
        if here in self._dispatchers:
            self._dispatchers[here].refuse_own_handler()
        self._closed = True
        self._forget_closed_loops()
        dispatchers = list(self._dispatchers.values())
        for dispatcher in dispatchers:
            dispatcher.begin_close()
            if dispatcher.loop is here:
                dispatcher.flush()
        abandoned = await asyncio.gather(
            *(
                each.aclose(timeout) if each.loop is here else close_elsewhere(each, timeout)
                for each in dispatchers
                if each.loop_runs()
            )
        )
        return sum(abandoned)

    def reconfigure(self, options: Options) -> None:
        """Give all dispatchers these options, each from its own loop's thread."""
        self.options = options
        here = asyncio._get_running_loop()
        for dispatcher in list(self._dispatchers.values()):
            if dispatcher.loop is here:
                dispatcher.reconfigure(options)
            else:
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    dispatcher.loop.call_soon_threadsafe(dispatcher.reconfigure, options)

    def statistics(self) -> BatcherStatistics:
        """Sum the counters and gauges of all dispatchers, those of closed loops too."""
        past = self._past
        dispatchers = list(self._dispatchers.values())  # another thread may add one
        return sum((each.statistics() for each in dispatchers), past)

    def _forget_closed_loops(self) -> None:
        for loop in [loop for loop in list(self._dispatchers) if loop.is_closed()]:
            dispatcher = self._dispatchers.pop(loop, None)
            if dispatcher is not None:  # by another thread
                self._remember(dispatcher)
                dispatcher.loop_closed()

    def _remember(self, dispatcher: Dispatcher) -> None:
        """Add the counters of one that is gone."""
        last = dispatcher.last_statistics()
        with self._past_lock:
            self._past += last


async def close_elsewhere(dispatcher: Dispatcher, timeout: float | None) -> int:
    """Close one whose loop runs in another thread; what that loop leaves undone is given up."""
    call = CloseCall(dispatcher, timeout)
    answer = call.answer
    try:
        dispatcher.loop.call_soon_threadsafe(call)
    except RuntimeError:  # the loop was closed meanwhile
        return dispatcher.lane.unsettled
    del call
    return await asyncio.wrap_future(answer)


class CloseCall:
    """Close a dispatcher on its own loop, and answer whatever becomes of that loop."""

    def __init__(self, dispatcher: Dispatcher, timeout: float | None) -> None:
        self.answer: concurrent.futures.Future[int] = concurrent.futures.Future()
        self._dispatcher = dispatcher
        self._timeout = timeout

    def __call__(self) -> None:
        closing = self._dispatcher.loop.create_task(self._dispatcher.aclose(self._timeout))
        closing.add_done_callback(self._report)

    def _report(self, closing: "asyncio.Task[int]") -> None:
        lost = closing.cancelled() or closing.exception() is not None
        self._tell(self._dispatcher.lane.unsettled if lost else closing.result())

    def _tell(self, abandoned: int) -> None:
        with contextlib.suppress(concurrent.futures.InvalidStateError):  # nobody waits any more
            self.answer.set_result(abandoned)

    def __del__(self) -> None:
        if not self.answer.done():  # the loop was closed before it came to this
            self._tell(self._dispatcher.lane.unsettled)
