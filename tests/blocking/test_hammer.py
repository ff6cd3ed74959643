"""Many threads at once, switched as often as can be: nothing is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections import Counter
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import Batcher, BlockingBatcher

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("tidy")

THREADS, EACH = 32, 60


@pytest.fixture(autouse=True)
def restless() -> Iterator[None]:
    """Switch threads all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Poison(Exception):
    pass


class Handler:
    """Fail every seventh item, and remember all that were seen."""

    def __init__(self) -> None:
        self.seen: Counter[int] = Counter()

    async def __call__(self, items: list[int]) -> list[Any]:
        self.seen.update(items)
        await asyncio.sleep(0)
        return [Poison(item) if item % 7 == 0 else -item for item in items]


class Traffic:
    """Let threads submit items of their own, cancel some, and count every answer."""

    def __init__(self, batcher: BlockingBatcher[int, int]) -> None:
        self.batcher = batcher
        self.answers: Counter[int] = Counter()
        self.cancelled: set[int] = set()
        self.wrong: list[Any] = []

    def run(self) -> None:
        threads = [threading.Thread(target=self.work, args=(number,)) for number in range(THREADS)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(20)

    def work(self, number: int) -> None:
        chance = random.Random(number)
        items = range(number * EACH, (number + 1) * EACH)
        futures = [(item, self.submit(chance, item)) for item in items]
        for item, future in futures:
            self.take(item, future)

    def submit(self, chance: random.Random, item: int) -> Any:
        future = self.batcher.submit(item)
        if chance.random() < 0.2 and future.cancel():
            self.cancelled.add(item)
        elif chance.random() < 0.3:
            self.take(item, future)
            return None
        return future

    def take(self, item: int, future: Any) -> None:
        if future is None:
            return
        try:
            answer = future.result(20)
        except CancelledError:
            right = item in self.cancelled
        except Poison as error:
            right = item % 7 == 0 and error.args == (item,)
        else:
            right = item % 7 != 0 and answer == -item
        self.answers[item] += 1
        if not right:
            self.wrong.append(item)

    def check(self, handler: Handler) -> None:
        assert self.wrong == []
        every = set(range(THREADS * EACH))
        assert self.answers == Counter(every)
        assert set(handler.seen.values()) <= {1}
        assert every - set(handler.seen) <= self.cancelled
        now = self.batcher.statistics()
        assert now.submitted == now.completed + now.failed + now.cancelled
        assert now.cancelled <= len(self.cancelled)


def test_no_answer_of_32_threads_is_lost_or_doubled(loop_factory: Any) -> None:
    handler = Handler()
    with BlockingBatcher(
        handler, loop_factory=loop_factory, max_batch_size=16, max_concurrent_batches=3
    ) as batcher:
        traffic = Traffic(batcher)
        traffic.run()
    traffic.check(handler)


def test_no_answer_is_lost_or_doubled_on_a_loop_with_callers_of_its_own() -> None:
    handler = Handler()

    async def main() -> None:
        made: Batcher[int, int] = Batcher(handler, max_batch_size=16)
        async with BlockingBatcher.attached(made) as batcher:
            traffic = Traffic(batcher)
            threads = asyncio.create_task(asyncio.to_thread(traffic.run))
            own = 0
            while not threads.done():
                own -= 1
                await asyncio.gather(made.submit(own), return_exceptions=True)
            await threads
        for item in range(own, 0):
            del handler.seen[item]
        assert traffic.wrong == []
        assert traffic.answers == Counter(range(THREADS * EACH))
        assert set(handler.seen.values()) <= {1}

    asyncio.run(main())


def test_maps_of_many_threads_keep_to_themselves() -> None:
    async def negate(items: list[int]) -> list[int]:
        return [-item for item in items]

    got: dict[int, list[int]] = {}

    def work(number: int) -> None:
        ordering: Any = "unordered" if number % 2 else "ordered"
        source = range(number * EACH, (number + 1) * EACH)
        got[number] = list(batcher.map(source, ordering=ordering))

    with BlockingBatcher(negate, max_batch_size=8) as batcher:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(20)
    for number in range(THREADS):
        expected = [-item for item in range(number * EACH, (number + 1) * EACH)]
        assert sorted(got[number], reverse=True) == expected
        if number % 2 == 0:
            assert got[number] == expected


def test_closing_amid_the_traffic_leaves_nobody_hanging() -> None:
    handler = Handler()
    batcher = BlockingBatcher(handler, max_batch_size=4)
    ends: Counter[str] = Counter()
    first = threading.Event()

    def work(number: int) -> None:
        for item in range(number * EACH, (number + 1) * EACH):
            try:
                batcher.submit(item).result(20)
                end = "result"
            except Exception as error:
                end = type(error).__name__
            ends[end] += 1
            first.set()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, THREADS)]
    for each in threads:
        each.start()
    assert first.wait(20)
    batcher.close()
    for each in threads:
        each.join(20)
    assert set(ends) <= {"result", "Poison", "BatcherClosedError"}
    assert sum(ends.values()) == (THREADS - 1) * EACH
