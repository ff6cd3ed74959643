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


class Deaf(Adapter):
    """A batcher that never does anything."""

    options = frozenset({"timeout", "key", "weigh"})

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


@pytest.mark.parametrize("name", PROBES)
def test_microbatch_passes_every_probe(name: str) -> None:
    finding = PROBES[name].put_to(adapter_of(OURS), testing.run)
    expected = "not offered" if MISSING.get(name) else "pass"
    assert finding.verdict == expected, finding.seen


@pytest.mark.parametrize("name", sorted(set(PROBES) - {"thread-storm"}))
def test_a_batcher_that_never_answers_passes_no_probe(name: str) -> None:
    assert PROBES[name].put_to(Deaf, testing.run).verdict == "fail"


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
    assert PROBES[name].put_to(Hasty, testing.run) == expected


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


def test_each_adapter_describes_its_library_without_importing_it() -> None:
    for name in NAMES:
        library = adapter_of(name)
        assert library.title
        assert library.distribution
        assert library.module
