"""The demonstration: small, but with a real model, real traffic and a real check."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import os
import signal
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from typing import TYPE_CHECKING, Any, get_args

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")
pytest.importorskip("sklearn")

from click.testing import CliRunner, Result
from sklearn.exceptions import ConvergenceWarning

from microbatch.batch import Reason
from microbatch.cli import comparing
from microbatch.cli.app import app
from microbatch.cli.comparing import Comparison, Demo, Digits, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = ["--callers", "8", "--rounds", "3"]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["demo", *arguments])


@pytest.fixture(scope="module")
def small() -> Demo:
    return Demo(Settings(callers=8, rounds=3, max_batch_size=4), print)


@pytest.fixture(scope="module")
def comparison(small: Demo) -> Comparison:
    return small.run()


def fake_run(monkeypatch: pytest.MonkeyPatch, run: Callable[[Demo], Any]) -> None:
    monkeypatch.setattr(Demo, "run", run)


# ----------------------------------------------------------------------------------- measurements
def test_both_ways_answer_every_request_alike(comparison: Comparison) -> None:
    assert comparison.different == 0
    assert len(comparison.single.answers) == len(comparison.batched.answers) == 24
    assert comparison.accuracy > 0.8


def test_one_call_at_a_time_calls_the_model_for_each_request(comparison: Comparison) -> None:
    assert comparison.single.calls == 24
    assert comparison.single.mean_batch_size == 1.0
    assert comparison.single.reasons == {}


def test_batches_are_counted_where_the_model_is_called(comparison: Comparison) -> None:
    batched = comparison.batched
    assert sum(batched.batch_sizes) == 24
    assert max(batched.batch_sizes) == 4
    assert sum(batched.reasons.values()) == batched.calls < 24


def test_latencies_are_of_every_request(comparison: Comparison) -> None:
    measured = dataclasses.replace(comparison.single, latencies=[1.0, 2.0, 3.0, 4.0])
    assert (measured.latency(50), measured.latency(99)) == (2.0, 4.0)
    assert len(comparison.batched.latencies) == 24
    assert measured.throughput == 24 / measured.seconds


def test_a_different_answer_is_noticed(comparison: Comparison) -> None:
    answers = [*comparison.batched.answers]
    answers[5] += 1
    batched = dataclasses.replace(comparison.batched, answers=answers)
    assert dataclasses.replace(comparison, batched=batched).different == 1


@pytest.mark.parametrize("name", ["callers", "rounds"])
def test_there_must_be_traffic(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be >= 1, got 0"):
        Settings(**{name: 0})


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(comparing, "version", missing)
    assert "microbatch (not installed)" in comparing.versions()
    monkeypatch.setattr(comparing, "version", lambda package: "1.2.3")
    assert "microbatch 1.2.3, scikit-learn 1.2.3" in comparing.versions()


# --------------------------------------------------------------------------------------- the table
def test_the_table_says_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = invoke(*SMALL, "--max-batch-size", "4", "--max-latency", "0.5")
    assert result.exit_code == 0
    for part in (
        "8 callers, 3 requests each",
        "requests per second",
        "p50",
        "p99",
        "calls to the model",
        "pictures per call, mean",
        "batch full",
        "All 24 predictions are equal",
        "How to read it",
        "Python 3.",
    ):
        assert part in result.stdout
    assert "\x1b" not in result.stdout
    assert "…" not in result.stdout
    assert result.stderr == ""


def test_the_table_fits_80_columns_whatever_was_measured(
    monkeypatch: pytest.MonkeyPatch, comparison: Comparison
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    reasons = dict.fromkeys(get_args(Reason), 123_456)
    batched = dataclasses.replace(comparison.batched, reasons=reasons, latencies=[123.456])
    single = dataclasses.replace(comparison.single, latencies=[0.001], seconds=0.00001)
    fake_run(
        monkeypatch, lambda work: dataclasses.replace(comparison, single=single, batched=batched)
    )
    result = invoke(*SMALL)
    assert result.stdout.count("  sent: ") == len(reasons)
    assert "123,456.0x more" in result.stdout
    assert "longest wait over" in result.stdout
    assert "…" not in result.stdout


def test_different_predictions_exit_with_1(
    monkeypatch: pytest.MonkeyPatch, comparison: Comparison
) -> None:
    wrong = dataclasses.replace(comparison, direct=[10] * 24)
    fake_run(monkeypatch, lambda work: wrong)
    result = invoke(*SMALL)
    assert result.exit_code == 1
    assert "NOT EQUAL: 24 of 24 predictions differ." in result.stdout


def test_progress_is_shown_where_somebody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["microbatch.cli.demo"], "is_watched", lambda: True)
    result = invoke(*SMALL)
    for stage in ("training", "one call at a time", "micro-batched"):
        assert stage in result.stderr
        assert stage == "one call at a time" or stage not in result.stdout.splitlines()
    assert result.stderr.count("100%") == 3


# ------------------------------------------------------------------------------------------ usage
def test_wrong_options_exit_with_2() -> None:
    for option, message in (
        ("--callers", "callers must be >= 1, got 0"),
        ("--max-batch-size", "max_batch_size must be >= 1, got 0"),
    ):
        result = invoke(option, "0")
        assert (result.exit_code, result.stdout) == (2, "")
        assert message in result.stderr


def test_without_its_extra_the_demo_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "microbatch.cli.comparing")
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)  # type: ignore[arg-type]
    result = invoke(*SMALL)
    assert (result.exit_code, result.stdout) == (2, "")
    message = (
        "the demo needs scikit-learn: pip install scikit-learn, or microbatch with its extra 'demo'"
    )
    assert message in " ".join(result.stderr.split())


def test_another_missing_module_is_a_bug_and_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "microbatch.cli.comparing", None)  # type: ignore[arg-type]
    assert isinstance(invoke(*SMALL).exception, ModuleNotFoundError)


# -------------------------------------------------------------------------------------- interrupts
def test_an_interrupt_says_how_far_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(work: Demo) -> None:
        work.stage, work.answered, work.total = "micro-batched", 1234, 5678
        raise KeyboardInterrupt

    fake_run(monkeypatch, run)
    result = invoke(*SMALL)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == (
        "microbatch: interrupted, micro-batched: 1,234 of 5,678 requests were answered\n"
    )


def test_an_interrupt_before_the_traffic_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(work: Demo) -> None:
        raise KeyboardInterrupt

    fake_run(monkeypatch, run)
    result = invoke(*SMALL)
    assert result.exit_code == 130
    assert result.stderr == "microbatch: interrupted before the first request\n"


def test_an_interrupt_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def write(self, text: str) -> int:
            if text.startswith("Iteration 1,"):
                signal.raise_signal(signal.SIGINT)
            return super().write(text)

    monkeypatch.setattr(
        comparing, "MLPClassifier", functools.partial(comparing.MLPClassifier, verbose=True)
    )
    with contextlib.redirect_stdout(Terminal()) as terminal, pytest.raises(KeyboardInterrupt):
        Digits.trained()
    assert "Iteration 2" not in terminal.getvalue()


def test_another_warning_of_the_training_is_no_interrupt() -> None:
    model = comparing.MLPClassifier((1,), max_iter=1)  # never converges
    with pytest.warns(ConvergenceWarning):
        comparing.fit(model, [[0.0], [1.0]], [0, 1])
    with pytest.raises(ConvergenceWarning):  # warnings are errors here
        comparing.fit(model, [[0.0], [1.0]], [0, 1])


@pytest.mark.skipif(os.name != "posix", reason="has no such signal")
def test_ctrl_c_ends_the_training() -> None:
    script = """
from functools import partial
from microbatch.cli import comparing
from microbatch.cli import main
comparing.MLPClassifier = partial(comparing.MLPClassifier, n_iter_no_change=1000, verbose=True)
main()
"""
    command = [sys.executable, "-u", "-c", script, "demo", *SMALL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as popen:
        assert popen.stdout is not None
        assert popen.stdout.readline().startswith(b"Iteration 1,")
        popen.send_signal(signal.SIGINT)
        output, errors = popen.communicate()
    assert (errors, popen.returncode) == (
        b"microbatch: interrupted before the first request\n",
        130,
    )
    assert b"callers" not in output


@pytest.mark.skipif(os.name != "posix", reason="has no such signal")
@pytest.mark.parametrize("stage", ["one call at a time", "micro-batched"])
def test_ctrl_c_ends_the_traffic(stage: str) -> None:
    script = f"""
from microbatch.cli import comparing
from microbatch.cli import main
enter = comparing.Demo._enter
def entered(self, stage, total):
    enter(self, stage, total)
    if stage == {stage!r}:
        self.settings = comparing.Settings(callers=2, rounds=1_000_000)
        print("begun", flush=True)
comparing.Demo._enter = entered
main()
"""
    command = [sys.executable, "-c", script, "demo", *SMALL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as popen:
        assert popen.stdout is not None
        assert popen.stdout.readline() == b"begun\n"
        popen.send_signal(signal.SIGINT)
        output, errors = popen.communicate()
    assert (output, popen.returncode) == (b"", 130)
    assert errors.startswith(f"microbatch: interrupted, {stage}: ".encode())
    assert errors.endswith(b" of 24 requests were answered\n")
