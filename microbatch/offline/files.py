"""Bytes from a file and lines into one, without holding up the event loop."""

import asyncio
import functools
import os
import stat
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import BinaryIO, Self, TypeAlias

import anyio
import anyio.to_thread

__all__ = [
    "BlockReader",
    "LineWriter",
    "bytes_left",
    "check_apart",
    "open_input",
    "open_output",
]

BLOCK_BYTES = 64 * 1024

Answer: TypeAlias = "asyncio.Future[bytes]"


def raw(stream: BinaryIO) -> BinaryIO:
    """Give what is below a stream's buffer: reads give what is there, writes leave at once."""
    below: BinaryIO = getattr(stream, "raw", stream)
    return below


class BlockReader:
    """Read a stream block by block in a thread of its own, and stop at any time.

    A read gives what is there, so a line that is typed or piped comes at once; a file comes in
    blocks of ``block_bytes``. Nothing is read ahead. Use it as a context manager; the stream is
    closed with it, unless a read is still waiting for bytes.
    """

    def __init__(self, stream: BinaryIO, block_bytes: int = BLOCK_BYTES) -> None:
        self.stopped = False
        self._stream = stream
        self._read = functools.partial(raw(stream).read, block_bytes)
        self._pending: Answer | None = None
        self._requests: SimpleQueue[Answer | None] = SimpleQueue()
        # A daemon: a read that nothing ever answers must not keep the process alive.
        self._thread = threading.Thread(target=self._serve, name="microbatch.reader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._requests.put(None)
        if self._pending is None:
            self._thread.join()
            self._stream.close()

    async def read(self) -> bytes:
        """Give the next block; none at the end, or once stopped. Raises OSError."""
        if self.stopped:
            return b""
        answer: Answer = asyncio.get_running_loop().create_future()
        self._pending = answer
        self._requests.put(answer)
        block = await answer
        if not self.stopped:
            self._pending = None
        return block

    def stop(self) -> None:
        """Read no more; a read that is waiting ends now."""
        self.stopped = True
        if self._pending is not None and not self._pending.done():
            self._pending.set_result(b"")

    def _serve(self) -> None:
        while (answer := self._requests.get()) is not None:
            try:
                tell = functools.partial(settle, answer, self._read())
            except OSError as error:
                tell = functools.partial(refuse, answer, error)
            try:
                answer.get_loop().call_soon_threadsafe(tell)
            except RuntimeError:  # the loop is closed: nobody is left to hear of it
                return
