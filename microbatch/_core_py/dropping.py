"""Dropping: making room for new items, where that is what an overflow does."""

# The classes of the core share their internals.
# pyright: reportPrivateUsage=false

from typing import TYPE_CHECKING

from microbatch._core_py.flights import callers, new_flight
from microbatch._core_py.sharing import mark

if TYPE_CHECKING:
    from microbatch._core_py.lanes import Lane


def drop_for(lane: "Lane", count: int) -> None:
    """Refuse ``count`` new items, or drop the oldest queued ones for them, or neither."""
    # What waits for admission may exceed the capacity; that is not for these to make up for.
    excess = min(count, lane.unsettled + count - lane._capacity)
    if excess <= 0 or lane._overflow == "wait":
        return
    if lane._overflow == "reject" or (excess > lane._live and excess > callers(lane._queue)):
        lane._refuse(count)
    drop_oldest(lane, int(excess))


def drop_oldest(lane: "Lane", count: int) -> None:
    """Drop the oldest queued items, until so many callers have gone."""
    oldest = new_flight(lane)
    oldest._counted = "dropped"
    dropped = 0
    while dropped < count and lane._live:
        lane._move(lane._queue._pop(), oldest)
        dropped += mark(oldest._slots[-1], dropped=True)
    lane.dropped += dropped
    lane._flights.append(oldest)
    oldest.fail(lane.dropped_error)
    lane.wake_soon()
