"""The project's checks. `nox -l` lists them; `make help` names the usual ones."""

import os
import shutil
import subprocess
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
# Whoever has one Python tests on that. What needs several of them asks for them: `make coverage`.
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["tests", "lint", "types", "docs"]

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml("pyproject.toml")
MEASURED = ["3.11", "3.12", "3.13"]
PYTHONS = [*MEASURED, "3.14", "3.15"]
SANITIZED = ["3.11", "3.13", "3.14"]
EVERYTHING = "cli,demo,opentelemetry,prometheus,retry,starlette,uvloop"
ALLOWLIST = ROOT / "tests" / "typing" / "stubtest-allowlist.txt"

# Keeps the working directory off sys.path, so that the checkout never hides the wheel.
SAFE_PATH = {"PYTHONSAFEPATH": "1"}
# Small matrices on few cores: a thread for each would only stand in the others' way.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def install_group(session: nox.Session, name: str) -> None:
    session.install(*nox.project.dependency_groups(PROJECT, name))


def build(session: nox.Session, **env: str) -> Path:
    """Build the sdist and, from it, the wheel into an empty folder; return the folder."""
    out = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(out, ignore_errors=True)
    session.install("build")
    session.run("python", "-m", "build", "--outdir", str(out), env=SAFE_PATH | env, silent=True)
    return out


def install_wheel(session: nox.Session, extras: str = EVERYTHING) -> None:
    """Install the package as users get it: the built wheel, never the checkout."""
    (wheel,) = build(session).glob("*.whl")
    session.install(f"microbatch[{extras}] @ {wheel.as_uri()}")


def install_tests(session: nox.Session) -> None:
    install_wheel(session)
    install_group(session, "test")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests against the built wheel, in two processes (`-- -n 0`: in this one)."""
    install_tests(session)
    session.run("python", "-m", "pytest", "-n", "2", *session.posargs, env=SAFE_PATH | ONE_THREAD)


@nox.session(python=MEASURED)
def measured(session: nox.Session) -> None:
    """Run the tests, and note which lines they reach on this Python."""
    install_tests(session)
    data = f".coverage.{session.python}"
    for stale in ROOT.glob(f"{data}.*"):
        stale.unlink()
    env = {**SAFE_PATH, **ONE_THREAD, "COVERAGE_FILE": str(ROOT / data)}
    session.run("coverage", "run", "-m", "pytest", *session.posargs, env=env)


@nox.session
def coverage(session: nox.Session) -> None:
    """Combine what was measured on all of these Pythons; fail under 100 % of the Python part."""
    missing = [each for each in MEASURED if not list(ROOT.glob(f".coverage.{each}.*"))]
    if missing:  # some lines are for one Python alone
        session.error(f"needs the runs on {', '.join(MEASURED)}; missing: {', '.join(missing)}")
    session.install("coverage")
    session.run("coverage", "combine")
    session.run("coverage", "report")


@nox.session(python=SANITIZED)
def sanitized(session: nox.Session) -> None:
    """Run the core's tests and the hostile machine (`-- STEPS`) under sanitizers; needs gcc."""
    steps = session.posargs[0] if session.posargs else os.environ.get("STEPS", "1000000")
    (wheel,) = build(session, MICROBATCH_SANITIZED="1").glob("*.whl")
    wanted = ("hypothesis", "pytest>", "pytest-timeout")
    group = nox.project.dependency_groups(PROJECT, "test")
    session.install(str(wheel), "numpy", *(each for each in group if each.startswith(wanted)))
    env = SAFE_PATH | under_sanitizers(session)
    session.run("python", "-m", "pytest", "--timeout=600", "tests/core", env=env)
    # Away from the checkout, which `python -m` would put before the wheel.
    work = Path(session.create_tmp()).resolve()
    shutil.copytree(ROOT / "tests" / "hostile", work / "tests" / "hostile", dirs_exist_ok=True)
    seed = str(session.python).replace(".", "")
    with session.chdir(work):
        machine = ["-m", "tests.hostile", "--steps", steps, "--seed", seed]
        session.run("python", *machine, env=under_sanitizers(session))


def under_sanitizers(session: nox.Session) -> dict[str, str]:
    """Give what a Python needs that is not built with them itself."""
    ask = ["gcc", "-print-file-name=libasan.so"]
    runtime = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    if not Path(runtime).is_absolute():
        session.error("gcc has no libasan.so: install it, or a gcc that comes with it")
    return {
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "halt_on_error=1:detect_leaks=0",  # CPython keeps what it likes at its end
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "PYTHONMALLOC": "malloc",  # or pools would hide what is used after it was freed
    }


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, layers, changelog and packaging."""
    install_group(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("cython-lint", "microbatch")
    session.run("lint-imports")
    check_changelog(session)
    distributions = build(session).iterdir()
    session.run("twine", "check", "--strict", *map(str, distributions))


def check_changelog(session: nox.Session) -> None:
    version = PROJECT["project"]["version"]
    session.run("towncrier", "build", "--draft", "--version", version)
    base = os.environ.get("CHANGELOG_BASE", "main")
    verify = ["git", "rev-parse", "--verify", "--quiet", base]
    if subprocess.run(verify, cwd=ROOT, capture_output=True, check=False).returncode:
        session.log(f"no git branch {base} to look for changes without a fragment")
    else:
        session.run("towncrier", "check", "--compare-with", base)


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, and the stub of the core against the built wheel."""
    install_wheel(session)
    install_group(session, "test")
    install_group(session, "types")
    session.run("mypy")
    session.run("pyright")
    # In an empty folder, where the checkout cannot be found.
    with session.chdir(session.create_tmp()):
        session.run("stubtest", "microbatch._core", "--allowlist", str(ALLOWLIST), env=SAFE_PATH)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation and run its code."""
    install_wheel(session)
    install_group(session, "docs")
    session.run("mkdocs", "build", "--strict", env={"NO_MKDOCS_2_WARNING": "1"})
    env = {**SAFE_PATH, "PYTHONPATH": str(ROOT / "tests" / "docs")}
    session.run("pytest", "-p", "code_blocks", "README.md", "docs", *session.posargs, env=env)


@nox.session(python=PYTHONS)
def bench(session: nox.Session) -> None:
    """Run the benchmarks against the built wheel."""
    install_wheel(session)
    install_group(session, "bench")
    results = ROOT / "benchmarks" / "results"
    results.mkdir(exist_ok=True)
    # Away from the checkout, which `python -m` would put before the wheel.
    work = Path(session.create_tmp()).resolve()
    shutil.copytree(ROOT / "benchmarks", work / "benchmarks", dirs_exist_ok=True)
    with session.chdir(work):
        session.run("python", "-m", "benchmarks.floor")
        session.run("python", "-m", "benchmarks.options")
        session.run("python", "-m", "benchmarks.latency")
        session.run("python", "-m", "benchmarks.storm")
        for what in ("idle", "queued", "flat", "import"):
            session.run("python", "-m", "benchmarks.footprint", what)
        session.run(
            "pytest",
            f"--config-file={ROOT / 'pyproject.toml'}",
            f"--rootdir={work}",
            "--timeout=300",
            f"--benchmark-json={results / f'python{session.python}.json'}",
            "benchmarks",
            *session.posargs,
        )


@nox.session
def conformance(session: nox.Session) -> None:
    """Put the failure probes to microbatch and its peers; write the page about it."""
    session.run("python", "-m", "conformance", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Run the demonstration from the built wheel."""
    install_wheel(session, "demo")
    session.run("microbatch", "demo", *session.posargs)
