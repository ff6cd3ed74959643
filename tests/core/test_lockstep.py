"""Drive the core and a naive model in lockstep, and compare whatever can be seen of them."""

from __future__ import annotations

import contextvars
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from microbatch import _core
from tests.core.model import Model
from tests.core.world import CALLER, World, outcome

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = 50
EXAMPLES = 400
LEAST_STEPS = 10_000

CALLBACKS = ["plain", "other", "raise", "exit", "add", "wake", "cancel"]

any_ticket = st.integers(0, 1000)
timeouts = st.sampled_from([..., ..., ..., None, 0.5, 1.0, 1, 2.5, 1000.0, math.inf])


class Peer(World):
    """Know everything by its number, so that it can be compared with a Model."""

    def __init__(self, **options: Any) -> None:
        super().__init__(_core, hold=self.hold, **options)
        self.tickets: list[Any] = []
        self.flights: list[Any] = []
        self.callbacks: dict[tuple[int, str], Callable[[Any], None]] = {}

    def hold(self) -> object:
        self.log.append(("hold",))
        return object()

    def _call_at(self, when: float, callback: Callable[[], object]) -> Any:
        self.log.append(("armed", when))
        self.handles = [handle for handle in self.handles if not handle.cancelled]
        return super()._call_at(when, callback)

    def numbered_log(self) -> list[tuple[Any, ...]]:
        """Give the log since the last time, with numbers for the objects."""
        log, self.log[:] = self.log[:], []
        return [self.numbered(entry) for entry in log]

    def numbered(self, entry: tuple[Any, ...]) -> tuple[Any, ...]:
        if entry[0] == "abandoned":
            return ("abandoned", self.flights.index(entry[1]))
        if entry[0] == "reported":
            _, error, callback, ticket = entry
            name = next(name for (_, name), known in self.callbacks.items() if known is callback)
            return ("reported", type(error).__name__, name, self.tickets.index(ticket))
        return entry

    # ------------------------------------------------------------------------------------ actions
    def submit_as(self, how: str, values: list[int], **options: Any) -> Any:
        argument = values if how == "submit_many" else values[0]
        ticket = getattr(self.front, how)(argument, **options)
        self.tickets.append(ticket)
        return ticket

    def keep(self, *flights: Any) -> Any:
        self.flights += flights
        return flights[0]

    def callback(self, number: int, name: str) -> Callable[[Any], None]:
        """Give the one callback of that name for a ticket."""
        ticket = self.tickets[number]

        def call(given: Any) -> None:
            assert given is ticket
            assert CALLER.get() == f"{number} {name}"
            self.log.append(("called", name, number))
            self.act(number, name)

        return self.callbacks.setdefault((number, name), call)

    def act(self, number: int, name: str) -> None:
        if name == "raise":
            raise ValueError
        if name == "exit":
            raise KeyboardInterrupt
        if name == "add":
            self.add_callback(number, "plain")
        elif name == "wake":
            self.lane.wake()
        elif name == "cancel":
            self.tickets[0].cancel()

    def add_callback(self, number: int, name: str) -> None:
        context = contextvars.Context()
        context.run(CALLER.set, f"{number} {name}")
        self.tickets[number].add_done_callback(self.callback(number, name), context=context)

    def remove_callback(self, number: int, name: str) -> Any:
        return self.tickets[number].remove_done_callback(self.callback(number, name))


def attempt(action: Callable[[], Any]) -> tuple[str, Any]:
    """Say what came of a call, so that it can be compared."""
    try:
        return ("returned", action())
    except (Exception, KeyboardInterrupt) as error:
        return ("raised", error)


def comparable(value: Any) -> Any:
    """Make outcomes equal where they should be: a handler's errors are told apart, others not."""
    if isinstance(value, BaseException):
        return (type(value).__name__, value.args if isinstance(value, ValueError) else ())
    return [comparable(each) for each in value] if isinstance(value, list) else value


class Lockstep(RuleBasedStateMachine):
    steps = 0

    @initialize(
        max_batch_size=st.integers(1, 4),
        max_latency=st.sampled_from([0.0, 1.0]),
        capacity=st.sampled_from([None, 1, 2, 3, 5, 8]),
        overflow=st.sampled_from(["wait", "wait", "reject", "drop_oldest"]),
        timeout=st.sampled_from([None, 2.0, 3]),
    )
    def start(self, **options: Any) -> None:
        self.peer = Peer(**options)
        self.model = Model(**options)
        self.value = 0

    def do(self, action: Callable[[Peer], Any]) -> tuple[str, Any]:
        """Do something to the core, and say what came of it."""
        type(self).steps += 1
        return attempt(lambda: action(self.peer))

    def all(self, action: Callable[[Peer], Any], expected: Callable[[], Any]) -> None:
        """Do the same to the core and to the model, which must come to the same."""
        got = self.do(action)
        wanted = attempt(expected)
        assert got[0] == wanted[0], (got, wanted)
        if got[0] == "raised":
            assert type(got[1]) is type(wanted[1])
        elif wanted[1] is None or isinstance(wanted[1], int):
            assert got[1] == wanted[1]

    def number(self, choice: int) -> int:
        """Choose a ticket, the younger the likelier."""
        count = len(self.model.tickets)
        return count - 1 - choice % min(count, 12)

    # ----------------------------------------------------------------------------------- submitting
    def values(self, count: int) -> list[int]:
        self.value += count
        return list(range(self.value - count, self.value))

    @rule(
        how=st.sampled_from(["submit", "submit", "submit", "submit_nowait"]),
        timeout=timeouts,
        count=st.integers(1, 3),
    )
    def submit(self, how: str, timeout: Any, count: int) -> None:
        for values in zip(self.values(count), strict=True):
            self.all(
                lambda peer, values=values: peer.submit_as(how, [*values], timeout=timeout),
                lambda values=values: self.model.submit([*values], timeout, how=how),
            )

    @rule()
    def submit_waiting(self) -> None:
        values = self.values(1)
        self.all(
            lambda peer: peer.submit_as("_submit_waiting", values),
            lambda: self.model.submit(values, ..., how="_submit_waiting"),
        )

    @rule(count=st.integers(0, 6), timeout=timeouts, return_exceptions=st.booleans())
    def submit_many(self, count: int, timeout: Any, return_exceptions: bool) -> None:
        values = self.values(count)
        options = {"timeout": timeout, "return_exceptions": return_exceptions}
        self.all(
            lambda peer: peer.submit_as("submit_many", values, **options),
            lambda: self.model.submit(values, how="submit_many", **options),
        )

    # -------------------------------------------------------------------------------------- tickets
    @precondition(lambda self: self.model.tickets)
    @rule(choice=any_ticket, message=st.sampled_from([None, "enough"]))
    def cancel(self, choice: int, message: Any) -> None:
        number = self.number(choice)
        self.all(
            lambda peer: peer.tickets[number].cancel(message),
            lambda: self.model.cancel(self.model.tickets[number], message),
        )

    @precondition(lambda self: self.model.tickets)
    @rule(choice=any_ticket, names=st.lists(st.sampled_from(CALLBACKS), min_size=1, max_size=3))
    def add_callbacks(self, choice: int, names: list[str]) -> None:
        number = self.number(choice)
        for name in names:
            self.all(
                lambda peer, name=name: peer.add_callback(number, name),
                lambda name=name: self.model.add_callback(self.model.tickets[number], name),
            )

    @precondition(lambda self: self.model.tickets)
    @rule(choice=any_ticket, name=st.sampled_from(CALLBACKS))
    def remove_callback(self, choice: int, name: str) -> None:
        number = self.number(choice)
        self.all(
            lambda peer: peer.remove_callback(number, name),
            lambda: self.model.remove_callback(self.model.tickets[number], name),
        )

    # -------------------------------------------------------------------------------------- flights
    @rule(limit=st.integers(1, 6))
    def take(self, limit: int) -> None:
        self.do(lambda peer: peer.keep(peer.lane.take(limit)))
        self.model.take(limit)

    @precondition(lambda self: self.model.flying)
    @rule(choice=st.integers(0, 100), failures=st.sets(st.integers(0, 5)))
    def resolve(self, choice: int, failures: set[int]) -> None:
        flight = self.model.flying[choice % len(self.model.flying)]
        places = range(len(flight.places))
        answer = tuple(ValueError(place) if place in failures else place for place in places)
        self.do(lambda peer: peer.flights[flight.number].resolve(answer, lambda error: error))
        self.model.resolve(flight, [*answer])

    @precondition(lambda self: self.model.flying)
    @rule(choice=st.integers(0, 100), place=st.integers(0, 6), fails=st.booleans())
    def settle(self, choice: int, place: int, fails: bool) -> None:
        flight = self.model.flying[choice % len(self.model.flying)]
        value = ValueError(place) if fails else place
        self.all(
            lambda peer: peer.flights[flight.number].settle(place, value, lambda error: error),
            lambda: self.model.settle_at(flight, place, value),
        )

    @precondition(lambda self: self.model.flying)
    @rule(choice=st.integers(0, 100), start=st.integers(0, 3), stop=st.integers(0, 5))
    def part(self, choice: int, start: int, stop: int) -> None:
        flight = self.model.flying[choice % len(self.model.flying)]
        self.do(lambda peer: peer.keep(peer.flights[flight.number].part(start, stop)))
        self.model.part(flight, start, stop)

    @precondition(lambda self: self.model.flights)
    @rule(choice=st.integers(0, 100))
    def fail(self, choice: int) -> None:
        flight = self.model.flights[-1 - choice % min(len(self.model.flights), 6)]
        self.do(lambda peer: peer.flights[flight.number].fail(lambda ticket: OSError()))
        self.model.fail(flight, OSError())

    @rule(seconds=st.sampled_from([0.0, 1.0, 3.0]), settle=st.booleans())
    def take_late(self, seconds: float, settle: bool) -> None:
        self.advance(seconds)
        _, answer = self.do(lambda peer: peer.lane.take_late())
        queued, in_flight, hit = self.model.take_late()
        self.peer.keep(*answer[:2])
        assert {self.peer.flights.index(flight) for flight in answer[2]} == {
            flight.number for flight in hit
        }
        if settle:
            self.do(lambda peer: [f.fail(lambda ticket: OSError()) for f in peer.flights[-2:]])
            self.model.fail(queued, OSError())
            self.model.fail(in_flight, OSError())

    @rule(often=st.integers(0, 3))
    def take_all(self, often: int) -> None:
        if often:
            return
        self.do(lambda peer: peer.keep(peer.lane.take_all()))
        every = self.model.take_all()
        self.compare_flights()
        self.do(lambda peer: peer.flights[-1].fail(lambda ticket: OSError()))
        self.model.fail(every, OSError())

    # ---------------------------------------------------------------------------------------- lane
    @rule(seconds=st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0]))
    def advance(self, seconds: float) -> None:
        self.all(lambda peer: peer.advance(seconds), lambda: self.model.advance(seconds))

    @rule()
    def run_soon(self) -> None:
        self.all(lambda peer: peer.run_soon(), self.model.run_soon)

    @rule()
    def wake(self) -> None:
        self.all(lambda peer: peer.lane.wake(), self.model.wake)

    @rule()
    def wake_soon(self) -> None:
        self.all(lambda peer: peer.lane.wake_soon(), self.model.wake_soon)

    @rule()
    def rearm(self) -> None:
        self.all(lambda peer: peer.lane.rearm(), self.model.rearm)

    @rule(slot_free=st.booleans())
    def open_slot(self, slot_free: bool) -> None:
        self.do(lambda peer: setattr(peer.lane, "slot_free", slot_free))
        self.model.slot_free = slot_free

    @rule(often=st.integers(0, 15))
    def close(self, often: int) -> None:
        if not often:
            self.do(lambda peer: peer.lane.close())
            self.model.closed = True

    # ------------------------------------------------------------------------------- what is seen
    @invariant()
    def compare(self) -> None:
        log = sorted_abandoned(self.peer.numbered_log())
        expected = sorted_abandoned(self.model.log)
        self.model.log = []
        assert log == expected
        self.compare_lane()
        self.compare_tickets()
        self.compare_flights()

    def compare_lane(self) -> None:
        peer, model = self.peer, self.model
        lane = peer.lane
        for name in ("unsettled", "queued", "waiting", "oldest", "overdue", "closed", "slot_free"):
            assert getattr(lane, name) == getattr(model, name), name
        assert {name: getattr(lane, name) for name in model.counters} == model.counters
        assert peer.armed == model.armed
        assert len(peer.soon) == len(model.soon)
        assert lane.waited(1.0) == (model.oldest + 1.0 <= model.now)
        rest = {k: v for k, v in model.counters.items() if k not in ("submitted", "rejected")}
        late = sum(i.late and not i.settled for t in model.tickets for i in t.items)
        assert lane.submitted == sum(rest.values()) + lane.unsettled - late

    def compare_tickets(self) -> None:
        model = self.model
        for ticket, expected in zip(self.peer.tickets, model.tickets, strict=True):
            assert ticket.done() == (expected.state != "pending")
            assert ticket.cancelled() == (expected.state == "cancelled")
            assert (ticket.submitted, ticket.deadline) == (expected.submitted, expected.deadline)
            assert comparable(outcome(ticket)) == comparable(model.outcome(expected))

    def compare_flights(self) -> None:
        for flight, expected in zip(self.peer.flights, self.model.flights, strict=True):
            assert flight.items == [item.value for item in expected.here]
            assert flight.awaited == tuple(
                place for place, item in enumerate(expected.places) if item in expected.here
            )
            assert flight.deadlines == [
                item.ticket.deadline if item in expected.here else None for item in expected.places
            ]
            assert (flight.size, flight.alive) == (len(expected.places), expected.alive)
            assert flight.departed == expected.departed
            assert flight.waits == [
                expected.departed - item.ticket.submitted for item in expected.places
            ]


def sorted_abandoned(log: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Sort the flights that one call abandons: their order means nothing."""
    result: list[tuple[Any, ...]] = []
    for entry in log:
        place = len(result)
        while entry[0] == "abandoned" and place and result[place - 1][0] == "abandoned":
            if result[place - 1] < entry:
                break
            place -= 1
        result.insert(place, entry)
    return result


def test_a_callback_asks_for_nothing_that_the_same_turn_still_brings() -> None:
    state = Lockstep()
    state.start(max_batch_size=1, max_latency=0.0, capacity=1, overflow="wait", timeout=None)
    for _ in range(3):
        state.submit_waiting()
    state.add_callbacks(choice=1, names=["cancel"])
    state.wake_soon()
    state.cancel(choice=1, message=None)  # its callback cancels the first: then there is room
    state.run_soon()
    state.compare()


@pytest.mark.timeout(120)
def test_the_core_and_the_model_agree() -> None:
    Lockstep.steps = 0
    run_state_machine_as_test(
        Lockstep,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert Lockstep.steps >= LEAST_STEPS
