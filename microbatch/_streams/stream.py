"""Streams: what the readers of a streaming handler's chunks hold."""

import asyncio
from collections.abc import AsyncIterator
from contextvars import Context
from types import TracebackType
from typing import Any, Self, TypeVar

from microbatch._core import Router, Submitter, Ticket
from microbatch._loops.cancelling import cancel_threadsafe
from microbatch._streams.channel import Channel

__all__ = ["Stream", "open_stream"]

C = TypeVar("C")


class Stream(AsyncIterator[C]):
    """The chunks of one item, as a streaming handler yields them; made by a batcher.

    The iteration gives each chunk once, those that came before a failure before it. It ends when
    the item is finished, or raises what the item failed with: what the handler raised or gave in
    the item's place, BatchTimeoutError when its timeout passed before its end, CapacityError when
    it was dropped or read too slowly, BatcherClosedError when closing gave it up. It raises that
    once: a stream that is read on has ended, as an async generator that has raised.

    One task at a time reads it. Cancelling a task that waits for a chunk gives the item up, as
    ``aclose()`` does, and as letting go of the stream does, from whatever thread.
    """

    def __init__(self, channel: Channel, ticket: Ticket[Any], name: str) -> None:
        self._channel = channel
        self._ticket = ticket
        self._name = name
        self._over = False  # its end was told, or nobody is left to hear of it

    async def __anext__(self) -> C:
        channel = self._channel
        if channel.reader.awaited:
            raise RuntimeError(f"a stream of batcher {self._name!r} has another reader already")
        while not channel.chunks:
            if self._ticket.done():
                self._tell_end()
            try:
                await channel.reader
            except asyncio.CancelledError:
                if self._ticket.cancel():
                    channel.chunks.clear()
                raise
        chunk: C = channel.take()
        return chunk

    def _tell_end(self) -> None:
        if self._over:
            raise StopAsyncIteration
        self._over = True
        if self._ticket.cancelled():
            raise RuntimeError(
                f"a stream of batcher {self._name!r} was given up when its reader was cancelled"
            )
        self._ticket.result()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Give the item up unless it has ended, and forget its chunks: the iteration is over.

        The item leaves its batch at the next step.
        """
        self._over = True
        self._ticket.cancel()
        self._channel.chunks.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "done" if self._ticket.done() else "open"
        return f"<Stream of {self._name!r}: {state}, {len(self._channel.chunks)} unread>"

    def __del__(self) -> None:
        if not self._ticket.done():
            cancel_threadsafe(self._ticket)


def open_stream(router: Router, name: str, item: Any, own: dict[str, Any]) -> Stream[Any]:
    """Submit an item with options of its own, and give the stream of its chunks."""
    channel = Channel(item, router.find_lane().loop)
    submitter: Submitter[Channel, None] = Submitter(router)
    ticket = submitter.submit(channel, **own)
    ticket.add_done_callback(channel.end, context=Context())
    return Stream(channel, ticket, name)
