"""Run ``async def`` tests on several kinds of event loop, and see that none leaves a thing behind.

Tests run in virtual time, with and without eager tasks, always in asyncio's debug mode. Those that
are marked ``every_loop`` run on asyncio's own loop and on uvloop too, and with debug mode off.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import inspect
import itertools
import logging
import re
import sys
import traceback
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from microbatch import testing
from microbatch._dispatch.registry import Dispatchers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

try:
    import uvloop
except ImportError:
    uvloop = None

DESCRIPTORS = Path("/proc/self/fd")

# The first callback opens a descriptor that stays, where libffi maps its own code; numpy has some.
ctypes.CFUNCTYPE(None)(int)

# A busy machine is no reason to complain.
settings.register_profile(
    "patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")

# asyncio's debug mode notes for each task and handle where it was made. All of pytest's frames took
# a fifth of the time that the tests take.
FRAMES = 6
walk_stack = traceback.walk_stack
traceback.walk_stack = lambda frame: itertools.islice(walk_stack(frame), FRAMES)


@dataclass(frozen=True)
class LoopKind:
    """A kind of event loop, and how to run something on a new one."""

    factory: Callable[[], asyncio.AbstractEventLoop]
    eager: bool = False
    debug: bool = True

    def run(self, main: Callable[..., Any], *args: Any) -> Any:
        """Run a coroutine function on a new loop, which is closed afterwards."""
        return testing.run(
            main, *args, debug=self.debug, loop_factory=self.factory, eager=self.eager
        )

    @contextlib.contextmanager
    def open(self) -> Iterator[asyncio.AbstractEventLoop]:
        """Give a new loop, to be run as often as a test likes."""
        with asyncio.Runner(debug=self.debug, loop_factory=self.factory) as runner:
            loop = runner.get_loop()
            if self.eager:
                loop.set_task_factory(asyncio.eager_task_factory)
            yield loop


def patient(loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
    loop.slow_callback_duration = 60.0  # a busy machine is no reason to complain
    return loop


def stock_loop() -> asyncio.AbstractEventLoop:
    return patient(asyncio.new_event_loop())


def uv_loop() -> asyncio.AbstractEventLoop:
    return patient(uvloop.new_event_loop())


def kinds(
    name: str, factory: Callable[[], asyncio.AbstractEventLoop], *, debug: bool, eager_from: Any
) -> list[Any]:
    """Give a kind of loop as two parameters, without and with eager tasks."""
    too_old = pytest.mark.skipif(sys.version_info < eager_from, reason="has no eager tasks")
    return [
        pytest.param(LoopKind(factory, debug=debug), id=name),
        pytest.param(LoopKind(factory, debug=debug, eager=True), id=f"{name}-eager", marks=too_old),
    ]


NEVER = (99,)
VIRTUAL = kinds("virtual", testing.VirtualClockEventLoop, debug=True, eager_from=(3, 12))
EVERY = VIRTUAL + kinds(
    "virtual-plain", testing.VirtualClockEventLoop, debug=False, eager_from=(3, 12)
)
EVERY += kinds("asyncio", stock_loop, debug=True, eager_from=(3, 12))
EVERY += kinds("asyncio-plain", stock_loop, debug=False, eager_from=(3, 12))
if uvloop is not None:
    # uvloop cannot make eager tasks on Python 3.13.0.
    uv_eager = NEVER if sys.version_info[:3] == (3, 13, 0) else (3, 12)
    uvloop.new_event_loop().close()  # the first one opens descriptors that stay
    EVERY += kinds("uvloop", uv_loop, debug=True, eager_from=uv_eager)
    EVERY += kinds("uvloop-plain", uv_loop, debug=False, eager_from=uv_eager)


# -------------------------------------------------------------------------------- running the tests
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "every_loop: run on asyncio's own loop and on uvloop too, and with debug mode off",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: Any, name: str, obj: Any) -> None:
    if collector.istestfunction(obj, name) and inspect.iscoroutinefunction(obj):
        marks = [mark.name for mark in getattr(obj, "pytestmark", ())]
        if "anyio" not in marks:
            pytest.mark.usefixtures("loop_kind")(obj)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "loop_kind" in metafunc.fixturenames:
        every = metafunc.definition.get_closest_marker("every_loop")
        metafunc.parametrize("loop_kind", EVERY if every else VIRTUAL, indirect=True)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Leave addresses out of the tests' names: they are others in each process that runs tests."""
    if isinstance(val, str) and " at 0x" in val:
        return re.sub(" at 0x[0-9a-f]+", "", val)
    return getattr(val, "__qualname__", None)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if "loop_kind" not in pyfuncitem.funcargs or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    pyfuncitem.funcargs["loop_kind"].run(leaving_nothing, pyfuncitem.obj, arguments)
    return True


async def leaving_nothing(test: Callable[..., Awaitable[None]], arguments: dict[str, Any]) -> None:
    """Run a test, and see that the loop has nothing left to do."""
    await test(**arguments)
    for _ in range(5):
        await asyncio.sleep(0)
    loop: Any = asyncio.get_running_loop()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    if isinstance(loop, asyncio.BaseEventLoop):
        assert [handle for handle in loop._scheduled if not handle.cancelled()] == []
        assert list(loop._ready) == []


# ---------------------------------------------------------------------------------- leaving nothing
@pytest.fixture
def loop_kind(request: pytest.FixtureRequest, tidy: None) -> LoopKind:
    """The kind of loop that an ``async def`` test runs on, or that another one opens."""
    kind: LoopKind = request.param
    return kind


@pytest.fixture
def tidy(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test after which an item is unsettled, a descriptor is open, or asyncio complained."""
    batchers = remember_batchers(monkeypatch)
    before = descriptors()
    with caplog.at_level(logging.WARNING, logger="asyncio"):
        yield
        assert len(leaked_since(before)) == 0
    for batcher in batchers:
        check_accounts(batcher)
    complaints = [each for each in caplog.get_records("call") if each.name == "asyncio"]
    assert [each.getMessage() for each in complaints] == []


def remember_batchers(monkeypatch: pytest.MonkeyPatch) -> weakref.WeakSet[Dispatchers]:
    batchers: weakref.WeakSet[Dispatchers] = weakref.WeakSet()
    initialise = Dispatchers.__init__

    def remembering(self: Dispatchers, *args: Any, **kwargs: Any) -> None:
        initialise(self, *args, **kwargs)
        batchers.add(self)

    monkeypatch.setattr(Dispatchers, "__init__", remembering)
    return batchers


def check_accounts(batcher: Dispatchers) -> None:
    """See that all that was submitted came to one end, and is at it."""
    now = batcher.statistics()
    assert (now.waiting, now.queued, now.in_flight, now.slots_busy) == (0, 0, 0, 0)
    ends = now.completed + now.failed + now.cancelled + now.late + now.dropped
    assert now.submitted == ends


def descriptors() -> set[str]:
    return {each.name for each in DESCRIPTORS.iterdir()} if DESCRIPTORS.exists() else set()


def leaked_since(before: set[str]) -> set[str]:
    if len(descriptors()) > len(before):
        gc.collect()
    now = descriptors()
    return now - before if len(now) > len(before) else set()
