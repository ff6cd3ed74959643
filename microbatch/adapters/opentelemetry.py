"""Trace batches, and report them, with OpenTelemetry. It needs the extra ``opentelemetry``."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import Context, ContextVar
from importlib.metadata import version

from microbatch import BatchDispatched, BatchEnded
from microbatch.adapters.counting import BOUNDS, SECONDS, Batchers, exported
from microbatch.statistics import Metric, Unit

try:
    from opentelemetry import context as telemetry_context
    from opentelemetry import metrics, trace
    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation
    from opentelemetry.trace import Link, Span, StatusCode, TracerProvider
except ModuleNotFoundError as error:
    raise ImportError(
        "microbatch.adapters.opentelemetry needs opentelemetry: "
        "pip install opentelemetry-api, or microbatch with its extra 'opentelemetry'"
    ) from error

__all__ = ["BatcherTelemetry"]

NAME = "microbatch.batcher.name"
REASON = "microbatch.batch.reason"
UNITS: dict[Unit, str] = {
    "items": "{item}",
    "batches": "{batch}",
    "slots": "{slot}",
    "seconds": "s",
    "ratio": "1",
}


class BatcherTelemetry(Batchers):
    """An observer that makes a span of each batch, and metrics of batches and batchers.

        telemetry = BatcherTelemetry()
        batcher = Batcher(handler, observer=telemetry)
        telemetry.add(batcher)

    The span lasts from the dispatch to the end of the handler call, and is the current one in the
    handler. It begins a trace of its own, with links to the spans in which its items were
    submitted. Where the handler raises, its status is an error that names the type; neither items
    nor messages are told.

    Histograms of batches need no more than the observer. The counters and gauges of ``add``ed
    batchers are read from their statistics at each collection.

    The providers are the global ones unless others are given. One telemetry serves many batchers.
    """

    captures_context = True
    """It needs the context of each item's submission."""

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        super().__init__()
        ours = version("microbatch")
        self._tracer = trace.get_tracer("microbatch", ours, tracer_provider=tracer_provider)
        meter = metrics.get_meter("microbatch", ours, meter_provider=meter_provider)
        self._span: ContextVar[Span] = ContextVar("microbatch.span")
        self._batches = BatchHistograms(meter)
        self._report_batchers(meter)

    def _report_batchers(self, meter: Meter) -> None:
        create = {
            "counter": meter.create_observable_counter,
            "counter by reason": meter.create_observable_counter,
            "gauge": meter.create_observable_up_down_counter,
        }
        for metric in exported():
            # What events tell, the histograms of batches do, in values or attributes.
            if metric.event is None and metric.kind in create:
                name, unit = f"microbatch.{metric.path}", UNITS[metric.unit]
                create[metric.kind](name, [self._reader(metric)], unit, metric.meaning)

    def _reader(self, metric: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def read(_: CallbackOptions) -> Iterator[Observation]:
            for name, now in self._statistics().items():
                number: float | Mapping[str, int] = getattr(now, metric.name)
                if not isinstance(number, Mapping):
                    yield Observation(number, {NAME: name})
                else:
                    for reason, count in number.items():
                        yield Observation(count, {NAME: name, REASON: reason})

        return read

    def __call__(self, event: BatchDispatched | BatchEnded) -> None:
        """Take note of a batch."""
        if isinstance(event, BatchDispatched):
            self._begin(event)
        else:
            self._end(event)

    def _begin(self, event: BatchDispatched) -> None:
        span = self._tracer.start_span(
            f"batch {event.name}",
            context=telemetry_context.Context(),  # not that of a span in which the batcher was made
            links=links_to(event.contexts),
            attributes={
                NAME: event.name,
                "microbatch.batch.size": event.size,
                "microbatch.batch.occupancy": event.occupancy,
                REASON: event.reason,
            },
        )
        self._span.set(span)
        # This context is the handler's, and ends with it: there is nothing to detach.
        telemetry_context.attach(trace.set_span_in_context(span))

    def _end(self, event: BatchEnded) -> None:
        longest_wait = max(event.waits)
        outcome: dict[str, str] = {"microbatch.batch.outcome": event.outcome}
        span = self._span.get()
        if event.error is not None:
            outcome["error.type"] = error_type(event.error)
            span.set_status(StatusCode.ERROR, outcome["error.type"])
        span.set_attributes(outcome)
        span.set_attribute("microbatch.batch.failed_items", event.failed)
        span.set_attribute("microbatch.batch.longest_wait", longest_wait)
        span.end()
        attributes = {NAME: event.name, REASON: event.reason, **outcome}
        self._batches.record(event, longest_wait, attributes)


class BatchHistograms:
    """Record one measurement of each kind for each batch."""

    def __init__(self, meter: Meter) -> None:
        def histogram(name: str, unit: str, meaning: str, bounds: list[float]) -> metrics.Histogram:
            return meter.create_histogram(
                f"microbatch.{name}", unit, meaning, explicit_bucket_boundaries_advisory=bounds
            )

        self._longest_wait = histogram(
            "batch.longest_wait",
            "s",
            "From the submission of a batch's oldest item to its dispatch.",
            SECONDS,
        )
        self._histograms = [
            (
                metric.event,
                histogram(metric.path, UNITS[metric.unit], metric.meaning, BOUNDS[metric.unit]),
            )
            for metric in exported()
            if metric.kind == "distribution" and metric.event is not None
        ]

    def record(self, event: BatchEnded, longest_wait: float, attributes: dict[str, str]) -> None:
        """Record a batch that has ended."""
        self._longest_wait.record(longest_wait, attributes)
        for attribute, histogram in self._histograms:
            histogram.record(getattr(event, attribute), attributes)


def links_to(contexts: Iterable[Context | None]) -> list[Link]:
    """Link to the span that is current in each context, once to each."""
    # One submission of many items has one context for all.
    different = {id(each): each for each in contexts if each is not None}
    spans = [each.run(trace.get_current_span).get_span_context() for each in different.values()]
    once = {(span.trace_id, span.span_id): span for span in spans if span.is_valid}
    return [Link(span) for span in once.values()]


def error_type(error: BaseException) -> str:
    """Name the type of an exception as the semantic conventions do: with its module."""
    kind = type(error)
    where = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{where}{kind.__qualname__}"
