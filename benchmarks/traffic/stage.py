"""Play a row of traffic in virtual time, with the very core, and note what became of it."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.traffic.policies import Policy
from benchmarks.traffic.sources import Traffic
from microbatch import Batcher
from microbatch.testing import run


@dataclass(frozen=True)
class Setup:
    """A handler's times, in seconds, and how many items and slots it has."""

    seconds: float
    per_item: float = 0.0
    size: int = 64
    slots: int = 1

    def call(self, items: float) -> float:
        """Give the seconds of a handler call."""
        return self.seconds + self.per_item * min(items, self.size)

    @property
    def capacity(self) -> float:
        """Items in a second when all batches are full and no slot ever rests."""
        return self.slots * self.size / self.call(self.size)


class Request:
    """When a request was sent, submitted, handled, answered, and when its sender had the answer."""

    __slots__ = ("answered", "departed", "received", "sent", "submitted")

    answered: float
    departed: float
    received: float
    sent: float
    submitted: float


@dataclass
class Call:
    """A handler call: from when to when, and of how many items."""

    departed: float
    ended: float
    size: int


@dataclass
class Log:
    """Everything that happened; ``began`` is when each phase of the traffic did."""

    requests: list[Request] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    began: list[float] = field(default_factory=list)
    ended: float = 0.0


class VirtualStage:
    """A batcher, and what is asked of it."""

    def __init__(self, setup: Setup, policy: Policy, seed: str, spread: float) -> None:
        self.batcher: Batcher[Request, None] = Batcher(
            self.handle,
            max_batch_size=setup.size,
            max_concurrent_batches=setup.slots,
            max_latency=policy.max_latency,
        )
        self.setup, self.seed, self.spread = setup, seed, spread
        self.log = Log()
        self.time = asyncio.get_running_loop().time

    def dice(self, who: object) -> random.Random:
        """Give random numbers that depend on the seed, the phase and the client alone."""
        return random.Random(f"{self.seed} {len(self.log.began)} {who}")

    async def handle(self, requests: list[Request]) -> None:
        """Take the time that so many items take."""
        departed, size = self.time(), len(requests)
        for request in requests:
            request.departed = departed
        await asyncio.sleep(self.setup.call(size))
        self.log.calls.append(Call(departed, self.time(), size))

    async def request(self, out: float, back: float) -> None:
        """Send a request, and await its answer."""
        request = Request()
        request.sent = self.time()
        if out:
            await asyncio.sleep(out)
        request.submitted = self.time()
        await self.batcher.submit(request)
        request.answered = self.time()
        if back:
            await asyncio.sleep(back)
        request.received = self.time()
        self.log.requests.append(request)

    async def phase(self, sources: Sequence[Traffic], seconds: float) -> None:
        """Play some traffic for so long."""
        self.log.began.append(self.time())
        until = self.time() + seconds
        async with asyncio.TaskGroup() as group:
            for source in sources:
                group.create_task(source.drive(self, until))
        self.log.ended = until


def play(
    setup: Setup,
    policy: Policy,
    phases: Sequence[tuple[Sequence[Traffic], float]],
    seed: str,
    spread: float,
) -> Log:
    """Play phases of traffic, each for so many seconds, with clients that start within others."""

    async def scene() -> Log:
        stage = VirtualStage(setup, policy, seed, spread)
        async with stage.batcher:
            for sources, seconds in phases:
                await stage.phase(sources, seconds)
        stage.log.calls.sort(key=lambda call: call.departed)
        return stage.log

    return run(scene, debug=False)
