"""Rows through a batcher: one answer for each, in order, in bounded memory."""

import asyncio
import contextlib
import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from microbatch import Batcher, BatchError, BatchTimeoutError, Ticket
from microbatch.offline.files import BlockReader
from microbatch.offline.jsonl import Failure, JsonLines, Row, encode, failure
from microbatch.offline.loading import binder, place

__all__ = ["Counts", "JsonLinesSource", "RowSink", "RowSource", "Run"]

Outstanding: TypeAlias = tuple[Row, Ticket[Any] | Failure]


class RowSource(Protocol):
    """Where rows come from."""

    @property
    def ended(self) -> bool:
        """Whether every row there is was given."""
        ...

    async def read(self) -> Iterator[Row] | None:
        """Give the next rows, perhaps none yet; None after the last. Raises OSError.

        They are used up before the next are asked for.
        """
        ...

    def stop(self) -> None:
        """Read no more, and end a read that waits."""
        ...


class RowSink(Protocol):
    """Where the answers go."""

    async def write(self, lines: Sequence[bytes], /) -> None:
        """Take the next lines, and return when they are safe. Raises OSError."""
        ...


class JsonLinesSource:
    """Read rows from a file of JSON lines."""

    def __init__(self, blocks: BlockReader, lines: JsonLines) -> None:
        self._blocks = blocks
        self._lines = lines
        self.ended = False

    async def read(self) -> Iterator[Row] | None:
        """Give the rows that the next block completes. Once stopped, half a line is no row."""
        if self.ended or (block := await self._blocks.read()) is None:
            return None
        self.ended = not block
        return self._lines.feed(block) if block else self._lines.finish()

    def stop(self) -> None:
        """Read no more."""
        self._blocks.stop()


@dataclass(slots=True)
class Counts:
    """Count what a run has done; it grows while the run goes on."""

    read: int = 0
    """Rows taken from the source."""
    written: int = 0
    """Lines written, one for each row."""
    bytes_done: int = 0
    """Bytes of the input up to the last row written."""
    failed: Counter[str] = field(default_factory=Counter[str])
    """Rows written as errors, by stage."""
    first_failure: str | None = None
    """The first of these, in words."""
    read_error: OSError | None = None
    """Why reading ended before the input did."""
    stopped: bool = False
    """Whether ``stop`` left rows of the input without an answer."""


class Run:
    """Send rows through a batcher, and write one line for each, in the order of the rows.

    At most ``window`` rows are outstanding: taken from the source and not yet written. A row that
    fails, at whatever stage, is written as an error in its place. ``on_progress`` is called
    whenever lines were written.
    """

    def __init__(
        self,
        source: RowSource,
        batcher: Batcher[Any, Any],
        sink: RowSink,
        *,
        window: int,
        on_progress: Callable[[Counts], object] = lambda _: None,
    ) -> None:
        self.counts = Counts()
        self._source = source
        self._batcher = batcher
        self._sink = sink
        self._window = window
        self._on_progress = on_progress
        self._item_of = binder(batcher)
        self._outstanding: deque[Outstanding] = deque()
        self._stopping = False
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()

    def stop(self) -> None:
        """Take no more rows; those that are outstanding are still finished and written."""
        self._stopping = True
        self._room.set()
        self._source.stop()

    async def run(self) -> Counts:
        """Answer every row and close the batcher; raises the sink's OSError.

        An error of the source ends the rows, and is in the counts.
        """
        feeding = asyncio.create_task(self._feed(), name="microbatch.run")
        feeding.add_done_callback(lambda _: self._arrived.set())
        try:
            while await self._next_is_ready(feeding):
                await self._write_ready()
            feeding.result()
        finally:
            feeding.cancel()
            for _, ticket in self._outstanding:
                if not isinstance(ticket, Failure):
                    ticket.cancel()
            await asyncio.wait([feeding])
            await self._batcher.aclose()
        return self.counts

    # ----------------------------------------------------------------------------------- reading
    async def _feed(self) -> None:
        try:
            self.counts.stopped = not await self._take_all()
        except OSError as error:
            self.counts.read_error = error
        self._batcher.flush()  # no companions come any more

    async def _take_all(self) -> bool:
        """Take rows to the last, or until ``stop``; tell whether all were taken."""
        while (rows := await self._source.read()) is not None:
            for row in rows:
                await self._wait_for_room()
                if self._stopping:
                    return False
                self._take(row)
        return self._source.ended

    async def _wait_for_room(self) -> None:
        while len(self._outstanding) >= self._window and not self._stopping:
            self._room.clear()
            await self._room.wait()

    def _take(self, row: Row) -> None:
        self.counts.read += 1
        self._outstanding.append((row, row.failure or self._submit(row.value)))
        self._arrived.set()

    def _submit(self, value: Any) -> Ticket[Any] | Failure:
        try:
            return self._batcher.submit(self._item_of(value))
        except Exception as error:
            return failure("handler", error)

    # ----------------------------------------------------------------------------------- writing
    async def _next_is_ready(self, feeding: "asyncio.Task[None]") -> bool:
        """Wait until the next row has its answer; False after the last."""
        while not self._outstanding:
            if feeding.done():
                return False
            self._arrived.clear()
            await self._arrived.wait()
        _, ticket = self._outstanding[0]
        if not isinstance(ticket, Failure):
            with contextlib.suppress(Exception):  # the failure is the row's, and told there
                await ticket
        return True

    async def _write_ready(self) -> None:
        """Write the answers that are there, up to the first that is not."""
        ready = list(itertools.takewhile(is_ready, self._outstanding))
        encoded = [self._encode(row, ticket) for row, ticket in ready]
        await self._sink.write([line for line, _ in encoded])
        for _ in ready:
            self._outstanding.popleft()
        self.counts.written += len(ready)
        self.counts.bytes_done = ready[-1][0].end
        self.counts.failed.update(failed.stage for _, failed in encoded if failed)
        self._room.set()
        self._on_progress(self.counts)

    def _encode(self, row: Row, ticket: Ticket[Any] | Failure) -> tuple[bytes, Failure | None]:
        where = ""
        if isinstance(ticket, Failure):
            outcome: Any = ticket
        elif (error := ticket.exception()) is None:
            outcome = ticket.result()
        else:
            outcome, where = describe(error)
        line, failed = encode(row.line, outcome)
        if failed and self.counts.first_failure is None:
            self.counts.first_failure = f"line {row.line}: {failed.type}: {failed.message}{where}"
        return line, failed


def is_ready(entry: Outstanding) -> bool:
    """Tell whether a row can be written."""
    _, ticket = entry
    return isinstance(ticket, Failure) or ticket.done()


def describe(error: BaseException) -> tuple[Failure, str]:
    """Say how a row failed and where; a wrapped error is described by what it wraps."""
    cause = error.__cause__ or error
    if isinstance(error, BatchTimeoutError):
        return failure("timeout", error), ""
    return failure("handler", cause if isinstance(error, BatchError) else error), place(cause)
