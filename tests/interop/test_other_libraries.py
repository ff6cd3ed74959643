"""Under trio or gevent every entry says what to use there, and what it says works."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import pytest
import trio

from microbatch import Batcher, BlockingBatcher, batched
from tests.scripts import run_script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.usefixtures("tidy")


async def double(items: list[int]) -> list[int]:
    return [2 * item for item in items]


async def chunks(items: list[int]) -> AsyncIterator[list[int]]:
    yield items


decorated = batched(name="double")(double)


def asynchronous(batcher: Any) -> dict[str, Any]:
    """Give each entry of a batcher, by its name."""

    async def by_map() -> None:
        async for _ in batcher.map([1]):
            raise AssertionError

    async def by_entering() -> None:
        async with batcher:
            raise AssertionError

    return {
        "submit": lambda: batcher.submit(1),
        "submit_nowait": lambda: batcher.submit_nowait(1),
        "submit_many": lambda: batcher.submit_many([1]),
        "map": by_map,
        "flush": batcher.flush,
        "drain": batcher.drain,
        "aclose": batcher.aclose,
        "async with": by_entering,
    }


ENTRIES = {
    **asynchronous(Batcher(double)),
    "a decorated call": lambda: decorated(1),
    "stream": lambda: Batcher(chunks, stream=True, name="double").stream(1),
}

UNDER_TRIO = (
    "batcher 'double' needs asyncio, and was used under trio: run the program on asyncio "
    "(with anyio: backend='asyncio'), or make a BlockingBatcher, and wait for it with "
    "await trio.to_thread.run_sync(blocking_batcher.submit(item).result)"
)


async def message_of(use: Any) -> str:
    with pytest.raises(RuntimeError) as caught:
        await use()
    return str(caught.value)


# --------------------------------------------------------------------------------------------- trio
@pytest.mark.parametrize("entry", ENTRIES)
def test_under_trio_each_entry_says_what_to_use(entry: str) -> None:
    assert trio.run(message_of, ENTRIES[entry]) == UNDER_TRIO


def test_under_anyio_on_trio_it_says_the_same() -> None:
    assert anyio.run(message_of, ENTRIES["submit"], backend="trio") == UNDER_TRIO


def test_under_trio_a_blocking_batcher_cannot_be_attached() -> None:
    async def attach() -> None:
        BlockingBatcher.attached(double)

    message = (
        "attached() needs an asyncio event loop, and trio runs here: BlockingBatcher(handler) "
        "has a loop of its own; wait for it with "
        "await trio.to_thread.run_sync(blocking_batcher.submit(item).result)"
    )
    assert trio.run(message_of, attach) == message
    with anyio.from_thread.start_blocking_portal(backend="trio") as portal:
        with pytest.raises(RuntimeError) as caught:
            BlockingBatcher.attached(double, portal)
        assert str(caught.value) == message


def test_under_trio_a_blocking_batcher_cannot_be_awaited() -> None:
    blocking = BlockingBatcher(double)

    async def enter() -> None:
        async with blocking:
            raise AssertionError

    for use in (blocking.aclose, enter):
        assert trio.run(message_of, use) == (
            "batcher 'double' can be awaited under asyncio, and not under trio: close it with "
            "await trio.to_thread.run_sync(blocking_batcher.close)"
        )
    assert not blocking.closed


def test_under_trio_a_blocking_batcher_works_as_it_says() -> None:
    blocking_batcher = BlockingBatcher(double)
    got: list[int] = []

    async def one(item: int) -> None:
        got.append(await trio.to_thread.run_sync(blocking_batcher.submit(item).result))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for item in range(5):
                nursery.start_soon(one, item)
        await trio.to_thread.run_sync(blocking_batcher.close)

    trio.run(main)
    assert sorted(got) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("entry", ENTRIES)
def test_where_nothing_runs_each_entry_says_so(entry: str) -> None:
    with pytest.raises(StopIteration) as caught:
        message_of(ENTRIES[entry]).send(None)
    assert caught.value.value == (
        "batcher 'double' was used where no event loop runs: "
        "submit from a coroutine or a callback of a loop, such as asyncio.run() starts, "
        "or from threads and synchronous code through a BlockingBatcher"
    )


def test_where_nothing_runs_a_blocking_batcher_is_closed_without_await() -> None:
    with pytest.raises(RuntimeError) as caught:
        BlockingBatcher(double).aclose().send(None)
    assert str(caught.value) == (
        "batcher 'double' was awaited where no event loop runs: use `with` or close()"
    )


def test_where_trio_was_never_imported_nothing_asks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "trio.lowlevel")
    with pytest.raises(RuntimeError, match=r"^batcher 'double' was used where no event loop runs"):
        Batcher(double).submit(1)


# ------------------------------------------------------------------------------------------- gevent
UNDER_GEVENT = (
    "batcher 'double' needs asyncio, and was used under gevent: make a BlockingBatcher, "
    "and wait for it with "
    "gevent.get_hub().threadpool.apply(blocking_batcher.submit(item).result)"
)
PATCHED = (
    "and gevent.monkey has patched what that is built on: "
    "use it in a process of its own that is not patched"
)


class Greenlet:
    """What code runs in under gevent."""


def pretend_gevent(monkeypatch: pytest.MonkeyPatch, current: Any, patched: str = "") -> None:
    gevent: Any = types.ModuleType("gevent")
    gevent.Greenlet, gevent.getcurrent = Greenlet, lambda: current
    monkey: Any = types.ModuleType("gevent.monkey")
    monkey.is_module_patched = lambda name: name == patched
    monkeypatch.setitem(sys.modules, "gevent", gevent)
    monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)


def test_in_a_greenlet_it_says_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gevent(monkeypatch, Greenlet())
    with pytest.raises(RuntimeError) as caught:
        Batcher(double).submit(1)
    assert str(caught.value) == UNDER_GEVENT


def test_outside_of_greenlets_gevent_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gevent(monkeypatch, None)
    with pytest.raises(RuntimeError, match=r"^batcher 'double' was used where no event loop runs"):
        Batcher(double).submit(1)
    with BlockingBatcher(double) as blocking:
        assert blocking.submit(1).result() == 2


@pytest.mark.parametrize("patched", ["threading", "socket"])
def test_where_gevent_has_patched_it_says_so(monkeypatch: pytest.MonkeyPatch, patched: str) -> None:
    pretend_gevent(monkeypatch, Greenlet(), patched)
    with pytest.raises(RuntimeError) as caught:
        Batcher(double).submit(1)
    assert str(caught.value) == f"batcher 'double' needs asyncio, {PATCHED}"
    with pytest.raises(RuntimeError) as caught:
        BlockingBatcher(double).submit(1)
    assert str(caught.value) == f"batcher 'double' needs a thread that runs asyncio, {PATCHED}"


def run(script: str) -> list[str]:
    """Run a script in a process of its own, and give the lines that it printed."""
    code = """
        import gevent
        from microbatch import Batcher, BlockingBatcher

        async def double(items):
            return [2 * item for item in items]

        def told(use):
            try:
                return use()
            except RuntimeError as error:
                return str(error)
    """
    status, printed, complaints = run_script(script, code, LAST, timeout=60)
    assert (status, complaints) == (0, "")
    return printed.splitlines()


LAST = """
print(gevent.spawn(told, lambda: Batcher(double).submit(1)).get())
blocking_batcher = BlockingBatcher(double)

def use(item):
    return gevent.get_hub().threadpool.apply(blocking_batcher.submit(item).result)

for greenlet in [gevent.spawn(told, lambda item=item: use(item)) for item in range(3)]:
    print(greenlet.get())
blocking_batcher.close()
"""


def test_under_real_gevent_it_says_what_works() -> None:
    pytest.importorskip("gevent")
    assert run("") == [UNDER_GEVENT, "0", "2", "4"]


@pytest.mark.parametrize("what", ["", "thread=False"])
def test_under_real_gevent_that_has_patched_it_says_so(what: str) -> None:
    pytest.importorskip("gevent")
    lines = run(f"from gevent import monkey; monkey.patch_all({what})")
    assert lines == [
        f"batcher 'double' needs asyncio, {PATCHED}",
        *[f"batcher 'double' needs a thread that runs asyncio, {PATCHED}"] * 3,
    ]
