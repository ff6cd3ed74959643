"""Drive a streaming handler call: step by step, one chunk for each item that is still there."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from contextvars import Context
from typing import Any

from microbatch._core import InFlightBatch, Lane
from microbatch._handlers.own_exceptions import individual, original
from microbatch._handlers.results import Expected, by_position, is_exact
from microbatch._handlers.settling import SETTLED, as_it_is
from microbatch._streams.channel import END, Channel, WakeEvent, set_all
from microbatch.errors import BatchError, CapacityError
from microbatch.options import Options

__all__ = ["StreamCall"]


class StreamCall:
    """Take the steps of one handler call, and hand out their chunks.

    An item that was opened as a stream is a Channel, which buffers what its reader has not taken
    yet. For one that was submitted the chunks are gathered in a list, which is its result.
    """

    def __init__(
        self, lane: Lane, options: Options, name: str, batch: InFlightBatch[Any], entries: list[Any]
    ) -> None:
        self._batch = batch
        self._lane = lane
        self._name = name
        self._buffer = options.stream_buffer
        self._waits = options.stream_overflow == "wait"
        self._context = Context()
        self._room = WakeEvent(lane.loop)
        self._places = tuple(range(batch.size))
        self._entries = entries
        self._sinks = [self._sink_of(entry) for entry in entries]
        self._full: list[int] = []

    def _sink_of(self, entry: Any) -> Any:
        if not isinstance(entry, Channel):
            return []
        entry.writer = self._room
        return entry

    @property
    def items(self) -> list[Any]:
        """What the callers submitted."""
        return [each.item if isinstance(each, Channel) else each for each in self._entries]

    def places(self) -> tuple[int, ...]:
        """Give the places of the items that the current step is for."""
        return self._places

    async def run(self, generator: AsyncGenerator[Any, Any]) -> Any:
        """Take steps until the generator returns or nobody is left; it is closed in any case.

        Between two steps the loop has a turn, in which readers take their chunks. The value of
        each ``yield`` is the places of the items that are still there then.
        """
        try:
            async with aclosing(generator):
                places = None
                while self._batch.alive:
                    try:
                        step = await generator.asend(places)
                    except StopAsyncIteration:
                        self._finish(self._batch.awaited)
                        break
                    self._hand_out(step)
                    await asyncio.sleep(0)
                    await self._wait_for_room()
                    places = self._places = self._awaited()
        finally:
            self._batch.places = None  # which knows these steps
        return SETTLED

    def _awaited(self) -> tuple[int, ...]:
        """Give the places of the items still there: items only leave, so their number tells."""
        unchanged = self._batch.alive == len(self._places)
        return self._places if unchanged else self._batch.awaited

    # --------------------------------------------------------------------------------- one step
    def _hand_out(self, step: Any) -> None:
        """Give each reader its chunk, failure or end, and wake those that wait."""
        if step is None:
            return
        chunks = chunks_of(step, len(self._places), self._name)
        there = {*self._awaited()}
        events: list[WakeEvent] = []
        finished: list[int] = []
        callers: Counter[int] = Counter()
        for place, chunk in zip(self._places, chunks, strict=True):
            if chunk is END:
                finished.append(place)
            elif chunk is StopIteration or isinstance(chunk, StopIteration):
                self._batch.settle(place, self._no_end(), as_it_is)
            elif isinstance(chunk, BaseException):
                callers = callers or Counter(
                    id(each) for at, each in zip(self._places, chunks, strict=True) if at in there
                )
                own = original if callers[id(chunk)] == 1 else individual
                self._batch.settle(place, chunk, own)
            elif place in there:
                self._put(place, chunk, events)
        self._finish(finished)
        if events:
            self._lane.loop.call_soon(set_all, events, context=self._context)
        self._lane.wake_soon()

    def _put(self, place: int, chunk: Any, events: list[WakeEvent]) -> None:
        sink = self._sinks[place]
        if not isinstance(sink, Channel):
            sink.append(chunk)
            return
        if len(sink.chunks) >= self._buffer:  # only where nobody waits for the slow
            self._batch.settle(place, self._too_slow(), as_it_is)
            return
        sink.chunks.append(chunk)
        if sink.reader.awaited:
            events.append(sink.reader)
        if self._waits and len(sink.chunks) == self._buffer:
            self._full.append(place)

    def _finish(self, places: Sequence[int]) -> None:
        for place in places:
            sink = self._sinks[place]
            self._batch.settle(place, None if isinstance(sink, Channel) else sink, individual)

    async def _wait_for_room(self) -> None:
        """Wait while there is an item whose buffer is full."""
        while self._full:
            there = {*self._batch.awaited}
            self._full = [
                place
                for place in self._full
                if place in there and len(self._sinks[place].chunks) == self._buffer
            ]
            if self._full:
                await self._room

    def _no_end(self) -> BatchError:
        return BatchError(
            f"handler {self._name!r} must yield microbatch.END for an item that is finished, "
            "got StopIteration"
        )

    def _too_slow(self) -> CapacityError:
        return CapacityError(
            f"an item of batcher {self._name!r} was read too slowly: "
            f"stream_buffer is {self._buffer}, and so many chunks waited for their reader"
        )


def chunks_of(step: Any, size: int, name: str) -> Sequence[Any]:
    """Give what a handler yielded as one chunk for each of ``size`` items, by their position.

    Raises ResultCountError when the number differs, and BatchError for what is no sequence.
    """
    if is_exact(step) and len(step) == size:
        return step  # type: ignore[no-any-return]
    expected = Expected(name=name, size=size, verb="yield", each="chunk", items="items still there")
    return by_position(step, expected)
