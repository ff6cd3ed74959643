"""``run`` and its options."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import anyio
import pytest

from microbatch.testing import VirtualClockEventLoop, run
from tests.testing.loops import hang, now


class TestRun:
    def test_takes_a_coroutine_function_and_its_arguments(self) -> None:
        async def add(left: int, right: int) -> int:
            return left + right

        assert run(add, 1, 2) == 3
        assert run(add(3, 4)) == 7

    def test_refuses_arguments_for_a_coroutine(self) -> None:
        coroutine: Any = hang()
        with contextlib.closing(coroutine), pytest.raises(TypeError, match="main is a coroutine"):
            run(coroutine, 1)

    def test_raises_what_main_raises(self) -> None:
        async def main() -> None:
            raise LookupError("lost")

        with pytest.raises(LookupError, match="lost"):
            run(main)

    def test_sets_debug(self, debug: bool) -> None:
        async def main() -> bool:
            return asyncio.get_running_loop().get_debug()

        assert run(main, debug=debug) is debug

    def test_debug_is_the_default(self) -> None:
        async def main() -> bool:
            return asyncio.get_running_loop().get_debug()

        assert run(main) is True

    def test_uses_the_loop_of_the_factory(self) -> None:
        async def main() -> type:
            return type(asyncio.get_running_loop())

        assert run(main) is VirtualClockEventLoop
        assert run(main, loop_factory=asyncio.SelectorEventLoop) is asyncio.SelectorEventLoop

    def test_eager_uses_the_factory_of_asyncio(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[asyncio.Task[Any]] = []

        def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> Any:
            made.append(asyncio.Task(coro, loop=loop, **options))
            return made[-1]

        monkeypatch.setattr(asyncio, "eager_task_factory", factory, raising=False)
        run(asyncio.sleep, 1.0, eager=True)
        assert made

    def test_eager_needs_python_3_12(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(asyncio, "eager_task_factory", raising=False)
        with pytest.raises(RuntimeError, match=r"^eager=True needs Python 3\.12 or later$"):
            run(hang, eager=True)

    def test_eager_tasks_start_at_once(self, eager: bool) -> None:
        async def main() -> list[str]:
            steps: list[str] = []

            async def step() -> None:
                steps.append("task")

            task = asyncio.create_task(step())
            steps.append("main")
            await task
            return steps

        assert run(main, eager=eager) == (["task", "main"] if eager else ["main", "task"])

    def test_anyio_takes_the_loop(self) -> None:
        async def main() -> float:
            await anyio.sleep(3600)
            return now()

        options = {"loop_factory": VirtualClockEventLoop, "debug": True}
        assert anyio.run(main, backend="asyncio", backend_options=options) == 3600.0
