"""A classifier served twice: one call at a time, and micro-batched. It needs the extra ``demo``."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# (scikit-learn has no types)

import asyncio
import os
import platform
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import Any, TypeAlias

import anyio.to_thread
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from microbatch import Batcher

__all__ = ["Comparison", "Demo", "Measurement", "Settings", "versions"]

Image: TypeAlias = Any
"""The 64 grey values of one picture of a digit."""
Ask: TypeAlias = Callable[[Image], Awaitable[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Say how much traffic there is, and how it is batched; raises ValueError for no traffic."""

    callers: int = 256
    rounds: int = 40
    max_batch_size: int = 64
    max_latency: float = 0.0

    def __post_init__(self) -> None:
        for name in ("callers", "rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)!r}")

    @property
    def requests(self) -> int:
        """How many requests there are, all callers together."""
        return self.callers * self.rounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Say what one way of serving took; times in seconds."""

    seconds: float
    latencies: Sequence[float]
    """Each request's time from asking to answer, the shortest first."""
    batch_sizes: Sequence[int]
    """How many images each call to the model had."""
    answers: Sequence[int]
    """The digit that each request was answered with, in the same order in every measurement."""
    reasons: Mapping[str, int]
    """Batches by the reason they were dispatched for."""

    @property
    def throughput(self) -> float:
        """Requests per second."""
        return len(self.answers) / self.seconds

    @property
    def calls(self) -> int:
        """Calls to the model."""
        return len(self.batch_sizes)

    @property
    def mean_batch_size(self) -> float:
        """Images per call to the model."""
        return sum(self.batch_sizes) / self.calls

    def latency(self, percent: float) -> float:
        """Give the latency that this share of the requests did not exceed."""
        return float(np.percentile(self.latencies, percent, method="inverted_cdf"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Put both measurements side by side, with the answers of the model asked directly."""

    single: Measurement
    batched: Measurement
    direct: Sequence[int]
    accuracy: float
    """Share of the requests that were answered with the right digit."""

    @property
    def different(self) -> int:
        """How many requests were not answered alike in all three ways."""
        rows = zip(self.single.answers, self.batched.answers, self.direct, strict=True)
        return sum(len(set(answers)) != 1 for answers in rows)


@dataclass(frozen=True, slots=True)
class Digits:
    """Hold a trained model, and pictures that it has not seen."""

    model: Any
    images: Any
    labels: Any

    @classmethod
    def trained(cls) -> "Digits":
        """Train on one half of the digits that scikit-learn ships; keep the other half."""
        images, labels = load_digits(return_X_y=True)
        split = train_test_split(images, labels, test_size=0.5, stratify=labels, random_state=0)
        model = make_pipeline(StandardScaler(), MLPClassifier((64,), max_iter=400, random_state=0))
        fit(model, split[0], split[2])
        return cls(model, split[1], split[3])


def fit(model: Any, images: Any, labels: Any) -> None:
    """Train a model to the end, or raise KeyboardInterrupt, of which scikit-learn only warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Training interrupted by user", UserWarning)
        try:
            model.fit(images, labels)
        except UserWarning as warning:
            if isinstance(warning.__context__, KeyboardInterrupt):
                raise warning.__context__ from None
            raise


@dataclass
class Demo:
    """Train a model, serve it both ways, and compare; wrong settings raise ValueError here.

    While it runs, ``stage``, ``answered`` and ``total`` say how far it is, and ``on_progress`` is
    called with them when a stage begins and after every round of requests.
    """

    settings: Settings
    on_progress: Callable[[str, int, int], object]
    stage: str = ""
    answered: int = 0
    total: int = 0
    _sizes: list[int] = field(default_factory=list[int], repr=False)

    def __post_init__(self) -> None:
        self._batcher: Batcher[Image, int] = Batcher(
            self._predict,
            max_batch_size=self.settings.max_batch_size,
            max_latency=self.settings.max_latency,
        )

    def run(self) -> Comparison:
        """Do it all, once."""
        self._enter("training", 0)
        self._digits = Digits.trained()
        single = asyncio.run(self._serve_single())
        batched = asyncio.run(self._serve_batched())
        direct = self._digits.model.predict(self._digits.images)
        right = self._cycle(self._digits.labels) == np.asarray(batched.answers)
        return Comparison(
            single=single,
            batched=batched,
            direct=self._cycle(direct).tolist(),
            accuracy=float(right.mean()),
        )

    def _cycle(self, values: Any) -> Any:
        """Give the values of the pictures in the order of the requests."""
        return np.resize(values, self.settings.requests)

    def _predict(self, images: Sequence[Image]) -> Sequence[int]:
        """Ask the model; both ways of serving come through here."""
        self._sizes.append(len(images))
        answers: list[int] = self._digits.model.predict(np.stack(images)).tolist()
        return answers

    # ----------------------------------------------------------------------------------- serving
    async def _serve_single(self) -> Measurement:
        """Call the model once for each request, in threads of anyio's pool."""

        async def ask(image: Image) -> int:
            (digit,) = await anyio.to_thread.run_sync(self._predict, [image])
            return digit

        return await self._measure("one call at a time", ask)

    async def _serve_batched(self) -> Measurement:
        """Put a batcher in front of the model; its calls run in the same pool."""
        async with self._batcher:
            return await self._measure("micro-batched", self._batcher.submit)

    async def _measure(self, stage: str, ask: Ask) -> Measurement:
        """Let every caller ask once to warm up, and then measure all rounds."""
        await self._traffic(ask, rounds=1)
        self._sizes.clear()
        before = Counter(self._batcher.statistics().batches)
        self._enter(stage, self.settings.requests)
        started = perf_counter()
        answers, latencies = await self._traffic(ask, rounds=self.settings.rounds)
        return Measurement(
            seconds=perf_counter() - started,
            latencies=sorted(latencies),
            batch_sizes=tuple(self._sizes),
            answers=answers,
            reasons=Counter(self._batcher.statistics().batches) - before,
        )

    async def _traffic(self, ask: Ask, rounds: int) -> tuple[list[int], list[float]]:
        """Let all callers ask at once, each as soon as it has the answer to its question before."""
        callers, images = self.settings.callers, self._digits.images
        answers, latencies = [0] * (rounds * callers), [0.0] * (rounds * callers)

        async def call(first: int) -> None:
            for request in range(first, len(answers), callers):
                asked = perf_counter()
                answers[request] = await ask(images[request % len(images)])
                latencies[request] = perf_counter() - asked
                self._count()

        async with asyncio.TaskGroup() as group:
            for number in range(callers):
                group.create_task(call(number))
        return answers, latencies

    # ---------------------------------------------------------------------------------- progress
    def _enter(self, stage: str, total: int) -> None:
        self.stage, self.answered, self.total = stage, 0, total
        self.on_progress(stage, 0, total)

    def _count(self) -> None:
        self.answered += 1
        if self.answered % self.settings.callers == 0 and self.total:
            self.on_progress(self.stage, self.answered, self.total)


def versions() -> str:
    """Name what the measurement depends on: machine, Python and packages."""
    packages = ", ".join(f"{name} {version_of(name)}" for name in ("microbatch", "scikit-learn"))
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    return f"{machine}, Python {platform.python_version()}, {packages}"


def version_of(package: str) -> str:
    """Give an installed package's version."""
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout on the path
        return "(not installed)"
