"""The reports, from a few results that are made up."""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.peers import chart, measure
from benchmarks.peers.__main__ import Peer, page, processor
from benchmarks.peers.__main__ import report as figures_of
from conformance.finding import Finding
from conformance.peers import OURS, module_of
from conformance.report import report
from conformance.results import Result, Setting

IMAGES = Path(__file__).parents[2] / "docs" / "images"
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


# ----------------------------------------------------------------------------------- the picture
def texts(svg: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_the_picture_shows_each_library_and_where_the_figures_come_from() -> None:
    third = Peer("third", "Third", missing="it crashed")
    figures = figures_of([measured("fast", 3.0), measured("microbatch", 1.8), third], 3)
    svg = chart.draw(json.loads(json.dumps(figures)))
    words = texts(svg)
    assert words[:2] == ["microbatch 1.0", "fast 1.0"]
    assert words.index("1.80") < words.index("3.00")
    said = " ".join(words)
    assert "Median of 3, batches of at most 64" in said
    assert "Left out: Third." in said
    assert all(figures[each] in said for each in ("python", "machine", "date"))
    title = "One caller, one item after the other, no wait for companions"
    assert f"{title}: microbatch 1.80, fast 3.00.</desc>" in svg


def test_the_picture_in_the_documentation_is_made_of_the_figures_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "made.svg"
    figures = str(IMAGES / "peers.json")
    monkeypatch.setattr(sys, "argv", ["chart", figures, str(made)])
    assert chart.main() == 0
    assert made.read_text() == (IMAGES / "peers.svg").read_text()


@pytest.mark.parametrize("picture", sorted(IMAGES.glob("*.svg")), ids=lambda path: path.stem)
def test_pictures_can_be_read_by_people_and_by_their_tools(picture: Path) -> None:
    svg = ET.fromstring(picture.read_text())
    kinds = [each.tag.rpartition("}")[2] for each in svg]
    assert kinds[:2] == ["title", "desc"]
    assert svg.get("role") == "img"
    for name in (svg.get("aria-labelledby") or "").split():
        assert svg.find(f"*[@id='{name}']") is not None
    assert "text" in kinds
    # In a page of Markdown, an empty line would end it.
    assert "\n\n" not in picture.read_text()


def test_the_processor_is_named_where_the_system_tells(tmp_path: Path) -> None:
    listed = tmp_path / "cpuinfo"
    assert " of " not in processor(listed)
    listed.write_text("processor : 0\nmodel name\t: Some CPU\n")
    assert processor(listed).endswith(" cores of Some CPU")
