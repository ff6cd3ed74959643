"""A number is declared in one line: it is summed, shown and exported without another one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest

from microbatch import BatchEnded, Batcher, BatcherStatistics, Distribution
from microbatch._core import Histogram
from microbatch._dispatch import registry, snapshots
from microbatch._dispatch.observing import Observing
from microbatch.adapters import counting
from microbatch.adapters.opentelemetry import BatcherTelemetry
from microbatch.adapters.prometheus import BatcherCollector
from microbatch.statistics import counter, counter_by_reason, distribution, gauge, metrics
from microbatch.testing import RecordingHandler

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class More(BatcherStatistics):
    poisoned: int = counter("items", "Items that failed alone.")
    watched: int = gauge("batches", "Batches that are watched.")
    skipped: Mapping[str, int] = counter_by_reason("batches", "Batches skipped.")
    failures: Distribution = distribution(
        "items", "Failed items of a batch.", path="batch.failures", event="failed"
    )
    pauses: Distribution = distribution("seconds", "Between two calls.")


def histogram(*values: float) -> Histogram:
    counted = Histogram()
    for value in values:
        counted.add(value)
    return counted


@pytest.fixture(autouse=True)
def _more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Declare more numbers, and have those who observe batches count them."""
    for module in (counting, registry, snapshots):
        monkeypatch.setattr(module, "BatcherStatistics", More)
    counted = {
        "poisoned": 3,
        "watched": 2,
        "skipped": Counter(size=4),
        "failures": histogram(1, 2),
        "pauses": histogram(0.5),
    }
    for name, number in counted.items():
        monkeypatch.setattr(Observing, name, number, raising=False)


def picky(items: list[str]) -> list[Any]:
    return [ValueError(item) if item == "bad" else item for item in items]


async def used(observer: Any = None) -> Batcher[str, Any]:
    batcher = Batcher(RecordingHandler(picky), name="embed", observer=observer)
    await batcher.submit_many(["good", "bad", "good", "bad"], return_exceptions=True)
    return batcher


async def test_it_is_in_the_snapshot_and_in_the_sum_of_two() -> None:
    now: Any = (await used()).statistics()
    assert (now.poisoned, now.watched, now.skipped) == (3, 2, {"size": 4})
    assert (now.failures.sum, now.pauses.sum) == (3.0, 0.5)
    both = now + now
    assert (both.poisoned, both.watched, both.skipped) == (6, 4, {"size": 8})
    assert (both.failures.count, both.submitted) == (4, 8)


def test_a_gauge_is_forgotten_with_its_loop_and_a_counter_is_not(loop_kind: Any) -> None:
    batcher: Batcher[str, Any] = Batcher(RecordingHandler(picky))

    async def main() -> Any:
        await batcher.submit("good")
        return batcher.statistics()

    loop_kind.run(main)
    now = loop_kind.run(main)
    assert (now.poisoned, now.watched, now.skipped) == (6, 2, {"size": 8})
    assert (now.failures.count, now.pauses.count) == (4, 2)


async def test_it_is_shown() -> None:
    shown = repr((await used()).statistics())
    assert ", poisoned 3, watched 2, batches 1 (natural 1), skipped 4 (size 4), mean" in shown
    assert shown.endswith(", failures p50 1, p99 2, pauses p50 500 ms, p99 500 ms>")


async def test_prometheus_has_it() -> None:
    prometheus = CollectorRegistry()
    BatcherCollector(await used(), registry=prometheus)
    lines = generate_latest(prometheus).decode().splitlines()
    for line in (
        "# HELP microbatch_items_poisoned_total Items that failed alone.",
        "# TYPE microbatch_items_poisoned_total counter",
        'microbatch_items_poisoned_total{batcher="embed"} 3.0',
        "# TYPE microbatch_batches_watched gauge",
        'microbatch_batches_watched{batcher="embed"} 2.0',
        'microbatch_batches_skipped_total{batcher="embed",reason="size"} 4.0',
        "# HELP microbatch_batch_failures_items Failed items of a batch.",
        "# TYPE microbatch_batch_failures_items histogram",
        'microbatch_batch_failures_items_bucket{batcher="embed",le="1.0"} 1.0',
        'microbatch_batch_failures_items_sum{batcher="embed"} 3.0',
        'microbatch_pauses_seconds_count{batcher="embed"} 1.0',
    ):
        assert line in lines


async def test_opentelemetry_has_it() -> None:
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    telemetry = BatcherTelemetry(meter_provider=meters)
    telemetry.add(await used(telemetry))
    exported = reader.get_metrics_data()
    meters.shutdown()
    assert exported is not None
    (scope,) = exported.resource_metrics[0].scope_metrics
    found: dict[str, Any] = {metric.name: metric for metric in scope.metrics}
    poisoned = found["microbatch.items.poisoned"]
    assert (poisoned.unit, poisoned.description) == ("{item}", "Items that failed alone.")
    assert poisoned.data.is_monotonic
    assert not found["microbatch.batches.watched"].data.is_monotonic
    (skipped,) = found["microbatch.batches.skipped"].data.data_points
    assert dict(skipped.attributes) == {
        "microbatch.batcher.name": "embed",
        "microbatch.batch.reason": "size",
    }
    assert (poisoned.data.data_points[0].value, skipped.value) == (3, 4)
    (failures,) = found["microbatch.batch.failures"].data.data_points
    assert (failures.count, failures.sum) == (1, 2)  # of the batch that it was told of


def test_what_events_tell_of_a_batch_is_theirs() -> None:
    told = {metric.event for metric in metrics() if metric.event is not None}
    assert told == {"size", "occupancy", "seconds", "reason", "outcome"}
    assert told <= set(dir(BatchEnded))
