"""Where requests come from: clients that wait for their answers, and arrivals that don't.

Random numbers depend on the seed, the row and the client alone, so that every policy meets the
same traffic.
"""

import asyncio
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

SLOW = 10.0
"""How many times as long as the others a slow trip takes."""


class Stage(Protocol):
    """What traffic is played on."""

    spread: float
    """Seconds within which clients start."""

    def dice(self, who: object) -> random.Random:
        """Give the random numbers of a client."""
        ...

    def time(self) -> float:
        """Give the time in seconds."""
        ...

    async def request(self, out: float, back: float) -> None:
        """Send a request, and await its answer; each is under way for so many seconds."""
        ...


class Traffic(Protocol):
    """Some requests."""

    @property
    def rate(self) -> float:
        """Most requests that it can send in a second, were they answered at once."""
        ...

    @property
    def closed(self) -> bool:
        """Whether it waits for answers."""
        ...

    async def drive(self, stage: Stage, until: float) -> None:
        """Send requests until then, and await the last answers."""
        ...


@dataclass(frozen=True)
class Network:
    """How long a request and its answer are under way together, in seconds."""

    least: float = 0.0
    most: float = 0.0
    slow: float = 0.0
    """Which part of the trips takes SLOW times as long."""

    @property
    def mean(self) -> float:
        """Seconds that a round trip takes on average."""
        return (self.least + self.most) / 2 * (1 + self.slow * (SLOW - 1))

    def trip(self, dice: random.Random) -> float:
        """Give the seconds of one way."""
        seconds = dice.uniform(self.least, self.most) / 2
        return seconds * SLOW if self.slow and dice.random() < self.slow else seconds


@dataclass(frozen=True)
class Closed:
    """So many clients; each sends its next request when the answer has come back."""

    clients: int
    network: Network = Network()
    closed: ClassVar[bool] = True

    @property
    def rate(self) -> float:
        """Most requests in a second."""
        return self.clients / self.network.mean if self.network.mean else math.inf

    async def drive(self, stage: Stage, until: float) -> None:
        """Let every client send and wait."""

        async def client(dice: random.Random) -> None:
            await asyncio.sleep(dice.uniform(0, stage.spread))
            while stage.time() < until:
                await stage.request(self.network.trip(dice), self.network.trip(dice))

        async with asyncio.TaskGroup() as group:
            for number in range(self.clients):
                group.create_task(client(stage.dice(number)))


class Arrivals:
    """Requests that come when they come, whether others were answered or not."""

    closed: ClassVar[bool] = False

    def gaps(self, dice: random.Random) -> Iterator[float]:
        """Give the seconds from each arrival to the next, for ever."""
        raise NotImplementedError

    async def drive(self, stage: Stage, until: float) -> None:
        """Send each request at its time."""
        when = stage.time()
        async with asyncio.TaskGroup() as group:
            for gap in self.gaps(stage.dice(type(self).__name__)):
                when += gap
                if when >= until:
                    return
                if when > stage.time():
                    await asyncio.sleep(when - stage.time())
                group.create_task(stage.request(0.0, 0.0))


@dataclass(frozen=True)
class Poisson(Arrivals):
    """Arrivals that know nothing of each other, at rates that take turns.

    ``phases`` are pairs of seconds and arrivals in a second; 0 of them is silence.
    """

    phases: Sequence[tuple[float, float]]

    @classmethod
    def steady(cls, rate: float) -> "Poisson":
        """Arrive at one rate."""
        return cls(((1.0, rate),))

    @property
    def rate(self) -> float:
        """Requests in a second, on average."""
        return sum(span * rate for span, rate in self.phases) / sum(span for span, _ in self.phases)

    def gaps(self, dice: random.Random) -> Iterator[float]:
        """Use up draws from the unit exponential, phase after phase."""
        needed, waited = dice.expovariate(1.0), 0.0
        for span, rate in itertools.cycle(self.phases):
            left = span
            while rate * left >= needed:
                yield waited + needed / rate
                left -= needed / rate
                needed, waited = dice.expovariate(1.0), 0.0
            needed -= rate * left
            waited += left


@dataclass(frozen=True)
class Bursts(Arrivals):
    """So many requests within ``spread`` seconds, every so many seconds."""

    size: int
    every: float
    spread: float

    @property
    def rate(self) -> float:
        """Requests in a second, on average."""
        return self.size / self.every

    def gaps(self, dice: random.Random) -> Iterator[float]:
        """Give burst after burst; the first begins at once."""
        before = 0.0
        for number in itertools.count():
            start = number * self.every
            for when in sorted(start + dice.uniform(0, self.spread) for _ in range(self.size)):
                yield when - before
                before = when
