"""Show batchers to Prometheus. It needs the extra ``prometheus``."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from microbatch import BatcherStatistics, Distribution
from microbatch.adapters.counting import BOUNDS, Batchers, Reported, exported
from microbatch.statistics import Kind, Metric

try:
    from prometheus_client.core import (
        REGISTRY,
        CollectorRegistry,
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )
    from prometheus_client.core import Metric as Family
except ModuleNotFoundError as error:
    raise ImportError(
        "microbatch.adapters.prometheus needs prometheus_client: "
        "pip install prometheus-client, or microbatch with its extra 'prometheus'"
    ) from error

__all__ = ["BatcherCollector"]

ByName: TypeAlias = Mapping[str, BatcherStatistics]


class BatcherCollector(Batchers):
    """Collect the statistics of batchers whenever Prometheus scrapes; items pay nothing for it.

        collector = BatcherCollector(batcher)
        start_http_server(8000)

    It registers itself with ``registry``: prometheus_client's own unless another is given, and
    None is no registry. A registry takes one collector, so ``add`` further batchers to it;
    ValueError is raised for a second one. The label ``batcher`` is the batcher's name.
    """

    def __init__(self, *batchers: Reported, registry: CollectorRegistry | None = REGISTRY) -> None:
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

    def describe(self) -> Iterator[Family]:
        """Name the metrics, for the registry."""
        return families_of({})

    def collect(self) -> Iterator[Family]:
        """Give the metrics as they are now, for the registry."""
        return families_of(self._statistics())


def families_of(by_name: ByName) -> Iterator[Family]:
    """Give every metric of some batchers."""
    for metric in exported():
        yield FAMILIES[metric.kind](metric, by_name)


def name_of(metric: Metric) -> str:
    """Name a metric: by its path, and where it has values or is a time by the unit, too."""
    name = f"microbatch_{metric.path.replace('.', '_')}"
    if metric.kind != "distribution" and metric.unit != "seconds":
        return name
    return f"{name.removesuffix('_duration')}_{metric.unit}"  # seconds say that it is one


def counter_of(metric: Metric, by_name: ByName) -> Family:
    """Make a counter of one of the statistics."""
    counter = CounterMetricFamily(name_of(metric), metric.meaning, labels=["batcher"])
    for batcher, now in by_name.items():
        counter.add_metric([batcher], getattr(now, metric.name))
    return counter


def counter_by_reason_of(metric: Metric, by_name: ByName) -> Family:
    """Make a counter of what each reason to dispatch has."""
    counter = CounterMetricFamily(name_of(metric), metric.meaning, labels=["batcher", "reason"])
    for batcher, now in by_name.items():
        counts: Mapping[str, int] = getattr(now, metric.name)
        for reason, count in counts.items():
            counter.add_metric([batcher, reason], count)
    return counter


def gauge_of(metric: Metric, by_name: ByName) -> Family:
    """Make a gauge of one of the statistics."""
    gauge = GaugeMetricFamily(name_of(metric), metric.meaning, labels=["batcher"])
    for batcher, now in by_name.items():
        gauge.add_metric([batcher], getattr(now, metric.name))
    return gauge


def histogram_of(metric: Metric, by_name: ByName) -> Family:
    """Make a histogram of one of the distributions."""
    bounds = BOUNDS[metric.unit]
    histogram = HistogramMetricFamily(name_of(metric), metric.meaning, labels=["batcher"])
    for batcher, now in by_name.items():
        values: Distribution = getattr(now, metric.name)
        pairs = zip(map(str, bounds), values.cumulative(bounds), strict=True)
        histogram.add_metric([batcher], [*pairs, ("+Inf", values.count)], values.sum)
    return histogram


FAMILIES: dict[Kind, Callable[[Metric, ByName], Family]] = {
    "counter": counter_of,
    "counter by reason": counter_by_reason_of,
    "gauge": gauge_of,
    "distribution": histogram_of,
}
