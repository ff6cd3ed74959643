"""Run an event loop in a thread of its own."""

import asyncio
import concurrent.futures
import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable

from microbatch.inbox import Inbox

__all__ = ["LoopThread"]


class LoopThread:
    """Be a thread that runs an event loop until it is told to stop.

    It is a daemon, and so are the worker threads that its loop starts: a program that ends does not
    wait for them.
    """

    def __init__(
        self, name: str, loop_factory: Callable[[], AbstractEventLoop] | None = None
    ) -> None:
        self._name = name
        self._loop_factory = loop_factory
        self._ready: concurrent.futures.Future[Inbox] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, name=f"microbatch {name}", daemon=True)

    def start(self) -> Inbox:
        """Give the way to the loop once it runs; raises what kept it from running."""
        self._thread.start()
        return self._ready.result()

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=self._loop_factory) as runner:
                inbox = Inbox(runner.get_loop(), self._name)
                try:
                    runner.run(self._main(inbox))
                finally:  # what an exit request leaves to do is done in vain
                    inbox.ended = True
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)
        finally:
            if self._ready.exception() is None:
                self._ready.result().lose()

    async def _main(self, inbox: Inbox) -> None:
        self._stopped = asyncio.Event()
        self._ready.set_result(inbox)
        try:
            await self._stopped.wait()
        finally:
            inbox.give_up()

    def stop(self) -> None:
        """Have the loop end; called on the loop."""
        self._stopped.set()
