"""The probes put to microbatch, in virtual time, and to batchers that are known to be bad."""

import asyncio
from typing import Any

import pytest

import microbatch
from conformance.adapter import Adapter
from conformance.finding import Finding
from conformance.peers import NAMES, OURS, adapter_of
from conformance.probes import PROBES
from microbatch import testing

OPTIONS = microbatch.Options.__dataclass_fields__
MISSING = {
    "function-raises": not {"key", "weigh"} & set(OPTIONS),
    "thread-storm": not hasattr(microbatch, "BlockingBatcher"),
}


WITH_PANDAS = {"labelled-results", "square-table"}


class Deaf(Adapter):
    """A batcher that never does anything."""

    options = frozenset({"timeout", "key", "weigh", "capacity"})

    def __init__(self, handler: Any, *, size: int, wait: float, **options: Any) -> None:
        pass

    async def submit(self, item: Any) -> Any:
        await asyncio.Event().wait()

    async def abort(self) -> None:
        await asyncio.Event().wait()


class Hasty(Adapter):
    """A batcher that does not batch: each caller calls the handler itself."""

    bounded = False

    def __init__(self, handler: Any, *, size: int, wait: float) -> None:
        self.handler = handler

    async def submit(self, item: Any) -> Any:
        return (await self.handler([item]))[0]


class Naive(Adapter):
    """A batcher that has never heard of anything that may go wrong."""

    options = frozenset({"capacity"})

    def __init__(self, handler: Any, *, size: int, wait: float, capacity: int = 9) -> None:
        self.handler, self.capacity = handler, capacity
        self.waiting: dict[Any, asyncio.Future[Any]] = {}
        self.scheduled = False

    def submit(self, item: Any) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        if len(self.waiting) < self.capacity:
            self.waiting[item] = future
            self.schedule(loop)
        return future

    def schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self.scheduled:
            self.scheduled = True
            loop.call_soon(self.go)

    def go(self) -> None:
        self.scheduled = False
        self.task = asyncio.create_task(self.batch({**self.waiting}))
        self.waiting.clear()

    async def batch(self, waiting: dict[Any, asyncio.Future[Any]]) -> None:
        results = await self.handler([*waiting])
        for place, future in enumerate(waiting.values()):
            future.set_result(results[place])


def put(name: str, library: type[Adapter]) -> Finding:
    if name in WITH_PANDAS:
        pytest.importorskip("pandas", reason="has no wheel of pandas here")
    return PROBES[name].put_to(library, testing.run)


@pytest.mark.parametrize("name", PROBES)
def test_microbatch_passes_every_probe(name: str) -> None:
    finding = put(name, adapter_of(OURS))
    expected = "not offered" if MISSING.get(name) else "pass"
    assert finding.verdict == expected, finding.seen


@pytest.mark.parametrize("name", sorted(set(PROBES) - {"thread-storm"}))
def test_a_batcher_that_never_answers_passes_no_probe(name: str) -> None:
    assert put(name, Deaf).verdict == "fail"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cancel-one", Finding("fail", "answered, the handler ran 3 times")),
        ("cancel-queued", Finding("fail", "the handler got it")),
        ("cancel-all", Finding("pass", "cancelled")),
        ("cancel-twin", Finding("pass", "answered")),
        ("handler-raises", Finding("pass", "ValueError, 3 objects")),
        ("next-after-failure", Finding("pass", "answered")),
        ("handler-cancels", Finding("fail", "CancelledError; next item: answered")),
        ("short-results", Finding("pass", "IndexError")),
        ("long-results", Finding("fail", "answered")),
        ("function-raises", Finding("not offered", "no key function, no size function")),
        (
            "late-binding",
            Finding("not offered", "calls are not bounded: 100 calls, median 100 ms"),
        ),
        (
            "closed-loop",
            Finding("not offered", "calls are not bounded: mean batch 1 (5 ms)"),
        ),
        ("labelled-results", Finding("pass", "answered")),
        ("square-table", Finding("fail", "Series")),
        ("beyond-capacity", Finding("not offered", "no bound on what it accepts")),
        ("own-item", Finding("pass", "its caller: answered; next item: answered")),
        ("refusing-loop", Finding("not offered", "it gives the loop no callbacks of its own")),
        ("call-as-task", Finding("pass", "answered")),
        ("cancel-unstarted", Finding("pass", "the handler never saw it")),
        ("handler-settings", Finding("fail", "as the caller has them")),
        ("deadline-in-queue", Finding("not offered", "no deadline for an item")),
        ("second-run", Finding("pass", "answered")),
        ("two-loops", Finding("pass", "first loop: answered; second loop: answered")),
        ("handler-context", Finding("fail", "that of each batch's first caller")),
        ("idle", Finding("pass", "stays asleep")),
        ("thread-storm", Finding("not offered", "no way offered")),
        ("forced-stop", Finding("not offered", "no way to end it at once")),
        ("tasks-left", Finding("pass", "none left")),
    ],
)
def test_a_batcher_that_does_not_batch_is_seen_through(name: str, expected: Finding) -> None:
    assert put(name, Hasty) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("labelled-results", Finding("fail", "2 wrong answer, 1 answered")),
        ("square-table", Finding("fail", "a column")),
        (
            "beyond-capacity",
            Finding(
                "fail",
                "first two: answered; beyond: 2 answered, 2 hang; next item: answered",
            ),
        ),
        ("refusing-loop", Finding("fail", "1 MemoryError, 2 hang, later items: hang")),
        ("call-as-task", Finding("fail", "TypeError: no task takes the Future that it gives")),
        ("cancel-unstarted", Finding("not offered", "no task takes the Future that it gives")),
        ("handler-settings", Finding("fail", "as the caller has them")),
    ],
)
def test_a_naive_batcher_is_seen_through(name: str, expected: Finding) -> None:
    assert put(name, Naive) == expected


def test_a_call_that_has_to_be_awaited_twice_is_seen() -> None:
    class Twice(Naive):
        @classmethod
        def calling(cls, handler: Any, *, size: int, wait: float) -> Any:
            batcher = cls(handler, size=size, wait=wait)

            async def call(item: Any) -> asyncio.Future[Any]:
                return batcher.submit(item)

            return call

    expected = Finding("fail", "a future, to be awaited once more")
    assert put("call-as-task", Twice) == expected
    expected = Finding("pass", "the handler never saw it")
    assert put("cancel-unstarted", Twice) == expected


def test_a_batcher_that_polls_is_seen() -> None:
    class Polling(Hasty):
        async def submit(self, item: Any) -> Any:
            self.task = asyncio.create_task(self.poll())
            return await super().submit(item)

        async def poll(self) -> None:
            for _ in range(100_000):
                await asyncio.sleep(0.01)

    finding = PROBES["idle"].put_to(Polling, testing.run)
    assert finding.verdict == "fail"
    assert finding.seen in {"99.7 wake-ups a second", "100.0 wake-ups a second"}
    assert PROBES["tasks-left"].put_to(Polling, testing.run) == Finding("fail", "3 tasks left")


def test_a_batcher_that_settles_into_halves_is_seen() -> None:
    class Impatient(adapter_of(OURS)):  # type: ignore[misc]
        def __init__(self, handler: Any, *, size: int, wait: Any) -> None:
            super().__init__(handler, size=size, wait=0.0)

    expected = Finding("fail", "mean batch 16 (5 ms), 16 (learned)")
    assert put("closed-loop", Impatient) == expected


def test_a_wrong_answer_in_a_closed_loop_is_seen() -> None:
    class Deluded(Hasty):
        async def submit(self, item: Any) -> Any:
            return await super().submit(item % 40)

    assert put("closed-loop", Deluded) == Finding("fail", "wrong answer")


def test_each_adapter_describes_its_library_without_importing_it() -> None:
    for name in NAMES:
        library = adapter_of(name)
        assert library.title
        assert library.distribution
        assert library.module
