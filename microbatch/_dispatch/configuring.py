"""Tell a lane the options that matter for single items."""

from microbatch._core import Lane
from microbatch._dispatch.observing import wants_contexts
from microbatch._streams.channel import of_entry
from microbatch.options import Options

__all__ = ["configure", "group"]


def configure(lane: Lane, options: Options, *, draining: bool = False) -> None:
    """Give a lane its options; while somebody drains, no item waits for companions."""
    lane.configure(
        max_batch_size=options.max_batch_size,
        max_latency=0.0 if draining else options.max_latency,
        capacity=options.capacity,
        overflow=options.overflow,
        timeout=options.timeout,
        max_batch_weight=options.max_batch_weight,
        capture=wants_contexts(options),
    )


def group(lane: Lane, options: Options) -> None:
    """Group a lane's items by more than their age, where the options ask for it."""
    if not options.in_groups:
        return
    lane.group(
        key=of_entry(options.key, streams=options.stream),
        weigh=of_entry(options.weigh, streams=options.stream),
        priority=of_entry(options.priority, streams=options.stream),
        dedupe=options.dedupe,
        dedupe_in_flight=options.dedupe_in_flight,
        refuse_overweight=options.overweight == "reject",
        ageing=options.ageing,
        max_batches_per_key=options.max_concurrent_batches_per_key,
    )
