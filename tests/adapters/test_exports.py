"""What the metrics are called, mean and hold, in full: dashboards and alarms go by them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Histogram, InMemoryMetricReader, Metric, Sum
from prometheus_client import CollectorRegistry, generate_latest

from microbatch import Batcher, BatcherStatistics, CapacityError
from microbatch.adapters.opentelemetry import BatcherTelemetry
from microbatch.adapters.prometheus import BatcherCollector
from microbatch.testing import RecordingHandler, run

if TYPE_CHECKING:
    from collections.abc import Sequence

EXPOSITION = Path(__file__).with_name("exposition.txt")
INSTRUMENTS = Path(__file__).with_name("instruments.txt")


def picky(items: list[Any]) -> list[Any]:
    if "bad" in items:
        raise ValueError("bad")
    return items


def of_all_kinds(observer: Any = None) -> Batcher[Any, Any]:
    """Make a batcher to which much can happen."""
    return Batcher(
        RecordingHandler(picky, delay=0.25),
        name="embed",
        max_batch_size=4,
        max_latency=1.0,
        capacity=6,
        on_error="bisect",
        dedupe=lambda item: item,
        observer=observer,
    )


async def busy(batcher: Batcher[Any, Any]) -> list[asyncio.Future[Any]]:
    """Let all kinds of things happen to items, and leave some of them in the middle of it."""
    tickets = [batcher.submit(item) for item in (1, 2, 3, "bad", "equal", "equal")]
    await asyncio.gather(*tickets, return_exceptions=True)
    batcher.submit("given up").cancel()
    late = batcher.submit("late", timeout=0.125)
    await asyncio.gather(late, return_exceptions=True)
    cancelled = [batcher.submit(number) for number in range(4)]
    await asyncio.sleep(0.125)
    for ticket in cancelled:
        ticket.cancel()
    await asyncio.sleep(0.125)
    under_way = [batcher.submit(number) for number in (*range(6), 5, 6)]
    with pytest.raises(CapacityError):
        batcher.submit_nowait(7)
    await asyncio.sleep(0.125)
    return under_way


async def narrow() -> Batcher[int, int]:
    """Make a batcher that has dropped two of its items."""
    batcher: Batcher[int, int] = Batcher(
        RecordingHandler(delay=0.5), name="narrow", capacity=2, overflow="drop_oldest"
    )
    first = batcher.submit(0)
    await asyncio.sleep(0.25)
    rest = [batcher.submit(item) for item in range(3)]
    await asyncio.gather(first, *rest, return_exceptions=True)
    return batcher


# --------------------------------------------------------------------------------------- prometheus
def families(text: str) -> list[list[str]]:
    """Part an exposition into its families; in which order they come is nobody's business."""
    found: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("# HELP"):
            found.append([])
        found[-1].append(line)
    return sorted(found)


def exposition(batchers: Sequence[Batcher[Any, Any]]) -> str:
    registry = CollectorRegistry()
    BatcherCollector(*batchers, registry=registry)
    return generate_latest(registry).decode()


def test_prometheus_reads_the_same_as_ever() -> None:
    async def main() -> str:
        batcher = of_all_kinds()
        tickets = await busy(batcher)
        text = exposition([batcher, await narrow()])
        await asyncio.gather(*tickets)
        return text

    assert families(run(main)) == families(EXPOSITION.read_text())


# ------------------------------------------------------------------------------------ opentelemetry
def described(metric: Metric) -> str:
    """Say on a line what an instrument is."""
    data: Any = metric.data
    kind: Any = type(data).__name__
    if isinstance(data, Sum):
        kind = "counter" if data.is_monotonic else "up-down counter"
    if isinstance(data, Histogram):
        kind = f"histogram {list(data.data_points[0].explicit_bounds)}"
    return f"{metric.name} | {metric.unit} | {metric.description} | {kind}"


def values(metric: Metric) -> list[str]:
    """Say on a line each what an instrument has measured."""
    points: Any = metric.data.data_points
    return sorted(
        f"    {sorted(point.attributes.items())}: "
        + (f"{point.value}" if isinstance(metric.data, Sum) else f"{point.count} {point.sum}")
        for point in points
    )


def instruments(reader: InMemoryMetricReader) -> list[str]:
    """Describe every instrument that has measured something, by name."""
    exported = reader.get_metrics_data()
    assert exported is not None
    (resource,) = exported.resource_metrics
    (scope,) = resource.scope_metrics
    by_name = sorted(scope.metrics, key=lambda metric: metric.name)
    return [line for metric in by_name for line in (described(metric), *values(metric))]


def test_opentelemetry_reads_the_same_as_ever() -> None:
    async def main() -> list[str]:
        reader = InMemoryMetricReader()
        meters = MeterProvider([reader], shutdown_on_exit=False)
        telemetry = BatcherTelemetry(meter_provider=meters)
        batcher = of_all_kinds(telemetry)
        telemetry.add(batcher)
        telemetry.add(await narrow())
        tickets = await busy(batcher)
        lines = instruments(reader)
        await asyncio.gather(*tickets)
        meters.shutdown()
        return lines

    assert run(main) == INSTRUMENTS.read_text().splitlines()


# ---------------------------------------------------------------------------------- to be looked at
def test_a_snapshot_reads_the_same_as_ever() -> None:
    async def main() -> BatcherStatistics:
        batcher = of_all_kinds()
        tickets = await busy(batcher)
        now = batcher.statistics()
        await asyncio.gather(*tickets)
        return now

    now = run(main)
    assert repr(now) == str(now)
    assert repr(now) == (
        "<BatcherStatistics: submitted 20, completed 5, failed 1, cancelled 5, late 1, "
        "rejected 1, deduplicated 2, waiting 1, queued 2, joined 1, in flight 4, slots busy 1, "
        "retried 4, failed batches 1, cancelled batches 1, batches 4 (size 3, latency 1), "
        "mean batch size 3.25, queue wait p50 0 s, p99 2 s, handler time p50 250 ms, p99 1 s>"
    )
    assert now._repr_html_() == (
        "<table><caption>BatcherStatistics</caption>"
        "<tr><th>submitted</th><td>20</td></tr>"
        "<tr><th>completed</th><td>5</td></tr>"
        "<tr><th>failed</th><td>1</td></tr>"
        "<tr><th>cancelled</th><td>5</td></tr>"
        "<tr><th>late</th><td>1</td></tr>"
        "<tr><th>rejected</th><td>1</td></tr>"
        "<tr><th>deduplicated</th><td>2</td></tr>"
        "<tr><th>waiting</th><td>1</td></tr>"
        "<tr><th>queued</th><td>2</td></tr>"
        "<tr><th>joined</th><td>1</td></tr>"
        "<tr><th>in flight</th><td>4</td></tr>"
        "<tr><th>slots busy</th><td>1</td></tr>"
        "<tr><th>retried</th><td>4</td></tr>"
        "<tr><th>failed batches</th><td>1</td></tr>"
        "<tr><th>cancelled batches</th><td>1</td></tr>"
        "<tr><th>batches</th><td>4 (size 3, latency 1)</td></tr>"
        "<tr><th>mean batch size</th><td>3.25</td></tr>"
        "<tr><th>queue wait</th><td>p50 0 s, p99 2 s</td></tr>"
        "<tr><th>handler time</th><td>p50 250 ms, p99 1 s</td></tr></table>"
    )
