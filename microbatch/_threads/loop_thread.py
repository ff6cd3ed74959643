"""Run an event loop in a thread of its own."""

import asyncio
import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable

from microbatch._handlers.kinds import tells_of_shutdown
from microbatch._threads.inbox import Inbox

__all__ = ["LoopThread"]


class LoopThread:
    """A thread that runs an event loop until it is told to stop.

    It is a daemon, and so are the worker threads that its loop starts: the interpreter does not
    wait for them. The loop can be sent calls before it runs.
    """

    def __init__(
        self, name: str, loop_factory: Callable[[], AbstractEventLoop] | None = None
    ) -> None:
        self._loop = (loop_factory or asyncio.new_event_loop)()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=f"microbatch {name}", daemon=True)
        self.inbox = Inbox(self._loop, name)

    def start(self) -> None:
        """Run the loop; when that is interrupted, it ends."""
        try:
            self._thread.start()
        except BaseException:
            self._loop.call_soon_threadsafe(self.stop)
            raise

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the thread has ended, at most ``timeout`` seconds; tell whether it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                try:
                    runner.run(self._main())
                finally:  # what an exit request leaves to do is done in vain
                    self.inbox.ended = True
        except RuntimeError as error:  # asyncio needs a thread to end those of its executor
            if not tells_of_shutdown(error):
                raise
        finally:
            self.inbox.lose()

    async def _main(self) -> None:
        try:
            await self._stopped.wait()
        finally:
            self.inbox.give_up()

    def stop(self) -> None:
        """End the loop; called on the loop."""
        self._stopped.set()
