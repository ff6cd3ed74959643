"""What is done to a batcher: from a step of the machine, or from within a call of the library."""

from __future__ import annotations

import asyncio
import gc
import math
from typing import TYPE_CHECKING, Any

from microbatch import BatcherClosedError, CapacityError, OverweightError
from tests.hostile.mischief import Spite
from tests.hostile.things import Collection, Cycle, Item, Key, Message, Number, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hostile.ledger import Entry
    from tests.hostile.machine import Machine

WEIGHTS = {
    "submit": 30,
    "submit_many": 8,
    "burst": 2,
    "cancel": 14,
    "flush": 6,
    "collect": 2,
    "look": 2,
    "reconfigure": 2,
    "litter": 8,
    "watch": 4,
    "unwatch": 2,
    "forget": 4,
    "follow": 4,
    "unfollow": 2,
}
"""How often what is done, also from within a call."""
TURNS = {"turn": 25, "turns": 6, "pass_time": 14, "pass_quietly": 2}
"""What is done in steps alone."""
MOST = 150
"""Items that are unsettled at once, about."""
BAD = [[], "heavy", -1.0, math.nan, math.inf, True, None, 10**400]


class Callback:
    """A done callback that counts, acts, and equals all others of its ticket."""

    def __init__(self, acts: Acts, entry: Entry) -> None:
        self.acts = acts
        self.entry = entry

    def __call__(self, ticket: Any) -> None:
        self.entry.calls += 1
        if not ticket.done():
            self.acts.machine.violate(f"a callback of {self.entry.numbers} was called too early")
        self.acts.mischief.strike("callback")

    def __eq__(self, other: object) -> bool:
        self.acts.mischief.strike("eq")
        return isinstance(other, Callback) and self.entry is other.entry

    def __hash__(self) -> int:
        return 1

    def __del__(self) -> None:
        self.acts.mischief.strike("callback del")


class Acts:
    """Do one thing or another."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.mischief = machine.mischief
        self.rng = machine.rng
        self.ledger = machine.ledger
        self.reconfiguring = False
        self.names = list(WEIGHTS)
        self.weights = [machine.plan.weights[name] for name in self.names]
        if not any(self.weights):
            self.weights[0] = 1
        self.steps = self.names + list(TURNS)
        self.step_weights = self.weights + list(TURNS.values())

    def act(self, where: str) -> None:
        """Do one thing from within a call of the library."""
        (name,) = self.rng.choices(self.names, self.weights)
        self.machine.note(where, name)
        try:
            getattr(self, name)()
        except Spite:
            raise
        except Exception as error:  # whoever is called may swallow it
            self.machine.violate(f"{name} from within {where} raised {error!r}")

    async def take_step(self) -> None:
        (name,) = self.rng.choices(self.steps, self.step_weights)
        self.machine.note("step", name)
        if name in TURNS:
            await getattr(self, name)()
        else:
            getattr(self, name)()

    # ------------------------------------------------------------------------------------- things
    def item(self) -> Item:
        rng, functions = self.rng, self.machine.plan.functions
        item = Item(self.mischief, next(self.machine.numbers))
        item.key = rng.randint(1, self.machine.plan.keys) if "key" in functions else 0
        item.same = rng.randint(1, 4)
        item.weight = rng.choice([0.5, 1.0, 1.0, 2.0, 4.0]) if "weigh" in functions else 1.0
        item.priority = float(rng.randint(-2, 2))
        self.ledger.know(item)
        return item

    def number(self, value: float) -> Any:
        """Give a number, or something like one."""
        draw = self.rng.random()
        if draw < 0.2:
            return Number(self.mischief, value)
        return value

    def own_options(self, items: list[Item], *, many: bool) -> tuple[dict[str, Any], bool]:
        """Give options of a submission, and whether one is wrong."""
        rng, options, wrong = self.rng, {}, False
        if rng.random() < 0.12:
            options["timeout"] = rng.choice([None, self.number(rng.choice([0.01, 0.4, 3.0]))])
        if rng.random() < 0.1:
            value = rng.randint(1, self.machine.plan.keys)
            for item in items:
                item.key = value
            options["key"] = Key(self.mischief, value)
        if rng.random() < 0.1:
            options["priority"] = self.number(float(rng.randint(-2, 2)))
        if not many and "max_batch_weight" in self.machine.options and rng.random() < 0.2:
            items[0].weight = rng.choice([0.0, 1.0, 3.0, 20.0])
            options["weight"] = self.number(items[0].weight)
        if rng.random() < 0.02:
            name = rng.choice(sorted(options) or ["timeout"])
            options[name], wrong = rng.choice([[]] if name == "key" else BAD), True
        return options, wrong

    # --------------------------------------------------------------------------------- submitting
    def crowded(self) -> bool:
        return sum(len(entry.numbers) for entry in self.ledger.entries) > MOST

    def submit(self) -> None:
        if self.crowded():
            return
        item = self.item()
        draw = self.rng.random()
        if self.machine.plan.decorated and draw < 0.5:
            self.accept(self.machine.submitter, [item], many=False)
        elif draw < 0.6:
            self.accept(self.machine.submitter.submit, [item], many=False)
        elif draw < 0.7:
            self.accept(self.machine.submitter.submit_nowait, [item], many=False)
        else:
            options, wrong = self.own_options([item], many=False)
            nowait = self.rng.random() < 0.2
            submitter = self.machine.submitter
            call = submitter.submit_nowait if nowait else submitter.submit
            self.accept(call, [item], many=False, wrong=wrong, **options)

    def burst(self) -> None:
        for _ in range(self.rng.randint(3, 40)):
            self.submit()

    def submit_many(self) -> None:
        if self.crowded():
            return
        self.machine.many = True
        items = [self.item() for _ in range(self.rng.choice([0, 1, 2, 3, 3, 5, 9, 30]))]
        options: dict[str, Any] = {}
        wrong = False
        if self.rng.random() < 0.4:
            options, wrong = self.own_options(items, many=True)
        if self.rng.random() < 0.3:
            options["return_exceptions"] = True
        self.accept(self.machine.submitter.submit_many, items, many=True, wrong=wrong, **options)

    def collection(self, items: list[Item]) -> Any:
        shape = self.rng.choice(["list", "list", "collection", "row", "generator"])
        if shape == "list":
            return list(items)
        if shape == "generator":
            return self.one_after_another(items)
        return (Collection if shape == "collection" else Row)(self.mischief, list(items))

    def one_after_another(self, items: list[Item]) -> Iterator[Item]:
        for item in items:
            self.mischief.strike("iter")
            yield item

    def accept(
        self, call: Any, items: list[Item], *, many: bool, wrong: bool = False, **options: Any
    ) -> None:
        """Submit, and keep the books; what is refused must be so for a reason."""
        for item in items:
            self.ledger.describe(item)
        given = self.collection(items) if many else items[0]
        try:
            ticket = self.mischief.during(call, given, **options)
        except Spite:
            return
        except (CapacityError, OverweightError, BatcherClosedError) as error:
            self.check_refusal(error, call, many=many)
            return
        except (TypeError, ValueError):
            if not wrong:
                raise
            return
        entry = self.ledger.accept(ticket, items, many=many)
        self.machine.note("ticket", entry.numbers)
        if self.rng.random() < 0.2:
            self.add_callback(entry)

    def check_refusal(self, error: Exception, call: Any, *, many: bool) -> None:
        options = self.machine.options
        due = {
            CapacityError: options["overflow"] != "wait" or call.__name__ == "submit_nowait",
            OverweightError: options.get("overweight") == "reject",
            BatcherClosedError: self.machine.closing,
        }
        if not due[type(error)]:  # type: ignore[index]
            self.machine.violate(f"refused for no reason: {error!r}")

    # ----------------------------------------------------------------------------------- the rest
    def some_entry(self) -> Entry | None:
        entries = self.ledger.entries
        if not entries:
            return None
        return entries[-1] if self.rng.random() < 0.3 else self.rng.choice(entries)

    def cancel(self) -> None:
        entry = self.some_entry()
        if entry is None:
            return
        self.machine.note("cancel", entry.numbers)
        message = self.rng.choice([(), (), (Message(self.mischief),)])
        entry.cancelled = entry.cancelled or not entry.ticket.done()
        if self.machine.plan.decorated and hasattr(entry.ticket, "close") and not message:
            self.mischief.during(entry.ticket.close)
        else:
            self.mischief.during(entry.ticket.cancel, *message)
        if not entry.ticket.done():
            self.machine.violate(f"{entry.numbers} is cancelled and not done")
        if entry.ticket.cancelled() and entry.cancelled_at is None:
            entry.cancelled_at = self.machine.turns

    def flush(self) -> None:
        self.mischief.during(self.machine.batcher.flush)

    def collect(self) -> None:
        self.mischief.during(gc.collect, self.rng.choice([0, 1, 2]))

    def look(self) -> None:
        self.mischief.during(self.machine.batcher.statistics)
        entry = self.some_entry()
        if entry is not None:
            self.mischief.during(repr, entry.ticket)

    def reconfigure(self) -> None:
        rng, now = self.rng, self.machine.options
        changes: dict[str, Any] = {
            "max_batch_size": rng.choice([1, 2, 5, 64]),
            "max_latency": rng.choice([0.0, 0.05, 0.5, "auto"]),
            "max_auto_latency": rng.choice([None, 0.0, 0.1]),
            "max_concurrent_batches": rng.randint(1, 3),
            "capacity": rng.choice([None, 1, 3, 10, 100]),
            "timeout": rng.choice([None, 0.6, 3.0]),
        }
        if "max_batch_weight" in now:
            changes["max_batch_weight"] = rng.choice([1.0, 3.0, 10.0])
        chosen = {name: changes[name] for name in rng.sample(sorted(changes), rng.randint(1, 3))}
        latency = chosen.get("max_latency", now["max_latency"])
        timeout = chosen.get("timeout", now.get("timeout"))
        if timeout is not None and latency != "auto" and timeout <= latency:
            return
        if self.reconfiguring:  # which of two that are nested holds is not laid down
            return
        self.machine.changed(chosen)
        self.machine.note("reconfigure", chosen)
        self.reconfiguring = True
        try:
            self.mischief.during(self.machine.batcher.reconfigure, **chosen)
        finally:
            self.reconfiguring = False

    def litter(self) -> None:
        for _ in range(self.rng.randint(1, 3)):
            Cycle(self.mischief)

    def watch(self) -> None:
        entry = self.some_entry()
        if entry is not None:
            self.add_callback(entry)

    def add_callback(self, entry: Entry) -> None:
        entry.watched += 1
        self.mischief.during(entry.ticket.add_done_callback, Callback(self, entry))

    def unwatch(self) -> None:
        entry = self.some_entry()
        if entry is None:
            return
        try:
            callback = Callback(self, entry)
            removed = self.mischief.during(entry.ticket.remove_done_callback, callback)
            entry.watched -= removed  # which hostile code has changed meanwhile
        except Spite:
            return

    def forget(self) -> None:
        """Let go of what has settled."""
        kept = [entry for entry in self.ledger.settled if entry.calls < entry.watched]
        gone = self.ledger.settled
        self.ledger.settled = kept
        for entry in gone:
            for number in entry.numbers:
                self.ledger.entry_of.pop(number, None)
        self.mischief.during(gone.clear)

    def follow(self) -> None:
        """Make a task that waits for a ticket."""
        entry = self.some_entry()
        if entry is not None:
            waiting = self.wait_for(entry, self.rng.choice([None, None, 0.1, 2.0]))
            self.machine.tasks.append(self.machine.loop.create_task(waiting))

    async def wait_for(self, entry: Entry, timeout: float | None) -> None:
        if timeout is not None:
            entry.cancelled = True
        try:
            if timeout is None:
                await entry.ticket
            else:
                await asyncio.wait_for(entry.ticket, timeout)
        except asyncio.CancelledError:
            return
        except Exception:
            return

    def unfollow(self) -> None:
        """Cancel such a task, and its ticket with it."""
        self.machine.tasks = [task for task in self.machine.tasks if not task.done()]
        if self.machine.tasks:
            for entry in self.ledger.entries:
                entry.cancelled = True
            self.mischief.during(self.rng.choice(self.machine.tasks).cancel)

    # -------------------------------------------------------------------------------------- turns
    async def turn(self) -> None:
        self.machine.turns += 1
        self.mischief.let_loose()
        try:
            await asyncio.sleep(0)
        finally:
            self.mischief.hold_back()

    async def turns(self) -> None:
        for _ in range(self.rng.randint(2, 6)):
            await self.turn()

    async def pass_time(self) -> None:
        pause = self.rng.choice([0.001, 0.05, 0.3, 1.0, 10.0])
        self.machine.turns += 1
        self.mischief.let_loose()
        try:
            await asyncio.sleep(pause)
        finally:
            self.mischief.hold_back()
        self.machine.former = [self.machine.former[1], []]

    async def pass_quietly(self) -> None:
        await self.machine.quiet()
