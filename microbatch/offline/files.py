"""Bytes from a file and lines into one, without holding up the event loop."""

import asyncio
import contextlib
import errno
import functools
import io
import os
import stat
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import IO, Any, Self, TypeAlias

import anyio
import anyio.to_thread

__all__ = ["BlockReader", "LineWriter", "bytes_left", "is_same_file", "open_output"]

BLOCK_BYTES = 64 * 1024

PendingRead: TypeAlias = "asyncio.Future[bytes | OSError | None]"


class BlockReader:
    """Read a stream block by block in a thread of its own, and stop at any time.

    A read gives what is there, so a line that is typed or piped comes at once; a file comes in
    blocks of ``block_bytes``. Nothing is read ahead. Use it as a context manager; the stream is
    the caller's to close.
    """

    def __init__(self, stream: IO[bytes], block_bytes: int = BLOCK_BYTES) -> None:
        self.stopped = False
        self._read = functools.partial(unbuffered(stream).read, block_bytes)
        self._pending: PendingRead | None = None  # what the thread is at work on
        self._requests: SimpleQueue[PendingRead | None] = SimpleQueue()
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

    async def read(self) -> bytes | None:
        """Give the next block; b"" at the end, None once stopped. Raises OSError."""
        if self.stopped:
            return None
        self._pending = asyncio.get_running_loop().create_future()
        self._requests.put(self._pending)
        block = await self._pending
        if block is None:
            return None
        self._pending = None
        if isinstance(block, OSError):
            raise block
        return block

    def stop(self) -> None:
        """Read no more; a read that waits for bytes ends now, and what comes for it is lost."""
        self.stopped = True
        if self._pending is not None:
            settle(self._pending, None)

    def _serve(self) -> None:
        while (pending := self._requests.get()) is not None:
            block = self._read_or_error()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for it
                pending.get_loop().call_soon_threadsafe(settle, pending, block)

    def _read_or_error(self) -> bytes | OSError:
        try:
            block: bytes | None = self._read()
        except OSError as error:
            return error
        return would_block("input") if block is None else block


class LineWriter:
    """Write lines to a stream, whole lines at a time, in a worker thread."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.lines = 0
        """The lines written so far, to the last byte."""
        self._write = unbuffered(stream).write

    async def write(self, lines: Sequence[bytes]) -> None:
        """Write lines, and return when the last is out of this process. Raises OSError."""
        # A limiter of its own: handlers in threads must not hold up the results they wait behind.
        limiter = anyio.CapacityLimiter(1)
        await anyio.to_thread.run_sync(self._write_all, b"".join(lines), limiter=limiter)
        self.lines += len(lines)

    def _write_all(self, text: bytes) -> None:
        rest = memoryview(text)
        while rest:
            written: int | None = self._write(rest)
            if written is None:
                raise would_block("output")
            rest = rest[written:]


def settle(pending: PendingRead, block: bytes | OSError | None) -> None:
    """Give a read its block, unless it was stopped."""
    if not pending.done():
        pending.set_result(block)


def unbuffered(stream: IO[bytes]) -> Any:
    """Give what is below a stream's buffer: a read gives what is there, a write leaves at once."""
    return getattr(stream, "raw", stream)


def would_block(what: str) -> BlockingIOError:
    """Make the error for a descriptor that some other process has set not to block."""
    return BlockingIOError(errno.EAGAIN, f"the {what} must be in blocking mode")


def open_output(path: Path, *, force: bool = False) -> IO[bytes]:
    """Open a file for lines; raises FileExistsError where there is one, unless ``force``.

    What is not a regular file, as a pipe or a device, holds nothing to lose and is just opened.
    """
    if force or (path.exists() and not path.is_file()):
        return path.open("wb", buffering=0)
    return path.open("xb", buffering=0)


def is_same_file(stream: IO[bytes], other: IO[bytes] | Path) -> bool:
    """Tell whether both are one regular file, so that writing one would change the other."""
    one, two = status(stream), status(other)
    if one is None or two is None:
        return False
    return stat.S_ISREG(one.st_mode) and os.path.samestat(one, two)


def bytes_left(stream: IO[bytes]) -> int | None:
    """Give how much of a regular file is still to be read; None for anything else."""
    found = status(stream)
    if found is None or not stat.S_ISREG(found.st_mode):
        return None
    left: int = found.st_size - unbuffered(stream).tell()
    return max(0, left)


def status(of: IO[bytes] | Path) -> os.stat_result | None:
    """Give what the system knows of a stream or path; None where there is nothing to know."""
    try:
        return of.stat() if isinstance(of, Path) else os.fstat(of.fileno())
    except (FileNotFoundError, io.UnsupportedOperation):
        return None
