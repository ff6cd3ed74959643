"""Show batchers to Prometheus. It needs the extra ``prometheus``."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from microbatch import BatcherStatistics, Distribution
from microbatch.adapters.counting import (
    COUNTERS,
    GAUGES,
    PARTS,
    SECONDS,
    SIZES,
    SLOTS_BUSY,
    Batchers,
    Counted,
)

try:
    from prometheus_client.core import (
        REGISTRY,
        CollectorRegistry,
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
except ModuleNotFoundError as error:
    raise ImportError(
        "microbatch.adapters.prometheus needs prometheus_client: "
        "pip install prometheus-client, or microbatch with its extra 'prometheus'"
    ) from error

__all__ = ["BatcherCollector"]

ByName: TypeAlias = Mapping[str, BatcherStatistics]

HISTOGRAMS: dict[str, tuple[str, str, Sequence[float]]] = {
    "batch_size_items": ("batch_size", "Items in a batch.", SIZES),
    "batch_occupancy_ratio": ("occupancy", "Size of a batch by max_batch_size.", PARTS),
    "queue_wait_seconds": ("queue_wait", "From an item's submission to its dispatch.", SECONDS),
    "handler_seconds": ("handler_time", "From a batch's dispatch to its handler's end.", SECONDS),
}


class BatcherCollector(Batchers):
    """Collect the statistics of batchers whenever Prometheus scrapes; items pay nothing for it.

        collector = BatcherCollector(batcher)
        start_http_server(8000)

    It registers itself with ``registry``: prometheus_client's own unless another is given, and
    None is no registry. A registry takes one collector, so ``add`` further batchers to it;
    ValueError is raised for a second one. The label ``batcher`` is the batcher's name.
    """

    def __init__(self, *batchers: Counted, registry: CollectorRegistry | None = REGISTRY) -> None:
        super().__init__()
        for batcher in batchers:
            self.add(batcher)
        if registry is not None:
            self._register_with(registry)

    def _register_with(self, registry: CollectorRegistry) -> None:
        try:
            registry.register(self)
        except ValueError as error:
            raise ValueError(
                "registry must have no other BatcherCollector, as one shows any number of "
                "batchers: add them to that one, as in collector.add(batcher), "
                f"got {registry!r}"
            ) from error

    def describe(self) -> Iterator[Metric]:
        """Name the metrics, for the registry."""
        return metrics_of({})

    def collect(self) -> Iterator[Metric]:
        """Give the metrics as they are now, for the registry."""
        return metrics_of(self._statistics())


def metrics_of(by_name: ByName) -> Iterator[Metric]:
    """Give every metric of some batchers."""
    for name, meaning in COUNTERS.items():
        yield counter_of(by_name, f"items_{name}", meaning, name)
    for name, meaning in GAUGES.items():
        yield gauge_of(by_name, f"items_{name}", meaning, name)
    yield gauge_of(by_name, "slots_busy", SLOTS_BUSY, "slots_busy")
    yield batches_of(by_name)
    failed = "Batches whose handler raised, or gave no results for its items."
    yield counter_of(by_name, "batches_failed", failed, "failed_batches")
    cancelled = "Batches whose handler was cancelled."
    yield counter_of(by_name, "batches_cancelled", cancelled, "cancelled_batches")
    for name, (attribute, meaning, bounds) in HISTOGRAMS.items():
        yield histogram_of(by_name, name, meaning, attribute, bounds)


def counter_of(by_name: ByName, name: str, meaning: str, attribute: str) -> Metric:
    """Make a counter of one of the statistics."""
    counter = CounterMetricFamily(f"microbatch_{name}", meaning, labels=["batcher"])
    for batcher, now in by_name.items():
        counter.add_metric([batcher], getattr(now, attribute))
    return counter


def gauge_of(by_name: ByName, name: str, meaning: str, attribute: str) -> Metric:
    """Make a gauge of one of the statistics."""
    gauge = GaugeMetricFamily(f"microbatch_{name}", meaning, labels=["batcher"])
    for batcher, now in by_name.items():
        gauge.add_metric([batcher], getattr(now, attribute))
    return gauge


def batches_of(by_name: ByName) -> Metric:
    """Make the counter of batches by their reasons."""
    counter = CounterMetricFamily(
        "microbatch_batches", "Batches dispatched, by reason.", labels=["batcher", "reason"]
    )
    for batcher, now in by_name.items():
        for reason, count in now.batches.items():
            counter.add_metric([batcher, reason], count)
    return counter


def histogram_of(
    by_name: ByName, name: str, meaning: str, attribute: str, bounds: Sequence[float]
) -> Metric:
    """Make a histogram of one of the distributions."""
    histogram = HistogramMetricFamily(f"microbatch_{name}", meaning, labels=["batcher"])
    for batcher, now in by_name.items():
        values: Distribution = getattr(now, attribute)
        pairs = zip(map(str, bounds), values.cumulative(bounds), strict=True)
        histogram.add_metric([batcher], [*pairs, ("+Inf", values.count)], values.sum)
    return histogram
