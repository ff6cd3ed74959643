"""Each workload on each event loop, for pytest-benchmark's records."""

import asyncio
from typing import Any

import pytest

from benchmarks.floor import WORKLOADS, loops

LOOPS = loops()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", WORKLOADS)
def test_workload(benchmark: Any, name: str, loop: str) -> None:
    """Time a whole workload; ``items`` says by what to divide."""
    workload, count = WORKLOADS[name]
    benchmark.extra_info.update(workload=name, loop=loop, items=count)
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        benchmark.pedantic(lambda: runner.run(workload(count)), rounds=7, warmup_rounds=1)
