"""What only a process of its own can show: memory, garbage, imports and descriptors."""

import os
import sys
import textwrap

import pytest

from tests.scripts import run_script

PRELUDE = """
    import asyncio, gc, os, resource
    from pathlib import Path
    from microbatch import Batcher, Ticket, batched

    async def echo(items):
        return items

    def resident():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    async def callers(batcher, count, each):
        async def caller():
            for item in range(each):
                await batcher.submit(item)
        await asyncio.gather(*(caller() for _ in range(count)))
"""


def run(script: str) -> str:
    """Run a script in a fresh interpreter, with warnings as errors, and give what it printed."""
    status, printed, complaints = run_script(PRELUDE, script, flags=("-W", "error"), timeout=60)
    assert (status, complaints) == (0, "")
    return printed.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_queued_item_takes_at_most_200_bytes() -> None:
    bytes_each = run("""
        async def main():
            never = asyncio.Event()
            async def handler(items):
                await never.wait()
            batcher = Batcher(handler, max_batch_size=1, capacity=None)
            batcher.submit_nowait(None)
            await asyncio.sleep(0)
            count = 300_000
            tickets = [None] * count
            before = resident()
            for index in range(count):
                tickets[index] = batcher.submit_nowait(None)
            print((resident() - before) / count)
            await batcher.aclose(timeout=0)
        asyncio.run(main())
    """)
    assert 0 < float(bytes_each) <= 200


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_flat_over_many_items() -> None:
    grown = run("""
        async def main():
            batcher = Batcher(echo, timeout=30)
            await callers(batcher, 256, 200)
            gc.collect()
            before = resident()
            await callers(batcher, 256, 1000)
            gc.collect()
            print(resident() - before)
        asyncio.run(main())
    """)
    assert int(grown) <= 2 * 2**20


def test_settled_items_leave_neither_objects_nor_garbage() -> None:
    grown, garbage, tickets = run("""
        async def main():
            batcher = Batcher(echo, max_batch_size=8, timeout=30)
            await callers(batcher, 64, 20)
            gc.collect()
            gc.disable()
            before = len(gc.get_objects())
            await callers(batcher, 64, 100)
            grown = len(gc.get_objects()) - before
            tickets = sum(isinstance(thing, Ticket) for thing in gc.get_objects())
            print(grown, gc.collect(), tickets)
        asyncio.run(main())
    """).split()
    assert int(grown) < 50
    assert (int(garbage), int(tickets)) == (0, 0)


@pytest.mark.parametrize(
    "options", ["", "retry=policy", "on_error='bisect'", "retry=policy, on_error='bisect'"]
)
def test_failed_batches_leave_no_garbage(options: str) -> None:
    program = """
        from tenacity import AsyncRetrying, stop_after_attempt

        policy = AsyncRetrying(stop=stop_after_attempt(2))

        async def fail(items):
            if 3 in items:
                raise ValueError
            return items

        async def main():
            batcher = Batcher(fail, max_batch_size=8, OPTIONS)
            for _ in range(2):
                gc.collect()
                gc.disable()
                for _ in range(10):
                    await asyncio.gather(*map(batcher.submit, range(8)), return_exceptions=True)
            await asyncio.sleep(0)
            print(gc.collect())
        asyncio.run(main())
    """
    assert run(program.replace("OPTIONS", options)) == "0"


@pytest.mark.parametrize("way", ["read", "leave", "answer"])
def test_streams_and_partial_answers_leave_no_garbage(way: str) -> None:
    garbage = run(f"""
        async def chunks(items):
            for step in range(5):
                yield [step] * len(items)

        async def pairs(items):
            for place, item in enumerate(items):
                yield place, item

        streaming, answering = Batcher(chunks, stream=True), Batcher(pairs)

        async def read():
            async for _ in streaming.stream(1):
                pass

        async def leave():
            async for _ in streaming.stream(1):
                break

        async def answer():
            await answering.submit(1)

        async def many(rounds):
            for _ in range(rounds):
                await asyncio.gather(*({way}() for _ in range(50)))
            await streaming.drain()
            await answering.drain()
            await asyncio.sleep(0)

        async def main():
            await many(1)
            gc.collect()
            gc.disable()
            await many(20)
            print(gc.collect())

        asyncio.run(main())
    """)
    assert int(garbage) == 0


def test_many_instances_with_batched_methods_leave_nothing() -> None:
    assert (
        run("""
        class Model:
            @batched()
            async def double(self, numbers):
                return [2 * number for number in numbers]

        async def main():
            for number in range(200):
                assert await Model().double(number) == 2 * number
            await asyncio.sleep(0)
            gc.collect()
            print(len(Model.double.bound), sum(isinstance(it, Model) for it in gc.get_objects()))
        asyncio.run(main())
    """)
        == "0 0"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_batchers_that_go_away_give_their_timers_back() -> None:
    assert (
        run("""
        def count():
            return len(os.listdir("/proc/self/fd"))

        async def main():
            await Batcher(echo).submit(0)  # what learns of the loop's end is there once for all
            before = count()
            for number in range(50):
                await Batcher(echo, max_latency=1e-4).submit(number)
            await asyncio.sleep(0)  # out of the last one's own callback
            gc.collect()
            await asyncio.sleep(0)  # the loop stops watching
            await asyncio.sleep(0)
            print(count() - before)
        asyncio.run(main())
    """)
        == "0"
    )


def test_importing_is_light() -> None:
    assert (
        run("""
        import sys
        heavy = (
            "numpy", "click", "rich", "sklearn", "uvloop", "prometheus_client", "opentelemetry",
            "tenacity", "microbatch.adapters", "microbatch.testing",
        )
        print([name for name in heavy if name in sys.modules])
    """)
        == "[]"
    )


def test_the_core_imports_errors_alone() -> None:
    alone = """
        import importlib.util, sys, types
        package = types.ModuleType("microbatch")
        package.__path__ = importlib.util.find_spec("microbatch").submodule_search_locations
        sys.modules["microbatch"] = package
        import microbatch._core
        print(*sorted(name for name in sys.modules if name.startswith("microbatch.")))
    """
    status, printed, complaints = run_script(alone, flags=("-W", "error"), timeout=60)
    assert (status, complaints) == (0, "")
    assert printed == "microbatch._core microbatch.errors\n"


def test_what_is_left_when_a_loop_closes_is_collected() -> None:
    assert (
        run("""
        import warnings, weakref
        class Item:
            pass

        async def main():
            batcher = Batcher(echo, max_latency=60)
            ticket = batcher.submit_nowait(item := Item())
            return weakref.ref(item)

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            item = asyncio.run(main())
        print([each.category.__name__ for each in caught])
        caught.clear()  # they refer to what they warn of
        gc.collect()
        print(item() is None)
    """)
        == "['ResourceWarning']\nTrue"
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_forks_in_a_callers_step_can_use_the_batcher_in_the_child() -> None:
    assert (
        run("""
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)

        async def use(batcher):
            return await batcher.submit(2)

        async def main(batcher):
            await batcher.submit(1)
            child = os.fork()
            if child:
                return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            asyncio._set_running_loop(None)
            os._exit(0 if asyncio.run(use(batcher)) == 2 else 1)

        print(asyncio.run(main(Batcher(echo))))
    """)
        == "0"
    )


def test_collections_at_every_allocation_break_nothing() -> None:
    assert (
        run("""
        class Cancelling:
            def __init__(self, ticket):
                self.me, self.ticket = self, ticket
            def __del__(self):
                self.ticket.cancel()

        async def main():
            batcher = Batcher(echo, max_batch_size=4)
            for number in range(300):
                tickets = [batcher.submit(item) for item in range(8)]
                for ticket in tickets:
                    Cancelling(ticket)
                gc.set_threshold(1)
                tickets[3].cancel()
                await asyncio.gather(*tickets, return_exceptions=True)
                gc.set_threshold(700)
            await batcher.drain()
            left = batcher.statistics()
            print(left.submitted == left.completed + left.cancelled)
        asyncio.run(main())
    """)
        == "True"
    )


GROUPED = """
    import sys
    from microbatch import _core

    class Router(_core.Router):
        def find_lane(self):
            return lane

    now, soon = [0.0], []
    lane = _core.Lane(
        None, "leaks", clock=lambda: now[0], call_soon=soon.append,
        call_soon_threadsafe=soon.append,
        call_at=lambda when, call: Handle(), on_due=lambda: None, on_idle=lambda: None,
        on_given_up=lambda ticket: ticket.cancel(), on_own_wait=lambda: None,
        on_abandoned=lambda batch: None, on_callback_error=print, pin=None,
        cancelled_error=RuntimeError, invalid_state_error=RuntimeError, done_future=None,
    )

    def configure(**options):
        options = {"max_batch_size": 64, "max_latency": 1.0, "timeout": None, **options}
        lane.configure(**{"capacity": None, "overflow": "wait", "max_batch_weight": 99, **options})
        lane.free_slots = 1

    class Handle:
        def cancel(self):
            pass

    submitter = _core.Submitter(Router(lambda: None))

    def dispatch():
        lane.flush()
        while taken := lane.next_batch():
            batch, _ = taken
            batch.resolve((ValueError(),) + (1,) * (batch.size - 1), lambda error: ValueError())
            end(batch)

    def end(batch):
        batch.end()
        lane.free_slots += 1
"""


def run_grouped(script: str) -> str:
    """Run a script that has a lane of its own, and no loop."""
    return run(textwrap.dedent(GROUPED) + textwrap.dedent(script))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_keys_that_have_gone_take_no_memory() -> None:
    grown = run_grouped("""
        configure(key=lambda item: item // 2, priority=lambda item: item % 5, weigh=abs,
                  dedupe=lambda item: item, max_batches_per_key=1, timeout=9.0)

        def use(start, stop):
            for block in range(start, stop, 100):
                now[0] += 1.0
                for item in range(block, block + 100):
                    submitter.submit(item)
                    submitter.submit_many([item, item + 1]).cancel()
                dispatch()
                assert lane.unsettled == 0
                soon.clear()

        many = 300_000
        use(0, many // 4)
        gc.collect()
        before = resident()
        use(many // 4, many)
        gc.collect()
        print(resident() - before)
    """)
    assert int(grown) <= 2 * 2**20


def test_grouped_items_leave_neither_objects_nor_references() -> None:
    assert (
        run_grouped("""
        keys = [object() for _ in range(7)]
        items = [object() for _ in range(50)]
        configure(key=lambda item: keys[id(item) // 16 % 7], dedupe=lambda item: id(item) % 3,
                  priority=lambda item: id(item) // 16 % 3, weigh=lambda item: 1)

        def use():
            tickets = [submitter.submit(item, timeout=5 + id(item) // 16 % 2) for item in items]
            tickets += [submitter.submit_many(items), submitter.submit_many(items[:9])]
            for ticket in tickets[::3]:
                ticket.cancel()
            lane.flush()
            batch, _ = lane.next_batch()
            part = batch.part(1, 3)
            for each in (batch, part):
                each.fail(lambda ticket: OSError())
            end(batch)
            now[0] += 5.0
            for late in lane.take_late()[:2]:
                late.fail(lambda ticket: OSError())
            dispatch()
            assert lane.unsettled == lane.joined == 0
            soon.clear()

        use()
        gc.collect()
        counts = [sys.getrefcount(each) for each in keys + items]
        objects = len(gc.get_objects())
        for _ in range(20):
            use()
        gc.collect()
        grown = len(gc.get_objects()) - objects
        print([sys.getrefcount(each) for each in keys + items] == counts, grown < 20)
    """)
        == "True True"
    )


def test_finalizers_in_the_middle_of_grouping_break_nothing() -> None:
    assert (
        run_grouped("""
        import random
        random.seed(5)
        configure(key=lambda item: item % 3, dedupe=lambda item: item % 5,
                  priority=lambda item: item % 4, weigh=lambda item: item % 2)
        tickets, busy = [], []

        class Meddling:
            def __init__(self):
                self.me = self
            def __del__(self):
                if not busy:
                    busy.append(1)
                    if tickets:
                        tickets.pop(random.randrange(len(tickets))).cancel()
                    tickets.append(submitter.submit(random.randrange(50)))
                    busy.clear()

        for number in range(300):
            for _ in range(3):
                Meddling()
            gc.set_threshold(1)
            tickets.append(submitter.submit(number))
            tickets.append(submitter.submit_many([number, number + 1, number + 2]))
            tickets.pop(random.randrange(len(tickets))).cancel()
            if number % 4 == 0:
                dispatch()
            gc.set_threshold(700)
        busy.append(1)
        gc.collect()
        dispatch()
        left = lane.submitted - lane.completed - lane.failed - lane.cancelled
        print(left, lane.unsettled, lane.joined, all(ticket.done() for ticket in tickets))
    """)
        == "0 0 0 True"
    )
