"""Read figures off what happened."""

import statistics
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.traffic.stage import Call, Log, Request

NARROWLY = 0.1
"""A request that came within this part of a handler call after it began has narrowly missed it."""


@dataclass(frozen=True)
class Figures:
    """What a policy did with some traffic; times in seconds.

    Latencies are from the sending of a request to the arrival of its answer, the network's part
    included; those named ``submit`` are from its submission to its answer. Requests are measured
    that were sent after the warm-up.

    A straggler is a request that narrowly missed a batch and paid a whole one for it: it was
    submitted within a tenth of a handler call after that call had begun with room to spare, and
    then waited for at least nine tenths of that call before its own began. Where arrivals know
    nothing of each other a tenth of them are such by chance, whatever the policy.
    """

    throughput: float
    p50: float
    p99: float
    batch: float
    stragglers: float | None = None
    submit_p50: float | None = None
    submit_p99: float | None = None


def percentile(ordered: Sequence[float], part: float) -> float:
    """Give the least value that so large a part of them does not exceed."""
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)]


def read(log: Log, warm_up: float, size: int) -> Figures:
    """Read the figures of a run of one phase."""
    start, end = log.began[0] + warm_up, log.ended
    counted = [each for each in log.requests if each.sent >= start]
    whole = sorted(each.received - each.sent for each in counted)
    inner = sorted(each.answered - each.submitted for each in counted)
    sizes = [call.size for call in log.calls if start <= call.departed < end]
    return Figures(
        throughput=sum(start <= each.received < end for each in log.requests) / (end - start),
        p50=percentile(whole, 0.5),
        p99=percentile(whole, 0.99),
        batch=statistics.fmean(sizes),
        stragglers=stragglers(counted, log.calls, size),
        submit_p50=percentile(inner, 0.5),
        submit_p99=percentile(inner, 0.99),
    )


def stragglers(requests: Sequence[Request], calls: Sequence[Call], size: int) -> float:
    """Give the part of the requests that are stragglers; calls in the order of their departure."""
    departures = [call.departed for call in calls]
    found = 0
    for each in requests:
        place = bisect_right(departures, each.submitted) - 1
        if place < 0 or calls[place].size >= size:
            continue
        missed = calls[place]
        seconds = missed.ended - missed.departed
        narrowly = each.submitted - missed.departed <= NARROWLY * seconds
        found += narrowly and each.departed - each.submitted >= (1 - NARROWLY) * seconds
    return found / len(requests)


def ratios(above: Iterable[float], below: Iterable[float]) -> float:
    """Give the median of ratios, seed by seed."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))
