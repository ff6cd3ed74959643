"""OpenTelemetry's own SDK exports a span for each batch, and metrics: what they say."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from microbatch import Batcher, BatchError
from microbatch.adapters.opentelemetry import BatcherTelemetry
from microbatch.testing import RecordingHandler, run

if TYPE_CHECKING:
    from collections.abc import Iterator


class Exported:
    """An SDK that keeps what it exports in memory, and the telemetry that uses it."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._metrics = InMemoryMetricReader()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meters = MeterProvider([self._metrics], shutdown_on_exit=False)
        self.telemetry = BatcherTelemetry(tracer_provider=self.tracers, meter_provider=self.meters)
        self.tracer = self.tracers.get_tracer("test")

    def close(self) -> None:
        self.tracers.shutdown()
        self.meters.shutdown()

    def batches(self) -> list[ReadableSpan]:
        return [span for span in self.spans() if span.name.startswith("batch ")]

    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    def points(self, name: str) -> list[Any]:
        data = self._metrics.get_metrics_data()
        assert data is not None
        found = [
            metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == f"microbatch.{name}"
        ]
        return [point for metric in found for point in metric.data.data_points]


@pytest.fixture
def sdk() -> Iterator[Exported]:
    exported = Exported()
    yield exported
    exported.close()


async def submit(batcher: Batcher[Any, Any], sdk: Exported, name: str, item: Any) -> Any:
    """Submit an item within a span of that name."""
    with sdk.tracer.start_as_current_span(name):
        return await batcher.submit(item)


def linked(span: ReadableSpan, sdk: Exported) -> list[str]:
    """Name the spans that a span is linked to."""
    names = {each.context.span_id: each.name for each in sdk.spans()}
    return [names[link.context.span_id] for link in span.links]


# -------------------------------------------------------------------------------------------- spans
@pytest.mark.every_loop
async def test_a_span_of_each_batch_is_linked_to_the_spans_of_its_items(sdk: Exported) -> None:
    batcher = Batcher(RecordingHandler(), max_batch_size=2, name="embed", observer=sdk.telemetry)
    await asyncio.gather(*(submit(batcher, sdk, f"request {number}", 1) for number in range(3)))
    first, second = sdk.batches()
    assert [first.name, second.name] == ["batch embed"] * 2
    assert linked(first, sdk) == ["request 0", "request 1"]
    assert linked(second, sdk) == ["request 2"]
    assert first.parent is None
    assert first.context.trace_id != second.context.trace_id


async def test_a_batch_begins_a_trace_wherever_its_batcher_was_made(sdk: Exported) -> None:
    with sdk.tracer.start_as_current_span("start-up"):
        batcher = Batcher(RecordingHandler(), observer=sdk.telemetry)
    await submit(batcher, sdk, "request", 1)
    (span,) = sdk.batches()
    assert span.parent is None


async def test_a_span_tells_the_facts_of_its_batch(sdk: Exported) -> None:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=3.0)
    batcher = Batcher(
        handler, max_batch_size=4, max_latency=2.0, name="embed", observer=sdk.telemetry
    )
    await asyncio.gather(batcher.submit(1), batcher.submit(2))
    (span,) = sdk.batches()
    assert dict(span.attributes or {}) == {
        "microbatch.batcher.name": "embed",
        "microbatch.batch.size": 2,
        "microbatch.batch.occupancy": 0.5,
        "microbatch.batch.reason": "latency",
        "microbatch.batch.outcome": "returned",
        "microbatch.batch.failed_items": 0,
        "microbatch.batch.longest_wait": 2.0,
    }
    assert span.status.status_code is StatusCode.UNSET
    assert span.start_time <= span.end_time


async def test_several_items_of_one_span_make_one_link(sdk: Exported) -> None:
    batcher = Batcher(RecordingHandler(), observer=sdk.telemetry)
    with sdk.tracer.start_as_current_span("request"):
        await asyncio.gather(batcher.submit(1), batcher.submit(2), batcher.submit_many([3, 4]))
    (span,) = sdk.batches()
    assert linked(span, sdk) == ["request"]


async def test_items_without_a_span_make_no_link(sdk: Exported) -> None:
    batcher = Batcher(RecordingHandler(), max_batch_size=2, max_latency=1.0, observer=sdk.telemetry)
    await asyncio.gather(batcher.submit(1), submit(batcher, sdk, "request", 2))
    (span,) = sdk.batches()
    assert span.attributes is not None
    assert span.attributes["microbatch.batch.size"] == 2
    assert linked(span, sdk) == ["request"]


async def test_what_the_handler_does_is_within_the_span_of_its_batch(sdk: Exported) -> None:
    async def handler(items: list[int]) -> list[int]:
        with sdk.tracer.start_as_current_span("query"):
            await asyncio.sleep(1.0)
        return items

    batcher = Batcher(
        handler, max_batch_size=1, max_concurrent_batches=2, name="embed", observer=sdk.telemetry
    )
    await asyncio.gather(submit(batcher, sdk, "a", 1), submit(batcher, sdk, "b", 2))
    queries = [span for span in sdk.spans() if span.name == "query"]
    parents = [span.parent.span_id for span in queries if span.parent is not None]
    assert parents == [span.context.span_id for span in sdk.batches()]
    assert trace.get_current_span() is trace.INVALID_SPAN


async def test_a_batch_that_raised_is_an_error_without_any_payload(sdk: Exported) -> None:
    def raising(items: list[str]) -> list[str]:
        raise BatchError(f"secret: {items}")

    batcher = Batcher(RecordingHandler(raising), observer=sdk.telemetry)
    await asyncio.gather(batcher.submit("secret"), return_exceptions=True)
    (span,) = sdk.batches()
    assert span.attributes is not None
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "microbatch.errors.BatchError"
    assert span.attributes["error.type"] == "microbatch.errors.BatchError"
    assert span.attributes["microbatch.batch.outcome"] == "raised"
    assert span.attributes["microbatch.batch.failed_items"] == 1
    assert "secret" not in span.to_json()


async def test_a_built_in_exception_goes_by_its_bare_name(sdk: Exported) -> None:
    batcher = Batcher(RecordingHandler(lambda items: [1 // 0]), observer=sdk.telemetry)
    await asyncio.gather(batcher.submit(1), return_exceptions=True)
    (span,) = sdk.batches()
    assert span.status.description == "ZeroDivisionError"


async def test_a_batch_that_was_given_up_is_no_error(sdk: Exported) -> None:
    batcher = Batcher(RecordingHandler(delay=60.0), observer=sdk.telemetry)
    ticket = batcher.submit(1)
    await asyncio.sleep(1.0)
    ticket.cancel()
    await batcher.drain()
    (span,) = sdk.batches()
    assert span.attributes is not None
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes["microbatch.batch.outcome"] == "cancelled"


# ------------------------------------------------------------------------------------------ metrics
async def put_through(sdk: Exported, name: str) -> Batcher[int, int]:
    handler: RecordingHandler[int, int] = RecordingHandler(delay=0.25)
    batcher = Batcher(handler, max_batch_size=4, max_latency=1.0, observer=sdk.telemetry, name=name)
    await asyncio.gather(*(batcher.submit(item) for item in range(6)))
    return batcher


def test_each_batch_is_measured(sdk: Exported) -> None:
    run(put_through, sdk, "embed")
    known = {"microbatch.batcher.name": "embed", "microbatch.batch.outcome": "returned"}
    full, rest = ({**known, "microbatch.batch.reason": reason} for reason in ("size", "latency"))
    for name, sums in {
        "batch.size": (4, 2),
        "batch.occupancy": (1.0, 0.5),
        "batch.longest_wait": (0.0, 1.25),
        "handler.duration": (0.25, 0.25),
    }.items():
        points = {point.attributes["microbatch.batch.reason"]: point for point in sdk.points(name)}
        assert [dict(points[reason].attributes) for reason in ("size", "latency")] == [full, rest]
        assert (points["size"].sum, points["latency"].sum) == sums
        assert (points["size"].count, points["latency"].count) == (1, 1)


def test_the_buckets_fit_what_is_measured(sdk: Exported) -> None:
    run(put_through, sdk, "embed")
    bounds = {
        name: sdk.points(name)[0].explicit_bounds
        for name in ("batch.size", "batch.occupancy", "handler.duration")
    }
    assert bounds["batch.size"][:3] == (1, 2, 4)
    assert bounds["batch.occupancy"][-1] == 1.0
    assert bounds["handler.duration"][-1] == 64.0


def test_counters_and_gauges_of_batchers_come_from_their_statistics(sdk: Exported) -> None:
    async def main() -> dict[str, list[Any]]:
        batcher = Batcher(RecordingHandler(delay=9.0), name="embed", max_batch_size=2, capacity=3)
        sdk.telemetry.add(batcher)
        tickets = [batcher.submit(item) for item in range(4)]
        await asyncio.sleep(1.0)
        names = ("submitted", "completed", "waiting", "queued", "in_flight")
        seen = {name: sdk.points(f"items.{name}") for name in names}
        seen["busy"] = sdk.points("slots.busy")
        await asyncio.gather(*tickets)
        return seen

    seen = run(main)
    assert {name: [point.value for point in points] for name, points in seen.items()} == {
        "submitted": [4], "completed": [0], "waiting": [1], "queued": [1], "in_flight": [2],
        "busy": [1],
    }  # fmt: skip
    assert [dict(point.attributes) for point in seen["busy"]] == [
        {"microbatch.batcher.name": "embed"}
    ]


def test_what_was_learned_of_the_latency_is_reported(sdk: Exported) -> None:
    async def main() -> dict[str, list[Any]]:
        async with Batcher(RecordingHandler(), name="embed", max_latency="auto") as batcher:
            sdk.telemetry.add(batcher)
            await batcher.submit(1)
            seen = {
                name: sdk.points(f"latency.{name}")
                for name in ("learned", "expected", "joined", "saved")
            }
        return {name: [point.value for point in points] for name, points in seen.items()}

    assert run(main) == {"learned": [0.0], "expected": [0.0], "joined": [0], "saved": [0.0]}


def test_batchers_of_one_name_are_added_up_until_they_are_removed(sdk: Exported) -> None:
    batchers = [run(put_through, sdk, name) for name in ("embed", "embed", "other")]
    for batcher in batchers:
        sdk.telemetry.add(batcher)
    assert [point.value for point in sdk.points("items.completed")] == [12, 6]
    sdk.telemetry.remove(batchers[2])
    assert [point.value for point in sdk.points("items.completed")] == [12]


def test_without_providers_it_uses_the_global_ones_and_costs_no_batch() -> None:
    async def main() -> int:
        batcher: Batcher[int, int] = Batcher(RecordingHandler(), observer=BatcherTelemetry())
        return await batcher.submit(1)

    assert run(main) == 1
