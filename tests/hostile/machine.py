"""One scenario: a batcher in virtual time, whose user does what it likes, and what must hold."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import math
import random
import sys
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from microbatch import Batcher, batched
from microbatch.testing import VirtualClockEventLoop
from tests.hostile import acts, plans
from tests.hostile import ledger as books
from tests.hostile.handlers import Handlers
from tests.hostile.ledger import Entry, Ledger, Violation
from tests.hostile.mischief import BUDGET, Mischief, Spite, held_back
from tests.hostile.things import Key

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.hostile.plans import Plan
    from tests.hostile.things import Item

TRACE = 60
MANY = 50
"""Violations in one step after which it is not waited for."""
PATIENCE = 400
"""Rounds of waiting at the end, each longer than whatever may take long."""


class Hopeless(KeyboardInterrupt):
    """Leave the event loop, which would never end the step."""


class Machine:
    """Run one scenario, which a seed and a number tell all about."""

    def __init__(
        self,
        seed: int,
        scenario: int,
        steps: int | None = None,
        hooks: frozenset[str] | None = None,
    ) -> None:
        self.tell: Callable[[int], object] = lambda _: None
        self.hooks = hooks
        self.scenario = scenario
        self.rng = random.Random(f"{seed}.{scenario}")
        self.plan: Plan = plans.draw(self.rng, acts.WEIGHTS, hooks)
        self.steps = self.plan.steps if steps is None else steps
        self.step = 0
        self.mischief = Mischief(self.rng, self.plan)
        self.ledger = Ledger(self.allows, "dedupe" in self.plan.functions)
        self.handlers = Handlers(self)
        self.options = dict(self.plan.options)
        self.former: list[list[dict[str, Any]]] = [[], []]
        self.longest = self.plan.longest
        self.trace: deque[tuple[Any, ...]] = deque(maxlen=TRACE)
        self.violations: list[str] = []
        self.numbers = itertools.count(1)
        self.turns = 0
        self.running: list[list[Item]] = []
        self.handled: Counter[int] = Counter()
        self.calls: list[Counter[Any]] = []
        self.busy = self.load = self.unsettled = 0.0
        self.many = self.closing = self.late = False
        self.tasks: list[asyncio.Task[Any]] = []
        self.batcher: Any = None
        self.submitter: Any = None
        self.acts = acts.Acts(self)
        self.mischief.act = self.acts.act

    # ------------------------------------------------------------------------------------ running
    def run(self) -> None:
        """Run the scenario; raise Violation, at the step in ``step``, where a promise is broken."""
        thresholds, hook = gc.get_threshold(), sys.unraisablehook
        sys.unraisablehook = lambda _: None
        gc.collect()  # what one that failed has left
        gc.disable()
        gc.set_threshold(self.plan.threshold, 5, 50)
        logging.disable()
        sys.unraisablehook = self.unraisable
        try:
            with asyncio.Runner(loop_factory=VirtualClockEventLoop) as runner:
                loop = runner.get_loop()
                loop.set_exception_handler(self.reported)
                if self.plan.eager:
                    loop.set_task_factory(asyncio.eager_task_factory)
                with contextlib.suppress(Hopeless):
                    runner.run(self.live())
            loop.set_exception_handler(None)
            self.raise_violations()
        finally:
            self.mischief.hold_back()
            self.acts.forget()
            gc.collect()  # while what it runs is held back, and is heard
            sys.unraisablehook = hook
            logging.disable(logging.NOTSET)
            gc.set_threshold(*thresholds)
            gc.enable()

    async def live(self) -> None:
        self.make_batcher()
        gc.collect()  # so that the next collections come when they come in each run of it
        while self.step < self.steps:
            self.step += 1
            self.tell(self.step)
            self.mischief.budget = BUDGET
            await self.acts.take_step()
            self.check()
        self.step += 1
        self.tell(self.step)
        await self.end_all()
        self.check_end()
        self.let_go()

    def make_batcher(self) -> None:
        functions: dict[str, Any] = {
            "key": self.key_of,
            "weigh": self.weight_of,
            "priority": self.priority_of,
            "dedupe": self.same_of,
            "observer": lambda _: self.mischief.strike("observer"),
            "timeout_policy": self.handlers.policy,
        }
        chosen = {name: functions[name] for name in sorted(self.plan.functions)}
        options = self.plan.options | chosen
        handler = self.handlers.chosen()
        if self.plan.decorated:
            self.submitter = batched(**options)(handler)
            self.batcher = self.submitter.batcher
        else:
            self.submitter = self.batcher = Batcher(handler, **options)
        self.loop = asyncio.get_running_loop()

    # ------------------------------------------------------------------------- the user's functions
    def key_of(self, item: Item) -> Any:
        self.mischief.strike("key")
        return Key(self.mischief, item.key)

    def weight_of(self, item: Item) -> Any:
        self.mischief.strike("weigh")
        return self.acts.number(item.weight)

    def priority_of(self, item: Item) -> Any:
        self.mischief.strike("priority")
        return self.acts.number(item.priority)

    def same_of(self, item: Item) -> Any:
        self.mischief.strike("dedupe")
        return Key(self.mischief, item.same)

    # --------------------------------------------------------------------------- what must not be
    def violate(self, what: str) -> None:
        self.violations.append(what)
        if len(self.violations) == MANY:  # once: the loop is closed in peace
            raise Hopeless

    def raise_violations(self) -> None:
        if self.violations:
            raise Violation("; ".join(self.violations[:5]))

    def unraisable(self, unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, Spite):
            self.violate(f"ignored in {unraisable.object!r}: {unraisable.exc_value!r}")

    def reported(self, _loop: object, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), Spite):
            self.violate(f"reported to the loop: {context}")

    def allows(self, entry: Entry, reason: str) -> bool:
        """Tell whether an entry may fail for a reason that is no answer's."""
        if reason == books.OUT_OF_TIME:
            with_others = self.options["timeout_policy"] == "fail"  # some who are late just now
            once = with_others and entry.many and self.late  # it waited for its other items
            return once or any(map(self.is_late, self.ledger.entries if with_others else [entry]))
        if reason == books.DROPPED:
            return bool(self.options["overflow"] == "drop_oldest")
        return self.closing and self.plan.ending == "aclose early"

    def is_late(self, entry: Entry) -> bool:
        return bool(entry.ticket.deadline <= self.loop.time() + 1e-6)

    # ------------------------------------------------------------------------------------ handlers
    def limit(self, name: str) -> float:
        """Give what a batch that begins now may have been formed by."""
        bounds = [each[name] for each in (self.options, *itertools.chain(*self.former))]
        return math.inf if None in bounds else float(max(bounds))

    @held_back
    def begin(self, items: list[Item]) -> None:
        """Check a handler call that begins."""
        self.running.append(items)
        self.note("call", [item.number for item in items])
        if type(items) is not list or not items:
            self.violate(f"a handler was called with {items!r}")
        if len(self.running) > max(self.limit("max_concurrent_batches"), self.busy):
            self.violate(f"{len(self.running)} handler calls are under way")
        self.check_key(items)
        if not self.is_half(items):
            self.check_size(items)
            self.check_once(items)

    def is_half(self, items: list[Item]) -> bool:
        """Tell whether a call is of some of an earlier one, which failed; take note of it."""
        if self.options["on_error"] == "fail":
            return False
        what = Counter(self.ledger.identity[item.number] for item in items)
        half = any(what < each for each in self.calls)
        self.calls.append(what)
        return half

    def check_key(self, items: list[Item]) -> None:
        keys = {item.key for item in items}
        if len(keys) > 1:
            self.violate(f"a batch has the keys {keys}")
        per_key = self.options.get("max_concurrent_batches_per_key")
        if per_key and sum(each[0].key == items[0].key for each in self.running) > per_key:
            self.violate(f"too many calls for the key {items[0].key}")

    def check_size(self, items: list[Item]) -> None:
        if len(items) > self.limit("max_batch_size"):
            self.violate(f"a batch has {len(items)} items")
        if "max_batch_weight" in self.options and len(items) > 1:
            weight = sum(item.weight for item in items)
            if weight > self.limit("max_batch_weight") + 1e-9:
                self.violate(f"a batch weighs {weight}")

    def check_once(self, items: list[Item]) -> None:
        for item in items:
            self.handled[item.number] += 1
            if self.handled[item.number] > 1:
                self.violate(f"{item.number} was handled twice")
            entry = self.ledger.entry_of.get(item.number)
            if entry is None or self.ledger.shared or entry.cancelled_at is None:
                continue
            if self.turns - entry.cancelled_at > 1:
                self.violate(f"{item.number} was handled, though it had been cancelled")

    @held_back
    def end(self, items: list[Item]) -> None:
        self.running = [each for each in self.running if each is not items]

    # ------------------------------------------------------------------------------------ checking
    def note(self, *what: Any) -> None:
        self.trace.append((self.step, self.mischief.depth, *what))

    def changed(self, options: dict[str, Any]) -> None:
        """Take note that options are others now; what began before may go by the former."""
        self.former[-1].append(dict(self.options))
        self.options |= options
        self.busy = self.load = self.unsettled = math.inf
        self.longest = max(self.longest, self.plan.longest_with(self.options["max_latency"]))

    def check(self) -> None:
        """Check whatever must hold between two steps."""
        self.late = self.late or any(map(self.is_late, self.ledger.entries))
        try:
            self.ledger.look()
        except Violation as violation:
            self.violations.append(str(violation))
        self.check_statistics()
        self.raise_violations()

    def check_statistics(self) -> None:
        now = self.batcher.statistics()
        pending = now.waiting + now.queued + now.joined + now.in_flight
        ends = now.completed + now.failed + now.cancelled + now.late + now.dropped
        asked = pending + ends - now.submitted  # by the policy: they count as late already
        if not 0 <= asked <= (now.in_flight if "timeout_policy" in self.plan.functions else 0):
            self.violate(f"the accounts are wrong: {now}")
        if min(now.waiting, now.queued, now.joined, now.in_flight, now.slots_busy) < 0:
            self.violate(f"a gauge is negative: {now}")
        if now.submitted != self.ledger.accepted:
            self.violate(f"{self.ledger.accepted} items were accepted, and not {now.submitted}")
        self.check_bounds(now, pending, asked)

    def check_bounds(self, now: Any, pending: int, asked: int) -> None:
        slots, capacity = self.options["max_concurrent_batches"], self.options["capacity"]
        if now.slots_busy > max(slots, self.busy):
            self.violate(f"{now.slots_busy} slots of {slots} are busy")
        self.busy = now.slots_busy if now.slots_busy > slots else 0
        if capacity is None:
            self.load = self.unsettled = 0
            return
        load = now.queued + now.in_flight - asked  # of whom some were never admitted
        if load > max(capacity, self.load):
            self.violate(f"{load} items are admitted, and the capacity is {capacity}")
        if self.options["overflow"] != "wait" and pending > max(capacity, self.unsettled):
            self.violate(f"{pending} items are unsettled, and the capacity is {capacity}")
        self.load = load if load > capacity else 0
        self.unsettled = pending if pending > capacity else 0

    async def quiet(self) -> None:
        """Let time pass without any act, and see that no item waits for a slot that is free."""
        await asyncio.sleep(self.longest)
        latency = self.options["max_latency"]  # is counted from the end of the last batch, too
        await asyncio.sleep(0.0 if latency == "auto" else latency)
        before: Any = None
        for _ in range(8):
            now = self.batcher.statistics()
            facts = (now.batched, now.completed, now.failed, now.cancelled, now.late, now.dropped)
            if not now.queued or now.slots_busy >= self.options["max_concurrent_batches"]:
                return
            if before not in (None, facts):
                return
            before = facts
            await asyncio.sleep(0)
        if "max_concurrent_batches_per_key" not in self.options:
            self.violate(f"an item waits, and a slot is free: {now}")

    # ------------------------------------------------------------------------------------- the end
    async def end_all(self) -> None:
        """See that all settles, in one of several ways."""
        ending = self.plan.ending
        self.note("end", ending)
        if ending in ("patience", "flush"):
            if ending == "flush":
                self.batcher.flush()
            await self.be_patient()
        elif ending == "drain":
            await self.limited(self.batcher.drain())
        self.closing = True
        await self.limited(self.batcher.aclose(0.5 if ending == "aclose early" else None))
        for _ in range(3):
            await asyncio.sleep(0)
        if self.tasks:
            await asyncio.wait(self.tasks)
        self.check()

    async def be_patient(self) -> None:
        before = None
        for _ in range(PATIENCE):
            now = self.batcher.statistics()
            pending = now.waiting + now.queued + now.joined + now.in_flight
            if not pending:
                return
            if pending == before:
                self.violate(f"what was submitted is never handled: {now}")
                return
            before = pending
            await asyncio.sleep(self.longest)

    async def limited(self, work: Any) -> None:
        """Wait for something that must end."""
        task = asyncio.ensure_future(work)
        await asyncio.wait([task], timeout=PATIENCE * self.longest)
        if not task.done():
            task.cancel()
            self.violate(f"it hangs: {self.batcher.statistics()}")
            self.raise_violations()
        task.result()

    def check_end(self) -> None:
        """Check what must hold when all is over."""
        now = self.batcher.statistics()
        if (now.waiting, now.queued, now.joined, now.in_flight, now.slots_busy) != (0,) * 5:
            self.violate(f"not all is over: {now}")
        if self.ledger.entries:
            numbers = [entry.numbers for entry in self.ledger.entries]
            self.violate(f"never settled: {numbers}")
        if self.running:
            self.violate("handler calls are under way")
        self.ledger.check_callbacks()
        if not self.many:
            self.check_counts(now)
        self.raise_violations()

    def check_counts(self, now: Any) -> None:
        ends = ["cancelled", "dropped"]
        if "timeout_policy" not in self.plan.functions:
            ends.append("completed")
            if self.options["timeout_policy"] == "partial":
                ends += ["late", "failed"]
        self.ledger.check_counts(now, ends)

    def let_go(self) -> None:
        """See that nothing is kept of what has settled, while the batcher still lives."""
        self.acts.forget()
        self.ledger.entry_of.clear()
        self.ledger.settled.clear()
        self.tasks.clear()
        gc.collect()
        kept = Counter(
            type(thing).__name__
            for reference in self.ledger.references
            if (thing := reference()) is not None
        )
        if kept:
            self.violate(f"something is kept: {dict(kept)}")
        self.raise_violations()
