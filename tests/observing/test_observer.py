"""An observer is told of every batch, never of every item, and cannot hurt any."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

from microbatch import (
    BatchDispatched,
    BatchEnded,
    Batcher,
    BatcherClosedError,
    BatchTimeoutError,
    HandlerCancelledError,
    ResultCountError,
    batched,
    current_batch,
)
from microbatch.testing import RecordingHandler

CALLER: contextvars.ContextVar[str] = contextvars.ContextVar("caller", default="nobody")


class Observer:
    """Remember the events."""

    def __init__(self) -> None:
        self.events: list[BatchDispatched | BatchEnded] = []

    def __call__(self, event: BatchDispatched | BatchEnded) -> None:
        self.events.append(event)

    @property
    def ended(self) -> list[BatchEnded]:
        return [event for event in self.events if isinstance(event, BatchEnded)]


class Capturing(Observer):
    captures_context = True


def observed(handler: Any, **options: Any) -> tuple[Batcher[Any, Any], Observer]:
    observer = Observer()
    return Batcher(handler, observer=observer, **options), observer


async def outcomes(batcher: Batcher[Any, Any], *items: Any) -> list[Any]:
    return await asyncio.gather(*map(batcher.submit, items), return_exceptions=True)


# ---------------------------------------------------------------------------------- what it is told
@pytest.mark.every_loop
async def test_it_is_told_of_the_dispatch_and_of_the_end_of_each_batch() -> None:
    batcher, observer = observed(RecordingHandler(), max_batch_size=2, name="embed")
    await outcomes(batcher, *range(4))
    kinds = [type(event) for event in observer.events]
    assert kinds == [BatchDispatched, BatchEnded, BatchDispatched, BatchEnded]
    assert [event.name for event in observer.events] == ["embed"] * 4


async def test_the_events_of_a_batch_tell_its_facts() -> None:
    batcher, observer = observed(RecordingHandler(delay=5.0), max_batch_size=4, max_latency=2.0)
    batcher.submit("a")
    await asyncio.sleep(0.5)
    await batcher.submit("b")
    dispatched, ended = observer.events
    assert isinstance(dispatched, BatchDispatched)
    assert isinstance(ended, BatchEnded)
    for event in (dispatched, ended):
        assert (event.name, event.size, event.reason) == ("recording", 2, "latency")
        assert event.occupancy == 0.5
        assert event.waits == (2.0, 1.5)
        assert event.dispatched == 2.0
    assert (ended.outcome, ended.error, ended.failed) == ("returned", None, 0)
    assert (ended.ended, ended.seconds) == (7.0, 5.0)
    assert repr(dispatched) == "<BatchDispatched 'recording': 2 items, latency>"
    assert repr(ended) == "<BatchEnded 'recording': 2 items, returned>"


async def test_the_events_tell_the_key_and_the_weight() -> None:
    handler: RecordingHandler[str, str] = RecordingHandler()
    batcher, observer = observed(handler, key=len, max_batch_weight=9, weigh=len)
    await outcomes(batcher, "aa", "b", "cc")
    facts = [(event.size, event.key, event.weight) for event in observer.ended]
    assert facts == [(2, 2, 4.0), (1, 1, 1.0)]
    batcher, observer = observed(RecordingHandler())
    await outcomes(batcher, 1, 2)
    assert (observer.ended[0].key, observer.ended[0].weight) == (None, 2.0)


async def test_the_dispatch_is_told_before_the_handler_starts_and_the_end_once_it_settled() -> None:
    log: list[Any] = []
    tickets: list[Any] = []

    async def handler(items: list[int]) -> list[int]:
        log.append("handler")
        return items

    def observer(event: BatchDispatched | BatchEnded) -> None:
        log.append((type(event).__name__, [ticket.done() for ticket in tickets]))

    batcher = Batcher(handler, observer=observer)
    tickets.append(batcher.submit(1))
    await tickets[0]
    assert log == [("BatchDispatched", [False]), "handler", ("BatchEnded", [True])]


async def test_a_batch_that_raised_tells_the_original_exception() -> None:
    original = KeyError("secret")
    batcher, observer = observed(RecordingHandler(lambda items: raising(original)))
    await outcomes(batcher, 1, 2)
    (ended,) = observer.ended
    assert (ended.outcome, ended.failed) == ("raised", 2)
    assert ended.error is original


async def test_a_wrong_number_of_results_is_a_batch_that_raised() -> None:
    batcher, observer = observed(RecordingHandler(lambda items: items[1:]))
    await outcomes(batcher, 1, 2)
    (ended,) = observer.ended
    assert (ended.outcome, ended.failed) == ("raised", 2)
    assert isinstance(ended.error, ResultCountError)


async def test_exceptions_at_places_are_counted_in_a_batch_that_returned() -> None:
    batcher, observer = observed(RecordingHandler(lambda items: [1, KeyError(), KeyError()]))
    await outcomes(batcher, 1, 2, 3)
    (ended,) = observer.ended
    assert (ended.outcome, ended.error, ended.failed) == ("returned", None, 2)


async def test_a_batch_that_nobody_awaits_any_more_is_cancelled() -> None:
    batcher, observer = observed(RecordingHandler(delay=60.0))
    ticket = batcher.submit(1)
    await asyncio.sleep(1.0)
    ticket.cancel()
    await batcher.drain()
    (ended,) = observer.ended
    assert (ended.outcome, ended.error, ended.failed) == ("cancelled", None, 0)
    assert ended.seconds == 1.0


async def test_a_handler_that_cancels_itself_is_cancelled() -> None:
    batcher, observer = observed(RecordingHandler(lambda items: raising(asyncio.CancelledError())))
    (error,) = await outcomes(batcher, 1)
    (ended,) = observer.ended
    assert isinstance(error, HandlerCancelledError)
    assert (ended.outcome, ended.error, ended.failed) == ("cancelled", None, 1)


async def test_a_batch_that_fails_with_a_late_item_is_cancelled_and_tells_who_failed() -> None:
    batcher, observer = observed(
        RecordingHandler(delay=60.0), timeout=10.0, timeout_policy="fail", max_batch_size=2
    )
    batcher.submit(1, timeout=1.0)
    with pytest.raises(BatchTimeoutError):
        await batcher.submit(2)
    await batcher.drain()
    (ended,) = observer.ended
    assert (ended.outcome, ended.failed, ended.seconds) == ("cancelled", 1, 1.0)


async def test_closing_that_timed_out_cancels_the_batch() -> None:
    batcher, observer = observed(RecordingHandler(delay=60.0))
    ticket = batcher.submit(1)
    await batcher.aclose(timeout=1.0)
    with pytest.raises(BatcherClosedError):
        await ticket
    assert [event.outcome for event in observer.ended] == ["cancelled"]


async def test_ordered_batches_end_when_their_results_are_released() -> None:
    async def handler(seconds: list[float]) -> list[float]:
        await asyncio.sleep(seconds[0])
        return seconds

    batcher, observer = observed(
        handler, max_batch_size=1, max_concurrent_batches=2, ordering="ordered"
    )
    await outcomes(batcher, 5.0, 1.0)
    assert [event.seconds for event in observer.ended] == [5.0, 1.0]
    assert [event.ended for event in observer.ended] == [5.0, 1.0]


async def test_the_answers_of_a_timeout_policy_are_no_batch() -> None:
    batcher, observer = observed(
        RecordingHandler(delay=5.0), timeout=1.0, timeout_policy=lambda items: items
    )
    assert await outcomes(batcher, 1, 2) == [1, 2]
    await batcher.drain()
    assert len(observer.events) == 2


async def test_a_handler_that_cannot_be_called_has_both_events() -> None:
    batcher, observer = observed(RecordingHandler())
    batcher.router.here()._call = lambda items: raising(KeyError())
    await outcomes(batcher, 1)
    assert [type(event) for event in observer.events] == [BatchDispatched, BatchEnded]
    assert observer.ended[0].outcome == "raised"


def raising(error: BaseException) -> Any:
    raise error


# ----------------------------------------------------------------------------------------- contexts
async def test_it_is_called_in_nobodys_context() -> None:
    seen: list[str] = []
    batcher = Batcher(
        RecordingHandler(), max_batch_size=1, observer=lambda event: seen.append(CALLER.get())
    )
    CALLER.set("ann")
    await batcher.submit(1)  # dispatched from within this very call
    assert seen == ["nobody", "nobody"]


async def test_what_it_sets_at_the_dispatch_holds_in_the_handler_and_at_the_end() -> None:
    seen: list[str] = []

    def observer(event: BatchDispatched | BatchEnded) -> None:
        if isinstance(event, BatchDispatched):
            CALLER.set(f"batch of {event.size}")
        else:
            seen.append(CALLER.get())

    async def handler(items: list[int]) -> list[int]:
        seen.append(CALLER.get())
        return items

    batcher = Batcher(handler, observer=observer, max_batch_size=2, max_concurrent_batches=2)
    await outcomes(batcher, 1, 2, 3)
    assert sorted(seen) == ["batch of 1"] * 2 + ["batch of 2"] * 2
    assert CALLER.get() == "nobody"


@pytest.mark.parametrize("how", [{"capture_context": True}, {"observer": Capturing()}])
async def test_contexts_of_submissions_are_captured_for_who_asks(how: dict[str, Any]) -> None:
    async def handler(items: list[str]) -> list[str | None]:
        return [context and context[CALLER] for context in current_batch().contexts]

    async def caller(name: str) -> Any:
        CALLER.set(name)
        return await batcher.submit("item")

    batcher = Batcher(handler, **how)
    assert await asyncio.gather(caller("ann"), caller("bob")) == ["ann", "bob"]


async def test_contexts_are_told_at_the_dispatch() -> None:
    seen: list[Any] = []

    def observer(event: BatchDispatched | BatchEnded) -> None:
        if isinstance(event, BatchDispatched):
            seen.append([context and context[CALLER] for context in event.contexts])

    for captured in (False, True):
        batcher = Batcher(RecordingHandler(), observer=observer, capture_context=captured)
        CALLER.set("ann")
        await batcher.submit_many([1, 2])
    assert seen == [[None, None], ["ann", "ann"]]


# ----------------------------------------------------------------------------- it can hurt no batch
@pytest.mark.every_loop
async def test_an_observer_that_raises_is_reported_and_hurts_no_batch() -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, report: reports.append(report))

    def observer(event: BatchDispatched | BatchEnded) -> None:
        raise ValueError(type(event).__name__)

    batcher = Batcher(RecordingHandler(), observer=observer, name="embed")
    assert await outcomes(batcher, 1, 2) == [1, 2]
    assert [report["message"] for report in reports] == [
        "Exception in observer of batcher 'embed'"
    ] * 2
    assert [str(report["exception"]) for report in reports] == ["BatchDispatched", "BatchEnded"]


async def test_an_observer_may_use_the_batcher() -> None:
    tickets: list[Any] = []

    def observer(event: BatchDispatched | BatchEnded) -> None:
        if len(tickets) < 6:
            tickets.append(batcher.submit(event.size))

    batcher: Batcher[int, int] = Batcher(
        RecordingHandler(), observer=observer, max_batch_size=1, max_concurrent_batches=2
    )
    await batcher.submit(0)
    await batcher.drain()
    assert await asyncio.gather(*tickets) == [1] * 6


async def test_an_observer_may_cancel_what_it_is_told_of() -> None:
    def observer(event: BatchDispatched | BatchEnded) -> None:
        ticket.cancel()

    handler: RecordingHandler[int, int] = RecordingHandler(delay=60.0)
    batcher = Batcher(handler, observer=observer)
    ticket = batcher.submit(1)
    await asyncio.wait([ticket])
    assert ticket.cancelled()
    await batcher.drain()
    assert asyncio.get_running_loop().time() < 60.0


@pytest.mark.parametrize("event_type", [BatchDispatched, BatchEnded])
def test_an_exit_request_of_an_observer_goes_on_and_nobody_hangs(
    loop_kind: Any, event_type: type
) -> None:
    def observer(event: BatchDispatched | BatchEnded) -> None:
        if type(event) is event_type and len(exits) < 1:
            exits.append(event)
            raise SystemExit(3)

    async def main() -> None:
        batcher: Batcher[int, int] = Batcher(RecordingHandler(), observer=observer)
        tickets.append(batcher.submit(1))
        try:
            await asyncio.sleep(60.0)
        finally:
            tickets.append(batcher.submit(2))
            results.append(await tickets[1])

    exits: list[Any] = []
    tickets: list[Any] = []
    results: list[int] = []
    with pytest.raises(SystemExit):
        loop_kind.run(main)
    assert tickets[0].done()
    assert results == [2]


# ----------------------------------------------------------------------------------- other handlers
async def test_methods_share_the_observer_of_their_decorator() -> None:
    observer = Observer()

    class Model:
        @batched(observer=observer)
        async def embed(self, texts: list[str]) -> list[int]:
            return [len(text) for text in texts]

    one, two = Model(), Model()
    assert await asyncio.gather(one.embed("a"), two.embed("bc")) == [1, 2]
    assert [event.name for event in observer.ended] == ["Model.embed"] * 2


async def test_without_an_observer_nothing_is_kept_of_a_batch() -> None:
    batcher: Batcher[int, int] = Batcher(RecordingHandler())
    observing = batcher.router.here().observing
    await batcher.submit(1)
    assert (observing.observer, observing._known) == (None, {})
