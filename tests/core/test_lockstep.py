"""Drive the core and a naive model in lockstep, and compare whatever can be seen of them."""

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

from tests.core.model import Batch, Model, Thing
from tests.core.peer import Peer, attempt, comparable, copied, user_function
from tests.core.world import outcome

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = 50
EXAMPLES = 500
LEAST_STEPS = 20_000

FUNCTIONS = {"key": "key", "weight": "weigh", "priority": "priority", "same": "dedupe"}
CALLBACKS = ["plain", "other", "raise", "exit", "add", "wake", "cancel"]

any_number = st.integers(0, 1000)
keys = st.sampled_from(["k", "k", "k", "l", 1, 1.0, None])
weights = st.sampled_from([0.0, 0.5, 1, 1.0, 2.0, 5.0])
priorities = st.sampled_from([0.0, 0, -2, 1.0, 3.0])
timeouts = st.sampled_from([..., ..., ..., None, 0.5, 1.0, 1, 2.5, 1000.0, math.inf])
spans = st.sampled_from([-0.5, 0.25, 1.0, 1.0, 3.0])
things: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "key": st.one_of(keys, keys, keys, keys, st.just([])),
        "weight": st.one_of(weights, weights, weights, weights, st.sampled_from([-1.0, math.nan])),
        "priority": st.one_of(priorities, priorities, priorities, st.just(math.inf)),
        "same": st.sampled_from(["a", "b", "c", None]),
        "bad": st.sampled_from([""] * 20 + [*FUNCTIONS]),
    }
)
good_things = st.fixed_dictionaries(
    {"key": keys, "weight": weights, "priority": priorities, "same": st.sampled_from(["a", "b"])}
)
own_traits = st.fixed_dictionaries({}, optional={"key": keys, "priority": priorities})
own_weights = st.fixed_dictionaries({}, optional={"weight": weights})
configurations = st.fixed_dictionaries(
    {
        "max_batch_size": st.sampled_from([1, 2, 3, 4, 8]),
        "max_latency": st.sampled_from([0.0, 1.0, 1.0]),
        "capacity": st.sampled_from([None, None, 1, 3, 5, 8]),
        "overflow": st.sampled_from(["wait", "wait", "reject", "drop_oldest"]),
        "timeout": st.sampled_from([None, 2.0, 3]),
        "max_batch_weight": st.sampled_from([None, 2.0, 4]),
        "learns": st.sampled_from([True, True, False]),
        "draining": st.sampled_from([False, False, False, True]),
    }
)
PATIENT = {
    "max_batch_size": 8,
    "max_latency": 0.0,
    "capacity": None,
    "overflow": "wait",
    "timeout": None,
    "max_batch_weight": None,
    "learns": True,
    "draining": False,
}
function_sets = st.sampled_from(
    [
        set(),
        {"key"},
        {"same"},
        {"key", "same"},
        {"key", "priority"},
        {"weight", "same"},
        {*FUNCTIONS},
    ]
)
fixed_rules = st.fixed_dictionaries(
    {
        "refuse_overweight": st.booleans(),
        "dedupe_in_flight": st.booleans(),
        "ageing": st.sampled_from([0.25, 1.0, 4.0]),
        "max_batches_per_key": st.sampled_from([None, 1, 2]),
    }
)


class Lockstep(RuleBasedStateMachine):
    """Act as callers do, and as the owner of a lane, who has so many slots.

    The owner looks when it is told to, or has done something itself that could make a batch due:
    at once where it is ``prompt``, else some time later.
    """

    steps = 0

    @initialize(
        options=configurations,
        functions=function_sets,
        rules=fixed_rules,
        slots=st.sampled_from([1, 2, 8]),
        prompt=st.booleans(),
    )
    def start(
        self,
        options: dict[str, Any],
        functions: set[str],
        rules: dict[str, Any],
        slots: int,
        prompt: bool,
    ) -> None:
        asking = {FUNCTIONS[name]: user_function(name) for name in functions}
        self.peer = Peer(free_slots=slots, **options, **rules, **asking)
        self.model = Model(functions, rules, slots, **options)
        self.value = 0
        self.prompt = prompt
        self.told = False  # that there may be something to do
        self.idle = True

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
            assert type(got[1]) is type(wanted[1]), (got, wanted)
        elif wanted[1] is None or isinstance(wanted[1], int):
            assert got[1] == wanted[1]

    def number(self, choice: int) -> int:
        """Choose a ticket, the younger the likelier."""
        count = len(self.model.tickets)
        return count - 1 - choice % min(count, 12)

    def place_of(self, batches: list[Batch], choice: int) -> int:
        """Choose one of some batches, and tell its number."""
        return self.model.batches.index(batches[choice % len(batches)])

    # ----------------------------------------------------------------------------------- submitting
    def values(self, drawn: list[dict[str, Any]]) -> list[Thing]:
        self.value += len(drawn)
        start = self.value - len(drawn)
        return [Thing(start + place, **traits) for place, traits in enumerate(drawn)]

    def submit_both(self, values: list[Thing], **options: Any) -> None:
        how = options.pop("how", "submit")
        self.all(
            lambda peer: peer.submit_as(how, values, **options),
            lambda: self.model.submit(values, how=how, **options),
        )

    @rule(
        how=st.sampled_from(["submit", "submit", "submit", "submit_nowait"]),
        timeout=timeouts,
        drawn=st.lists(good_things, min_size=1, max_size=4),
    )
    def submit(self, how: str, timeout: Any, drawn: list[dict[str, Any]]) -> None:
        for value in self.values(drawn):
            self.submit_both([value], how=how, timeout=timeout)

    @rule(thing=things, timeout=timeouts, traits=own_traits, weight=own_weights)
    def submit_with_traits(
        self, thing: dict[str, Any], timeout: Any, traits: dict[str, Any], weight: dict[str, Any]
    ) -> None:
        self.submit_both(self.values([thing]), timeout=timeout, **traits, **weight)

    @rule(thing=things)
    def submit_waiting(self, thing: dict[str, Any]) -> None:
        self.submit_both(self.values([thing]), how="_submit_waiting")

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
        self.submit_both(values, how="submit_many", **options)

    # -------------------------------------------------------------------------------------- tickets
    @precondition(lambda self: self.model.tickets)
    @rule(choice=any_number, message=st.sampled_from([None, "enough"]))
    def cancel(self, choice: int, message: Any) -> None:
        number = self.number(choice)
        self.all(
            lambda peer: peer.tickets[number].cancel(message),
            lambda: self.model.cancel(self.model.tickets[number], message),
        )

    @precondition(lambda self: self.model.tickets)
    @rule(choice=any_number, names=st.lists(st.sampled_from(CALLBACKS), min_size=1, max_size=3))
    def add_callbacks(self, choice: int, names: list[str]) -> None:
        number = self.number(choice)
        for name in names:
            self.all(
                lambda peer, name=name: peer.add_callback(number, name),
                lambda name=name: self.model.add_callback(self.model.tickets[number], name),
            )

    @precondition(lambda self: self.model.tickets)
    @rule(choice=any_number, name=st.sampled_from(CALLBACKS))
    def remove_callback(self, choice: int, name: str) -> None:
        number = self.number(choice)
        self.all(
            lambda peer: peer.remove_callback(number, name),
            lambda: self.model.remove_callback(self.model.tickets[number], name),
        )

    # --------------------------------------------------------------------------------------- taking
    @rule()
    def look(self) -> None:
        """Take what should go while a slot is free, as the owner does that was told to look."""
        while self.take_next():
            pass
        self.do(lambda peer: peer.lane.rearm())
        self.told = False

    def take_next(self) -> bool:
        _, batch = self.do(lambda peer: peer.next_batch())
        expected = self.model.next_batch()
        assert (batch is None) == (expected is None)
        if batch is None or expected is None:
            return False
        self.peer.keep(batch)
        assert batch.reason == expected.reason
        return True

    @precondition(lambda self: any(batch.under_way for batch in self.model.batches))
    @rule(choice=any_number)
    def end(self, choice: int) -> None:
        number = self.place_of([b for b in self.model.batches if b.under_way], choice)
        self.do(lambda peer: peer.batches[number].end())
        self.model.end(self.model.batches[number])
        self.peer.lane.free_slots += 1
        self.told = True

    @precondition(lambda self: any(batch.under_way for batch in self.model.batches))
    @rule(failures=st.sets(st.integers(0, 5)), count=st.integers(1, 4))
    def handle(self, failures: set[int], count: int) -> None:
        for batch in [batch for batch in self.model.batches if batch.under_way][:count]:
            self.resolve_both(self.model.batches.index(batch), failures)
            self.end(0)

    # ------------------------------------------------------------------------------------- settling
    @precondition(lambda self: self.model.flying())
    @rule(choice=any_number, failures=st.sets(st.integers(0, 5)))
    def resolve(self, choice: int, failures: set[int]) -> None:
        self.resolve_both(self.place_of(self.model.flying(), choice), failures)

    def resolve_both(self, number: int, failures: set[int]) -> None:
        batch = self.model.batches[number]
        places = range(len(batch.places))
        answer = tuple(ValueError(place) if place in failures else place for place in places)
        self.do(lambda peer: peer.batches[number].resolve(answer, copied))
        self.model.resolve(batch, [*answer])

    @precondition(lambda self: self.model.flying())
    @rule(choice=any_number, place=st.integers(0, 6), fails=st.booleans())
    def settle(self, choice: int, place: int, fails: bool) -> None:
        number = self.place_of(self.model.flying(), choice)
        value = ValueError(place) if fails else place
        self.all(
            lambda peer: peer.batches[number].settle(place, value, copied),
            lambda: self.model.settle_at(self.model.batches[number], place, value),
        )

    @precondition(lambda self: self.model.flying())
    @rule(choice=any_number, start=st.integers(0, 3), stop=st.integers(0, 5))
    def part(self, choice: int, start: int, stop: int) -> None:
        number = self.place_of(self.model.flying(), choice)
        self.do(lambda peer: peer.keep(peer.batches[number].part(start, stop)))
        self.model.part(self.model.batches[number], start, stop)

    @precondition(lambda self: self.model.batches)
    @rule(choice=any_number)
    def fail(self, choice: int) -> None:
        self.fail_both(-1 - choice % min(len(self.model.batches), 6))

    def fail_both(self, number: int) -> None:
        self.do(lambda peer: peer.batches[number].fail(lambda ticket: OSError()))
        self.model.fail(self.model.batches[number], OSError())

    # -------------------------------------------------------------------------------------- leaving
    @rule(seconds=st.sampled_from([0.0, 1.0, 3.0]), settle=st.booleans())
    def take_late(self, seconds: float, settle: bool) -> None:
        self.advance(seconds)
        _, answer = self.do(lambda peer: peer.lane.take_late())
        self.peer.keep(*answer[:2])
        self.compare_hit(answer[2], self.model.take_late()[2])
        self.told = True
        if settle:
            self.fail_both(-2)
            self.fail_both(-1)

    @precondition(lambda self: self.model.pending())
    @rule(choice=any_number)
    def take_ticket(self, choice: int) -> None:
        pending = self.model.pending()
        ticket = pending[choice % len(pending)]
        _, answer = self.do(lambda peer: peer.lane.take_ticket(peer.tickets[ticket.number]))
        self.peer.keep(answer)
        self.model.take_ticket(ticket)

    def compare_hit(self, batches: list[Any], expected: list[Batch]) -> None:
        numbers = [self.peer.batches.index(batch) for batch in batches]
        assert numbers == [self.model.batches.index(batch) for batch in expected]

    @rule(often=st.integers(0, 5))
    def take_all(self, often: int) -> None:
        if often:
            return
        _, batch = self.do(lambda peer: peer.lane.take_all())
        expected = self.model.take_all()
        numbers = {item.value.number: place for place, item in enumerate(expected.places)}
        places = [numbers[item.number] for item in batch.items]  # their order means nothing
        assert sorted(places) == sorted(numbers.values())
        expected.places = [expected.places[place] for place in places]
        expected.here = [*expected.places]
        expected.sinces = [expected.sinces[place] for place in places]
        self.peer.keep(batch)
        self.fail_both(-1)
        self.told = True

    # ----------------------------------------------------------------------------------------- lane
    @rule(options=configurations)
    def configure(self, options: dict[str, Any]) -> None:
        self.do(lambda peer: peer.configure(**options))
        self.model.configure(**options)
        self.told = True

    @precondition(lambda self: any(batch.under_way for batch in self.model.batches))
    @rule(
        drawn=st.lists(good_things, max_size=3),
        pause=st.sampled_from([0.25, 0.5]),
        timeout=timeouts,
        wait=st.tuples(spans, st.integers(1, 4)),
        patient=st.booleans(),
    )
    def come_back(
        self,
        drawn: list[dict[str, Any]],
        pause: float,
        timeout: Any,
        wait: tuple[float, int],
        patient: bool,
    ) -> None:
        """End a batch, wait for its callers, and have some come back."""
        if patient:
            self.configure(PATIENT)
        self.handle(set(), 1)
        seconds, enough = wait
        self.wait(seconds, 0.5, enough)
        self.look()
        for value in self.values(drawn):
            self.advance(pause)
            self.submit_both([value], timeout=timeout)
            self.compare()

    @rule(seconds=spans, handling=st.sampled_from([0.0, 0.5, 2.0]), enough=st.integers(1, 8))
    def wait(self, seconds: float, handling: float, enough: int) -> None:
        until = self.model.now + seconds
        self.do(lambda peer: peer.lane.wait(until, until + handling, enough))
        self.model.wait(until, until + handling, enough)
        self.told = True

    @rule(width=st.sampled_from([0.0, 1 / 64, 0.25, 0.3, 1.0]))
    def take_arrivals(self, width: float) -> None:
        _, arrivals = self.do(lambda peer: peer.lane.take_arrivals(width))
        assert arrivals == self.model.take_arrivals(width)

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 3.0]))
    def advance(self, seconds: float) -> None:
        self.model.now += seconds
        self.do(lambda peer: peer.advance(seconds))

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
    def flush(self) -> None:
        self.do(lambda peer: peer.lane.flush())
        self.model.flushed = self.model.now
        self.told = True
        self.advance(2**-10)  # what is submitted at the same instant may go along

    @rule(often=st.integers(0, 20))
    def close(self, often: int) -> None:
        if not often:
            self.do(lambda peer: peer.lane.close())
            self.model.closed = self.told = True

    # --------------------------------------------------------------------------------- what is seen
    @invariant()
    def compare(self) -> None:
        self.compare_logs()
        self.compare_lane()
        self.compare_tickets()
        self.compare_batches()
        self.check_promises()
        if self.prompt and self.peer.will_be_due:
            self.run_soon()
            self.compare_logs()
        if self.prompt and self.told:
            self.look()
            self.compare_logs()
            self.check_promises()

    def compare_logs(self) -> None:
        log = self.peer.numbered_log()
        self.told = self.told or ("due",) in log
        self.idle = (self.idle or ("idle",) in log) and not self.model.unsettled
        own = [entry for entry in log if entry not in (("due",), ("idle",))]
        expected, self.model.log = self.model.log, []
        assert own == expected

    def check_promises(self) -> None:
        """Check that the owner is told when there is something to do, and of nothing else."""
        peer, model = self.peer, self.model
        assert peer.pins or not model.unsettled
        if self.told or peer.will_be_due:
            return
        assert peer.armed <= model.next_deadline
        if model.free_slots:
            assert not model.next_key()
            assert peer.armed <= model.next_company
        if not model.unsettled and not peer.soon and self.idle:
            assert not peer.pins
            assert peer.armed == math.inf

    def compare_lane(self) -> None:
        lane, model = self.peer.lane, self.model
        names = "unsettled joined queued waiting overdue closed draining free_slots"
        for name in names.split():
            assert getattr(lane, name) == getattr(model, name), name
        assert {name: getattr(lane, name) for name in model.counters} == model.counters
        ended = ("completed", "failed", "cancelled", "late", "dropped")
        late = sum(c.late and not c.settled for t in model.tickets for c in t.callers)
        ends = sum(getattr(lane, name) for name in ended)
        assert lane.submitted == ends + lane.unsettled - late

    def compare_tickets(self) -> None:
        model, tickets = self.model, self.peer.tickets
        for ticket, expected in zip(tickets, model.tickets, strict=True):
            assert ticket.done() == (expected.state != "pending")
            assert ticket.cancelled() == (expected.state == "cancelled")
            assert (ticket.submitted, ticket.deadline) == (expected.submitted, expected.deadline)
            assert comparable(outcome(ticket)) == comparable(model.outcome(expected))
        raised = [each.exception() for each in tickets if each.done() and not each.cancelled()]
        errors = [error for error in raised if error is not None]
        assert len(set(map(id, errors))) == len(errors)

    def compare_batches(self) -> None:
        for batch, expected in zip(self.peer.batches, self.model.batches, strict=True):
            here = [item if item in expected.here else None for item in expected.places]
            assert batch.items == [item.value for item in expected.here]
            assert batch.awaited == tuple(p for p, item in enumerate(here) if item is not None)
            assert batch.deadlines == [item and item.deadline for item in here]
            assert (batch.size, batch.alive) == (len(expected.places), len(expected.here))
            assert batch.waits == [expected.departed - since for since in expected.sinces]
            assert batch.failed == expected.failed
            self.compare_kind(batch, expected)

    def compare_kind(self, batch: Any, expected: Batch) -> None:
        model = self.model
        assert (batch.key, batch.reason) == (expected.key, expected.reason)
        assert batch.departed == expected.departed
        if expected.reason is not None:
            assert batch.weight == expected.weight
        if expected.under_way:
            key = expected.key
            assert batch.queue.in_flight == model.under_way(key)
            assert (batch.queue.queued, batch.queue.weight) == (
                len(model.of(key)),
                model.weight(key),
            )


def test_a_callback_asks_for_nothing_that_the_same_turn_still_brings() -> None:
    state = Lockstep()
    options = {"max_batch_size": 1, "max_latency": 0.0, "capacity": 1, "overflow": "wait"}
    options |= {"timeout": None, "max_batch_weight": None, "learns": False, "draining": False}
    rules = {"refuse_overweight": False, "dedupe_in_flight": False, "ageing": 1.0}
    state.start(options, set(), {**rules, "max_batches_per_key": None}, slots=1, prompt=False)
    for _ in range(3):
        state.submit_waiting({})
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
