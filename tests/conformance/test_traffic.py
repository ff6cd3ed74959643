"""The benchmark of traffic: what it plays, what it reads off, and what it says."""

import itertools
import json
import random
import statistics
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks.traffic import changes, chart, from_threads, over_http, policies, real, virtual
from benchmarks.traffic import figures as reading
from benchmarks.traffic.__main__ import main
from benchmarks.traffic.figures import Figures
from benchmarks.traffic.handling import Handler, Work
from benchmarks.traffic.policies import Policy, policy
from benchmarks.traffic.rows import ROWS, Row, chosen
from benchmarks.traffic.sources import Arrivals, Bursts, Poisson
from benchmarks.traffic.stage import Call, Request
from conformance.adapter import Adapter
from conformance.environments import InstallationError
from conformance.peers import OURS, module_of

NATURAL, FIXED = policy("natural"), policy("5ms")


def row(name: str) -> Row:
    (found,) = [each for each in ROWS if each.name == name]
    return found


def measured(name: str, *laid: Policy, calls: int = 20) -> virtual.Measured:
    return virtual.measure(row(name), [NATURAL, *laid], [1], calls)


# -------------------------------------------------------------------------------- in virtual time
def test_rows_have_names_of_their_own_that_words_choose_them_by() -> None:
    assert len({each.name for each in ROWS}) == len(ROWS)
    some = chosen(["slow", "bursts of 8 "])
    assert len(some) == 3
    assert all("slow" in each.name or "bursts of 8 " in each.name for each in some)


def test_the_same_seed_is_the_same_run() -> None:
    name = "mixed 32 net 1-4 + poisson 500/s / 20+0.05n 64x1"
    assert measured(name, FIXED) == measured(name, FIXED)


def test_clients_over_a_network_settle_into_halves_and_those_in_process_do_not() -> None:
    halves = measured("closed 64 net 1-4 / 20+0.05n 64x1")
    assert halves.median("natural", "batch") == pytest.approx(32, abs=1)
    assert halves.median("natural", "submit_p50") == pytest.approx(0.0407, abs=0.0005)
    whole = measured("closed 64 in process / 20+0.05n 64x1")
    assert whole.median("natural", "batch") == 64
    assert whole.median("natural", "p99") == pytest.approx(0.0232)


def test_a_lone_client_pays_the_wait() -> None:
    lone = measured("closed 1 in process / 20+0.05n 64x1", FIXED)
    assert lone.median("natural", "p50") == pytest.approx(0.02005)
    assert lone.median("5ms", "p50") == pytest.approx(0.02505)
    assert lone.ratio("5ms", "throughput") == pytest.approx(20.05 / 25.05, rel=0.02)


def request(submitted: float, departed: float) -> Request:
    made = Request()
    made.submitted, made.departed = submitted, departed
    return made


def test_a_straggler_narrowly_missed_a_batch_with_room_and_waited_for_all_of_it() -> None:
    calls = [Call(0.0, 10.0, 3), Call(10.0, 20.0, 4), Call(20.0, 30.0, 1)]
    missed, in_time, late = request(0.5, 10.0), request(0.0, 0.0), request(5.0, 10.0)
    no_room, another_slot = request(10.5, 20.0), request(0.5, 2.0)
    before_all = request(-1.0, 0.0)
    every = [missed, in_time, late, no_room, another_slot, before_all]
    assert reading.stragglers(every, calls, size=4) == 1 / 6
    assert reading.stragglers(every, calls, size=8) == 2 / 6


def times(source: Arrivals, count: int) -> list[float]:
    gaps = source.gaps(random.Random(1))
    return list(itertools.accumulate(itertools.islice(gaps, count)))


def test_arrivals_come_at_their_rates() -> None:
    steady = times(Poisson.steady(500), 5_000)
    assert steady[-1] == pytest.approx(10, rel=0.05)
    gaps = [after - before for before, after in itertools.pairwise(steady)]
    assert statistics.stdev(gaps) == pytest.approx(statistics.fmean(gaps), rel=0.05)
    on_off = Poisson(((0.1, 1_000.0), (0.3, 0.0)))
    assert on_off.rate == pytest.approx(250)
    came = times(on_off, 5_000)
    assert came[-1] == pytest.approx(20, rel=0.05)
    assert all(when % 0.4 <= 0.1 + 1e-9 for when in came)


def test_bursts_come_together() -> None:
    bursts = Bursts(8, 1.0, 0.1)
    came = times(bursts, 80)
    assert [sum(number <= when <= number + 0.1 for when in came) for number in range(10)] == [
        8
    ] * 10
    assert bursts.rate == 8


# ------------------------------------------------------------------------------------- what it says
def told(throughput: float, p50: float, p99: float, stragglers: float = 0.0) -> list[Figures]:
    return [Figures(throughput, p50, p99, 32.0, stragglers, p50, p99)]


def test_it_says_where_auto_falls_short() -> None:
    found = virtual.Measured(row("closed 64 net 1-4 / 20 64x1"))
    found.figures = {
        "natural": told(1_000, 0.040, 0.041),
        "5ms": told(1_400, 0.025, 0.026),
        "auto": told(970, 0.043, 0.045, 0.002),
    }
    assert [*virtual.shortfalls(found)] == [
        "throughput 0.970 of natural's, under 0.98",
        "p50 1.075 of natural's, over 1.05",
        "p99 1.098 of natural's, over 1.08",
        "throughput 0.693 of the best policy's, under 0.95",
        "stragglers 0.20% more than natural's, over 0.10%",
    ]
    assert "auto falls short in 5 places." in virtual.page([found])
    found.figures["auto"] = told(1_390, 0.025, 0.026)
    assert virtual.page([found]).endswith("auto falls short in 0 places.")


def test_a_change_is_followed_in_windows_of_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "CALLS", 240)
    found = changes.measure(next(changes.changes()), [NATURAL, policy("30ms")], [1])
    text = changes.page([found])
    assert "| clients 16 | natural | 39" in text
    assert "calls 50 to 100 are not within 3% of the level in 0 places." in text
    assert found.throughput("30ms", 2) / found.throughput("natural", 2) == pytest.approx(1.6, 0.02)
    (levels,) = found.levels["natural"]
    assert [len(level.throughputs) for level in levels] == [3, 3, 3]


def test_a_phase_of_few_calls_has_windows_without_a_figure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changes, "CALLS", 2)
    found = changes.measure([*changes.changes()][3], [NATURAL], [1])
    assert "natural, to clients 64: nan of the level" in changes.page([found])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rest"], "there is no part 'rest'; there are virtual, change, http, threads"),
        (
            ["--policies", "soon"],
            "argument --policies: there is no policy 'soon'; there are natural, auto, and fixed ",
        ),
        (["--rows", "odd"], "argument --rows: no row has any of these in its name: 'odd'"),
        (
            ["--peers", "aiomisc"],
            "argument --peers: there is no peer 'aiomisc'; there are microbatch, async_batcher, ",
        ),
        (["--repeat", "0"], "argument --repeat: must be an integer >= 1, got '0'"),
    ],
)
def test_a_wrong_argument_of_the_benchmark_is_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert f"error: {message}" in capsys.readouterr().err


def test_its_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    out = capsys.readouterr().out
    for text in ("virtual", "straggler", "--policies", "async-batcher", ".conformance/"):
        assert text in out


def refusing(monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    """Have microbatch refuse a latency."""

    def batcher(handler: Any, *, max_latency: object) -> None:
        if max_latency == value:
            raise ValueError(f"max_latency must be another, got {max_latency!r}")

    monkeypatch.setattr(policies, "Batcher", batcher)


def test_what_it_measured_is_printed_written_down_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refusing(monkeypatch, "auto")
    written, drawn = tmp_path / "traffic.json", tmp_path / "traffic.svg"
    arguments = [
        "virtual",
        "--rows",
        "closed 20 ,bursts of 8 ",
        "--quick",
        "--policies",
        "auto,5ms",
    ]
    arguments += ["--calls", "20", "--json", str(written), "--svg", str(drawn)]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    reason = "this microbatch refuses it: max_latency must be another, got 'auto'"
    assert f"The policy auto is left out: {reason}\n" in out
    assert "| closed 20 net 1-4 / 20+0.05n 16x1 | natural | " in out
    assert "Over 1 closed loops, the geometric mean and the worst:" in out
    report = json.loads(written.read_text())
    assert [each["row"] for each in report["virtual"]] == [
        "closed 20 net 1-4 / 20+0.05n 16x1",
        "bursts of 8 in 100 every 500 / 200+1n 64x1",
    ]
    assert [*report["virtual"][0]["policies"]] == ["natural", "5ms"]
    svg = ET.fromstring(drawn.read_text())
    points = [each.find("{*}title") for each in svg.iter("{http://www.w3.org/2000/svg}circle")]
    said = [(each.text or "").partition(": req")[0] for each in points if each is not None]
    assert said == [f"5ms: {each['row']}" for each in report["virtual"]]
    assert "\n\n" not in drawn.read_text()


def test_several_processes_measure_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["virtual", "--rows", "closed 1 in", "--quick", "--policies", "5ms"]
    outs = []
    for jobs in ("1", "2"):
        assert main([*arguments, "--jobs", jobs]) == 0
        outs.append(capsys.readouterr().out.partition("\n")[2])
    assert outs[0] == outs[1]


# --------------------------------------------------------------------------------------- real rows
def test_a_service_answers_clients_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_http, "WARM_UP", 0.1)
    found = over_http.measure(sys.executable, module_of(OURS), Work(64, 0.0, 4, 0.3))
    assert found["throughput"] > 0
    assert 1 <= found["batch"] <= 4
    assert found["p50"] >= 0.02


def test_a_service_that_does_not_start_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"^the service ended with status 1$"):
        over_http.measure(sys.executable, "conformance.peers.nobody", Work(64, 0.0, 4, 0.3))


def test_threads_are_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(from_threads, "WARM_UP", 0.1)
    from_threads.main(module_of(OURS), json.dumps(Work(64, 0.0, 4, 0.3)))
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["throughput"] > 0
    assert 1 <= found["batch"] <= 4


def test_threads_reach_a_library_that_has_no_way_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_threads, "WARM_UP", 0.1)

    class Alone(Adapter):
        def __init__(self, handler: Any, **_: Any) -> None:
            self.handler = handler

        async def submit(self, item: Any) -> Any:
            return await self.handler([item])

    handler = Handler()
    with from_threads.threadsafe(Alone, handler, 64, 0.0) as face:
        found = from_threads.ask(face, handler, 4, 0.3)
    assert found["batch"] == 1


def test_what_is_missing_in_the_real_rows_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *, fresh: bool) -> str:
        raise InstallationError("ERROR: not for this Python")

    asked = []

    def measure(python: str, module: str, work: Work) -> dict[str, float]:
        asked.append((module.rpartition(".")[2], work.wait))
        if work.wait == 0.001:
            raise RuntimeError("it broke")
        return {"throughput": 1_500 if work.wait else 1_000, "p50": 0.04, "p99": 0.05, "batch": 32}

    monkeypatch.setattr(real, "prepare", refuse)
    libraries = [real.prepared("ray_serve"), real.Library("microbatch", "microbatch", "", "1.0")]
    rows = [real.RealRow("some clients", measure, 64, 64)]
    laid = [policy(name) for name in ("natural", "1ms", "5ms")]
    every = real.compare(rows, libraries, laid, repetitions=2, seconds=1.0)
    text = real.page(every, libraries)
    assert "Ray Serve is left out: ERROR: not for this Python" in text
    assert "some clients: microbatch, 1ms: it broke" in text
    ours = "| some clients | microbatch | 5ms | 1500 | 40.0 | 50.0 | 32.0 | 1.50 | 1.00 | 1.00 |"
    assert ours in text
    assert asked.count((OURS, 0.001)) == 1
    report = {"setting": "here", "left_out": {}, "real": real.report(every, libraries)}
    svg = chart.draw(json.loads(json.dumps(report)))
    assert ET.fromstring(svg).findtext("{*}desc") == (
        "over HTTP, from threads, 5ms: throughput 1.50 and p99 1.00 of natural's."
    )
