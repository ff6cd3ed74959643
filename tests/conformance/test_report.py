"""The reports, from a few results that are made up."""

import json

import pytest

from benchmarks.peers import measure
from benchmarks.peers.__main__ import Peer, page
from conformance.finding import Finding
from conformance.peers import OURS, module_of
from conformance.report import report
from conformance.results import Result, Setting

SETTING = Setting("CPython 3.13.0", "Linux on x86_64", "2026-11-20")
RESULTS = [
    Result(
        "microbatch",
        "microbatch",
        "1.0",
        "built from this checkout",
        findings={
            "idle": Finding("pass", "stays asleep"),
            "cancel-twin": Finding("pass", "answered"),
        },
    ),
    Result(
        "other",
        "Other",
        "0.1",
        findings={
            "idle": Finding("pass", "stays asleep"),
            "cancel-twin": Finding("fail", "crash: <b>_x_ | y"),
        },
    ),
    Result("third", "Third", missing="ERROR: not for this Python"),
]

EXPECTED = """
- Made by `python -m conformance`
- CPython 3.13.0, Linux on x86_64, 2026-11-20
- Each probe runs in a process of its own, on asyncio's own event loop. A caller that has no outcome
  after 2 seconds counts as a hang, and so does a process that is killed after
  20 seconds.

The expectations are those that microbatch was built for. Other libraries may have had other aims,
and a library that lacks what a probe asks for does not fail it.

## The libraries

| library | version | remarks |
| --- | --- | --- |
| microbatch | 1.0 | built from this checkout |
| Other | 0.1 |  |
| Third | - | left out: ERROR: not for this Python |

## The results

✓ as expected, ✗ not as expected, ○ the library has nothing like it.

| probe | microbatch | Other |
| --- | :---: | :---: |
| [idle](#idle) | ✓ | ✓ |
| [cancel-twin](#cancel-twin) | ✓ | ✗ |

## What was seen

### idle

A batcher that has answered one item is left alone for 3 seconds.
Expected: the loop is left asleep: nothing polls.

- ✓ microbatch, Other: stays asleep

### cancel-twin

Two callers submit the same item; one of them is cancelled while the handler runs.
Expected: the other is answered.

- ✓ microbatch: answered
- ✗ Other: crash: \\<b>\\_x\\_ \\| y
"""


def test_the_report_says_what_was_found_and_where() -> None:
    text = report(RESULTS, ["idle", "cancel-twin"], SETTING, "python -m conformance", 20.0)
    assert text.startswith("# Conformance\n")
    assert text.endswith(EXPECTED)


def test_a_report_without_any_library_has_no_results() -> None:
    text = report(RESULTS[2:], ["idle"], SETTING, "python -m conformance", 20.0)
    assert "left out: ERROR: not for this Python" in text
    assert "## The results" not in text


def measured(name: str, ratio: float) -> Peer:
    work = "One caller, one item after the other, no wait for companions"
    peer = Peer(name, name, version="1.0")
    peer.ratios = {work: [ratio, ratio + 0.5, ratio - 0.5]}
    peer.seconds = {work: [ratio / 1e6] * 3}
    return peer


def test_the_benchmark_measures_next_to_bare_futures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, little in {"ROUNDS": 1, "AT_ONCE": 64, "ALONE": 2}.items():
        monkeypatch.setattr(measure, name, little)
    measure.main(module_of(OURS))
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(figures) == [*measure.WORKLOADS]
    assert all(each["seconds"] > 0 and each["ratio"] > 0 for each in figures.values())


def test_the_benchmark_says_where_microbatch_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    title = "One caller, one item after the other, no wait for companions"
    monkeypatch.setattr(measure, "WORKLOADS", {title: measure.WORKLOADS[title]})
    third = Peer("third", "Third", missing="it crashed")
    text = page([measured("microbatch", 1.8), measured("fast", 1.2), third], 3)
    table = [line for line in text.splitlines() if line.startswith(("| fast", "| microbatch"))]
    assert table == [
        "| fast | 1.0 | 1.20 | 0.70 to 1.70 | 1.20 |",
        "| microbatch | 1.0 | 1.80 | 1.30 to 2.30 | 1.80 |",
    ]
    assert "microbatch (1.80) loses to: fast (1.20), bare futures (1.00)." in text
    assert text.endswith("Third is left out: it crashed")
    assert "loses to: nothing in this table." in page([measured("microbatch", 0.6)], 3)
