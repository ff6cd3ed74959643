"""Drive the core and a naive model in lockstep, where items stand in groups."""

from __future__ import annotations

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
from tests.core.grouped_model import ONLY, Flight, GroupedModel, Thing, user_function
from tests.core.test_lockstep import attempt, comparable, sorted_abandoned
from tests.core.world import World, outcome

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = 50
EXAMPLES = 300
LEAST_STEPS = 10_000

FUNCTIONS = {"key": "key", "weight": "weigh", "priority": "priority", "same": "dedupe"}

any_number = st.integers(0, 1000)
keys = st.sampled_from(["k", "k", "l", 1, 1.0, None])
weights = st.sampled_from([0.0, 0.5, 1, 1.0, 2.0, 5.0])
priorities = st.sampled_from([0.0, 0, -2, 1.0, 3.0])
timeouts = st.sampled_from([..., ..., ..., None, 0.5, 1.0, 2.5])
bad = st.sampled_from([""] * 20 + [*FUNCTIONS])
things = st.fixed_dictionaries(
    {
        "key": st.one_of(keys, keys, keys, keys, st.just([])),
        "weight": st.one_of(weights, weights, weights, weights, st.sampled_from([-1.0, math.nan])),
        "priority": st.one_of(priorities, priorities, priorities, st.just(math.inf)),
        "same": st.sampled_from(["a", "b", "c", None]),
        "bad": bad,
    }
)
good_things = st.fixed_dictionaries(
    {"key": keys, "weight": weights, "priority": priorities, "same": st.sampled_from(["a", "b"])}
)
own_traits = st.fixed_dictionaries({}, optional={"key": keys, "priority": priorities})
own_weights = st.fixed_dictionaries({}, optional={"weight": weights})
configurations = st.fixed_dictionaries(
    {
        "max_batch_size": st.integers(1, 4),
        "max_latency": st.sampled_from([0.0, 1.0]),
        "capacity": st.sampled_from([None, 1, 2, 3, 5, 8]),
        "overflow": st.sampled_from(["wait", "wait", "reject", "drop_oldest"]),
        "timeout": st.sampled_from([None, 2.0, 3]),
        "max_batch_weight": st.sampled_from([None, 2.0, 4]),
    }
)


def own(error: BaseException) -> BaseException:
    """Make one caller's own copy of an error."""
    return type(error)(*error.args)


class Peer(World):
    """Know everything by its number, so that it can be compared with a model."""

    def __init__(self, **options: Any) -> None:
        super().__init__(_core, hold=self.hold, **options)
        self.tickets: list[Any] = []
        self.flights: list[Any] = []

    def hold(self) -> object:
        self.log.append(("hold",))
        return object()

    def _call_at(self, when: float, callback: Callable[[], object]) -> Any:
        self.log.append(("armed", when))
        self.handles = [handle for handle in self.handles if not handle.cancelled]
        return super()._call_at(when, callback)

    def numbered_log(self) -> list[tuple[Any, ...]]:
        """Give the log since the last time, with numbers for the flights."""
        log, self.log[:] = self.log[:], []
        return [
            ("abandoned", self.flights.index(entry[1])) if entry[0] == "abandoned" else entry
            for entry in log
        ]

    def submit_as(self, how: str, values: list[Thing], **options: Any) -> Any:
        ticket = getattr(self.front, how)(values if how == "submit_many" else values[0], **options)
        self.tickets.append(ticket)

    def keep(self, *flights: Any) -> None:
        self.flights += flights


class LockstepGroups(RuleBasedStateMachine):
    steps = 0

    @initialize(
        options=configurations,
        functions=st.sets(st.sampled_from([*FUNCTIONS])),
        grouped=st.sampled_from([True, True, True, False]),
        rules=st.fixed_dictionaries(
            {
                "refuse_overweight": st.booleans(),
                "dedupe_in_flight": st.booleans(),
                "ageing": st.sampled_from([0.25, 1.0, 4.0]),
                "max_batches_per_key": st.sampled_from([None, 1, 2]),
            }
        ),
    )
    def start(
        self, options: dict[str, Any], functions: set[str], grouped: bool, rules: dict[str, Any]
    ) -> None:
        self.peer = Peer(**options)
        self.model = GroupedModel(**options)
        self.value = 0
        if not grouped:
            return
        asked = {FUNCTIONS[name]: user_function(name) for name in functions}
        self.do(lambda peer: peer.lane.group(**asked, **rules))
        self.model.group(functions, **rules)

    def do(self, action: Callable[[Peer], Any]) -> tuple[str, Any]:
        """Do something to the core, and say what came of it."""
        type(self).steps += 1
        return attempt(lambda: action(self.peer))

    def all(self, action: Callable[[Peer], Any], expected: Callable[[], Any]) -> None:
        """Do the same to the core and to the model, which must come to the same."""
        got = self.do(action)
        wanted = attempt(expected)
        self.model.admit()
        assert got[0] == wanted[0], (got, wanted)
        if got[0] == "raised":
            assert type(got[1]) is type(wanted[1]), (got, wanted)
        elif wanted[1] is None or isinstance(wanted[1], int):
            assert got[1] == wanted[1]

    # --------------------------------------------------------------------------------- submitting
    def values(self, drawn: list[dict[str, Any]]) -> list[Thing]:
        self.value += len(drawn)
        start = self.value - len(drawn)
        return [Thing(start + place, **traits) for place, traits in enumerate(drawn)]

    @rule(
        how=st.sampled_from(["submit", "submit", "submit", "submit_nowait"]),
        timeout=timeouts,
        drawn=st.lists(good_things, min_size=1, max_size=4),
    )
    def submit(self, how: str, timeout: Any, drawn: list[dict[str, Any]]) -> None:
        for value in self.values(drawn):
            self.all(
                lambda peer, value=value: peer.submit_as(how, [value], timeout=timeout),
                lambda value=value: self.model.submit([value], how=how, timeout=timeout),
            )

    @rule(thing=things, timeout=timeouts, traits=own_traits, weight=own_weights)
    def submit_with_traits(
        self, thing: dict[str, Any], timeout: Any, traits: dict[str, Any], weight: dict[str, Any]
    ) -> None:
        values, options = self.values([thing]), {**traits, **weight, "timeout": timeout}
        self.all(
            lambda peer: peer.submit_as("submit", values, **options),
            lambda: self.model.submit(values, **options),
        )

    @rule(thing=things)
    def submit_waiting(self, thing: dict[str, Any]) -> None:
        values = self.values([thing])
        self.all(
            lambda peer: peer.submit_as("_submit_waiting", values),
            lambda: self.model.submit(values, how="_submit_waiting"),
        )

    @rule(
        drawn=st.one_of(st.lists(good_things, max_size=6), st.lists(things, max_size=3)),
        timeout=timeouts,
        return_exceptions=st.booleans(),
        traits=own_traits,
    )
    def submit_many(
        self, drawn: list[Any], timeout: Any, return_exceptions: bool, traits: dict[str, Any]
    ) -> None:
        values = self.values(drawn)
        options = {"timeout": timeout, "return_exceptions": return_exceptions, **traits}
        self.all(
            lambda peer: peer.submit_as("submit_many", values, **options),
            lambda: self.model.submit(values, how="submit_many", **options),
        )

    @precondition(lambda self: self.model.tickets)
    @rule(choice=any_number, message=st.sampled_from([None, "enough"]))
    def cancel(self, choice: int, message: Any) -> None:
        count = len(self.model.tickets)
        number = count - 1 - choice % min(count, 12)
        self.all(
            lambda peer: peer.tickets[number].cancel(message),
            lambda: self.model.cancel(self.model.tickets[number], message),
        )

    # ------------------------------------------------------------------------------------- taking
    @rule(
        waited=st.sampled_from([0.0, 0.5, 1.0, 1000.0]),
        anyway=st.booleans(),
        takes=st.sampled_from([True, True, True, False]),
    )
    def take(self, waited: float, anyway: bool, takes: bool) -> None:
        if not self.model.grouped:
            self.do(lambda peer: peer.keep(peer.lane.take(2)))
            self.model.take(2)
            return
        before = self.model.now - waited
        _, group = self.do(lambda peer: peer.lane.next_group(before, anyway))
        self.model.admit()
        key = self.model.next_group(before, anyway)
        self.compare_group(group, key)
        if takes and key is not ONLY:
            self.peer.keep(self.peer.lane.take_group(group))
            self.model.take_group(key)

    def compare_group(self, group: Any, key: Any) -> None:
        if key is ONLY:
            assert group is None
            return
        model, queued = self.model, self.model.of(key)
        assert group.key == key
        assert (group.queued, group.weight) == (len(queued), model.weight(key))
        assert group.in_flight == model.under_way.count(key)
        assert group.oldest == model.age(key)
        assert group.full == (len(queued) >= model.batch_size)
        assert group.heavy == (model.weight(key) >= model.batch_weight)

    @precondition(lambda self: any(flight.is_batch for flight in self.model.flights))
    @rule(choice=any_number)
    def leave(self, choice: int) -> None:
        batches = [flight for flight in self.model.flights if flight.is_batch]
        flight = batches[choice % len(batches)]
        self.do(lambda peer: peer.lane.leave_group(peer.flights[flight.number]))
        self.model.leave_group(flight)

    # ----------------------------------------------------------------------------------- settling
    def flying(self, choice: int) -> Flight:
        return self.model.flying[choice % len(self.model.flying)]

    @precondition(lambda self: self.model.flying)
    @rule(choice=any_number, failures=st.sets(st.integers(0, 5)))
    def resolve(self, choice: int, failures: set[int]) -> None:
        flight = self.flying(choice)
        places = range(len(flight.places))
        answer = tuple(ValueError(place) if place in failures else place for place in places)
        self.do(lambda peer: peer.flights[flight.number].resolve(answer, own))
        self.model.resolve(flight, [*answer])

    @precondition(lambda self: self.model.flying)
    @rule(choice=any_number, place=st.integers(0, 4), fails=st.booleans())
    def settle(self, choice: int, place: int, fails: bool) -> None:
        flight = self.flying(choice)
        value = ValueError(place) if fails else place
        self.all(
            lambda peer: peer.flights[flight.number].settle(place, value, own),
            lambda: self.model.settle_at(flight, place, value),
        )

    @precondition(lambda self: self.model.flying)
    @rule(choice=any_number, start=st.integers(0, 3), stop=st.integers(0, 5))
    def part(self, choice: int, start: int, stop: int) -> None:
        flight = self.flying(choice)
        self.do(lambda peer: peer.keep(peer.flights[flight.number].part(start, stop)))
        self.model.part(flight, start, stop)

    @precondition(lambda self: self.model.flights)
    @rule(choice=any_number)
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

    @rule(often=st.integers(0, 5))
    def take_all(self, often: int) -> None:
        if often:
            return
        self.do(lambda peer: peer.keep(peer.lane.take_all()))
        every = self.model.take_all()
        self.compare_flights()
        self.do(lambda peer: peer.flights[-1].fail(lambda ticket: OSError()))
        self.model.fail(every, OSError())

    # --------------------------------------------------------------------------------------- lane
    @rule(options=configurations)
    def configure(self, options: dict[str, Any]) -> None:
        self.do(lambda peer: peer.lane.configure(**options))
        self.model.configure(**options)

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 3.0]))
    def advance(self, seconds: float) -> None:
        self.all(lambda peer: peer.advance(seconds), lambda: self.model.advance(seconds))

    @rule()
    def run_soon(self) -> None:
        self.all(lambda peer: peer.run_soon(), self.model.run_soon)

    @rule()
    def rearm(self) -> None:
        self.all(lambda peer: peer.lane.rearm(), self.model.rearm)

    @rule(slot_free=st.booleans())
    def open_slot(self, slot_free: bool) -> None:
        self.do(lambda peer: setattr(peer.lane, "slot_free", slot_free))
        self.model.slot_free = slot_free

    @rule(often=st.integers(0, 20))
    def close(self, often: int) -> None:
        if not often:
            self.do(lambda peer: peer.lane.close())
            self.model.closed = True

    # ------------------------------------------------------------------------------- what is seen
    @invariant()
    def compare(self) -> None:
        self.model.admit()
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
        for name in ("unsettled", "joined", "queued", "waiting", "oldest", "overdue", "closed"):
            assert getattr(lane, name) == getattr(model, name), name
        assert (lane.grouped, lane.crowded) == (model.grouped, model.crowded)
        assert {name: getattr(lane, name) for name in model.counters} == model.counters
        assert peer.armed == model.armed
        assert len(peer.soon) == len(model.soon)
        ended = ("completed", "failed", "cancelled", "late", "dropped")
        late = sum(c.late and not c.settled for t in model.tickets for c in t.callers)
        ends = sum(getattr(lane, name) for name in ended)
        assert lane.submitted == ends + lane.unsettled - late

    def compare_tickets(self) -> None:
        model = self.model
        tickets = self.peer.tickets
        for ticket, expected in zip(tickets, model.tickets, strict=True):
            assert ticket.done() == (expected.state != "pending")
            assert (ticket.submitted, ticket.deadline) == (expected.submitted, expected.deadline)
            assert comparable(outcome(ticket)) == comparable(model.outcome(expected))
        raised = [each.exception() for each in tickets if each.done() and not each.cancelled()]
        errors = [error for error in raised if error is not None]
        assert len(set(map(id, errors))) == len(errors)

    def compare_flights(self) -> None:
        for flight, expected in zip(self.peer.flights, self.model.flights, strict=True):
            assert flight.items == [item.value for item in expected.here]
            assert flight.awaited == tuple(
                place for place, item in enumerate(expected.places) if item in expected.here
            )
            assert flight.deadlines == [
                max(each.ticket.deadline for each in item.callers)
                if item in expected.here
                else None
                for item in expected.places
            ]
            assert (flight.size, flight.alive) == (len(expected.places), expected.alive)
            assert flight.departed == expected.departed
            assert flight.waits == [expected.departed - item.submitted for item in expected.places]
            key = ONLY if flight.group is None else flight.group.key
            assert key == expected.key
            if key is not ONLY:
                assert flight.weight == expected.weight


@pytest.mark.timeout(120)
def test_the_core_and_the_model_agree_on_groups() -> None:
    LockstepGroups.steps = 0
    run_state_machine_as_test(
        LockstepGroups,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert LockstepGroups.steps >= LEAST_STEPS
