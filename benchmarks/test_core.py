"""The core alone, without a loop: what an item costs in it."""

import time
from typing import Any

import pytest

from microbatch import _core as core

BATCH = 64


def new_submitter() -> tuple[Any, Any]:
    """Give a submitter and its lane, with a slot that is never free: nothing is dispatched."""

    class OneLane(core.Router):
        def find_lane(self) -> Any:
            return lane

    def nothing(*_: object) -> None:
        return None

    lane = core.Lane(
        object(),
        "benchmark",
        clock=time.monotonic,
        call_soon=nothing,
        call_soon_threadsafe=nothing,
        call_at=nothing,
        on_due=nothing,
        on_abandoned=nothing,
        on_idle=nothing,
        on_given_up=nothing,
        on_own_wait=nothing,
        on_callback_error=nothing,
        pin=None,
        cancelled_error=RuntimeError,
        invalid_state_error=RuntimeError,
        done_future=None,
    )
    lane.configure(
        max_batch_size=BATCH, max_latency=0.0, capacity=None, overflow="wait", timeout=None
    )
    return core.Submitter(OneLane(lambda: lane.loop)), lane


@pytest.mark.parametrize("callbacks", [False, True])
def test_trip(benchmark: Any, callbacks: bool) -> None:
    """Submit a batch, take it, settle it and wake its callers."""
    submitter, lane = new_submitter()
    submit = submitter.submit
    benchmark.extra_info.update(workload="trip, callbacks" if callbacks else "trip", items=BATCH)

    def trip() -> None:
        for item in range(BATCH):
            ticket = submit(item)
            if callbacks:
                ticket.add_done_callback(id)
        lane.free_slots = 1
        batch, items = lane.next_batch()
        batch.end()
        batch.resolve(tuple(items), None)
        lane.wake()

    benchmark(trip)
