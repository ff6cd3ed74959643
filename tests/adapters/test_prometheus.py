"""Prometheus scrapes batchers over HTTP: names, labels and values, as its own parser reads them."""

from __future__ import annotations

import asyncio
import gc
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from microbatch import Batcher
from microbatch.adapters.prometheus import BatcherCollector
from microbatch.testing import RecordingHandler, run

if TYPE_CHECKING:
    from collections.abc import Iterator

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def url(registry: CollectorRegistry) -> Iterator[str]:
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    server.server_close()
    thread.join()


def scrape(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def samples(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


class Scraped:
    """Look values up by name and labels."""

    def __init__(self, url: str) -> None:
        self.text = scrape(url)
        self.samples = samples(self.text)

    def __call__(self, name: str, batcher: str = "embed", **labels: str) -> float:
        return self.samples[f"microbatch_{name}", frozenset({"batcher": batcher, **labels}.items())]


async def use(batcher: Batcher[Any, Any], *items: Any) -> None:
    await asyncio.gather(*map(batcher.submit, items), return_exceptions=True)


def failing(items: list[Any]) -> list[Any]:
    if "bad" in items:
        raise KeyError
    return items


# ------------------------------------------------------------------------------------ what it shows
def test_a_scrape_tells_what_statistics_tell(registry: CollectorRegistry, url: str) -> None:
    handler: RecordingHandler[Any, Any] = RecordingHandler(failing, delay=0.25)
    batcher = Batcher(handler, name="embed", max_batch_size=4, max_latency=1.0)
    BatcherCollector(batcher, registry=registry)
    run(use, batcher, 1, 2, 3, 4, "bad", 5)
    value = Scraped(url)
    assert value("items_submitted_total") == 6
    assert value("items_completed_total") == 4
    assert value("items_failed_total") == 2
    for name in ("cancelled", "late", "dropped", "rejected"):
        assert value(f"items_{name}_total") == 0
    for name in ("items_waiting", "items_queued", "items_in_flight", "slots_busy"):
        assert value(name) == 0
    assert value("batches_total", reason="size") == 1
    assert value("batches_total", reason="latency") == 1
    assert value("batches_failed_total") == 1
    assert value("batches_cancelled_total") == 0


def test_histograms_have_exact_cumulative_buckets(registry: CollectorRegistry, url: str) -> None:
    batcher = Batcher(RecordingHandler(delay=0.25), name="embed", max_batch_size=4, max_latency=1.0)
    BatcherCollector(batcher, registry=registry)
    run(use, batcher, *range(6))
    value = Scraped(url)
    assert [value("batch_size_items_bucket", le=le) for le in ("1.0", "2.0", "4.0", "+Inf")] == [
        0, 1, 2, 2,
    ]  # fmt: skip
    assert (value("batch_size_items_count"), value("batch_size_items_sum")) == (2, 6)
    assert [value("batch_occupancy_ratio_bucket", le=le) for le in ("0.375", "0.5", "1.0")] == [
        0, 1, 2,
    ]  # fmt: skip
    assert [value("queue_wait_seconds_bucket", le=le) for le in ("6.103515625e-05", "2.0")] == [
        4, 6,
    ]  # fmt: skip
    assert value("queue_wait_seconds_sum") == 2.5  # a second each after the slot was free
    assert [value("handler_seconds_bucket", le=le) for le in ("0.125", "0.25")] == [0, 2]
    assert (value("handler_seconds_count"), value("handler_seconds_sum")) == (2, 0.5)


def test_the_metrics_are_typed_and_described(registry: CollectorRegistry, url: str) -> None:
    BatcherCollector(registry=registry)
    families = {family.name: family for family in text_string_to_metric_families(scrape(url))}
    kinds = {name.removeprefix("microbatch_"): family.type for name, family in families.items()}
    counters = {
        "items_submitted", "items_completed", "items_failed", "items_cancelled", "items_late",
        "items_dropped", "items_rejected", "items_deduplicated", "items_retried",
        "batches", "batches_failed", "batches_cancelled", "latency_joined",
        "latency_saved_seconds",
    }  # fmt: skip
    gauges = {
        "items_waiting", "items_queued", "items_joined", "items_in_flight", "slots_busy",
        "latency_learned_seconds", "latency_expected",
    }  # fmt: skip
    histograms = {
        "batch_size_items", "batch_occupancy_ratio", "queue_wait_seconds", "handler_seconds",
    }  # fmt: skip
    assert kinds == {
        **dict.fromkeys(counters, "counter"),
        **dict.fromkeys(gauges, "gauge"),
        **dict.fromkeys(histograms, "histogram"),
    }
    assert all(family.documentation for family in families.values())


def test_a_scrape_in_the_middle_sees_what_is_queued_and_in_flight(
    registry: CollectorRegistry, url: str
) -> None:
    async def main() -> Scraped:
        batcher = Batcher(RecordingHandler(delay=9.0), name="embed", max_batch_size=2, capacity=3)
        BatcherCollector(batcher, registry=registry)
        tickets = [batcher.submit(item) for item in range(4)]
        await asyncio.sleep(1.0)
        seen = Scraped(url)
        await asyncio.gather(*tickets)
        return seen

    value = run(main)
    assert value("slots_busy") == 1
    assert [value(f"items_{name}") for name in ("in_flight", "queued", "waiting")] == [2, 1, 1]


# ----------------------------------------------------------------------------------------- batchers
def test_batchers_of_one_name_are_added_up(registry: CollectorRegistry, url: str) -> None:
    batchers = [Batcher(RecordingHandler(), name=name) for name in ("embed", "embed", "other")]
    collector = BatcherCollector(batchers[0], registry=registry)
    for batcher in batchers[1:]:
        collector.add(batcher)
    for number, batcher in enumerate(batchers, 1):
        run(use, batcher, *range(number))
    value = Scraped(url)
    assert value("items_completed_total") == 3
    assert value("items_completed_total", "other") == 3
    assert value("queue_wait_seconds_count") == 3


def test_a_removed_batcher_is_gone(registry: CollectorRegistry, url: str) -> None:
    batcher = Batcher(RecordingHandler(), name="embed")
    collector = BatcherCollector(batcher, registry=registry)
    run(use, batcher, 1)
    assert "embed" in scrape(url)
    collector.remove(batcher)
    assert "embed" not in scrape(url)
    with pytest.raises(ValueError):  # noqa: PT011
        collector.remove(batcher)


def test_a_registry_takes_one_collector(registry: CollectorRegistry) -> None:
    collector = BatcherCollector(Batcher(RecordingHandler(), name="first"), registry=registry)
    before = generate_latest(registry)
    second = Batcher[int, int](RecordingHandler(), name="second")
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        BatcherCollector(second, registry=registry)
    assert str(caught.value) == (
        "registry must have no other BatcherCollector, as one shows any number of batchers: "
        f"add them to that one, as in collector.add(batcher), got {registry!r}"
    )
    assert "Duplicated timeseries" in str(caught.value.__cause__)
    assert generate_latest(registry) == before
    collector.add(second)
    assert b'batcher="second"' in generate_latest(registry)
    registry.unregister(collector)
    BatcherCollector(registry=registry)


def test_without_a_registry_it_is_the_callers_to_register(registry: CollectorRegistry) -> None:
    batcher = Batcher(RecordingHandler(), name="embed")
    collector = BatcherCollector(batcher, registry=None)
    registry.register(collector)
    labels = {"batcher": "embed"}
    assert registry.get_sample_value("microbatch_items_submitted_total", labels) == 0.0


def test_it_keeps_its_batchers_alive(registry: CollectorRegistry, url: str) -> None:
    BatcherCollector(Batcher(RecordingHandler(), name="embed"), registry=registry)
    gc.collect()
    assert Scraped(url)("items_submitted_total") == 0
