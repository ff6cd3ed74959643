"""A loop that nothing could wake says who waits where."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import pytest

from microbatch.testing import DeadlockError, run
from tests.testing.loops import hang, impatient, patient

if TYPE_CHECKING:
    from collections.abc import Generator


class SuspendedCoroutine(Coroutine[Any, Any, None]):
    """A coroutine without frames, as a compiled one may be; it waits for its future."""

    def __init__(self, future: asyncio.Future[None]) -> None:
        self._waiter = future.__await__()

    def send(self, value: Any, /) -> Any:
        return self._waiter.send(value)

    def throw(self, *error: Any) -> Any:
        return self._waiter.throw(*error)

    def close(self) -> None:
        self._waiter.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._waiter


class TestDeadlock:
    def test_names_the_task_and_its_line(self, debug: bool, eager: bool) -> None:
        async def main() -> None:
            await hang()

        code = hang.__code__
        text = (
            "deadlock: nothing is ready, no timer is armed and nothing woke the loop;"
            " 1 pending task\n"
            f"  Task-N waits at {code.co_filename}:{code.co_firstlineno + 1} in hang"
        )
        with pytest.raises(DeadlockError) as caught:
            run(main, debug=debug, eager=eager, loop_factory=impatient)
        # Python 3.13.0 names eager tasks None.
        assert re.sub(r"(Task-\d+|None) waits", "Task-N waits", str(caught.value)) == text

    def test_is_raised_at_once_when_nothing_could_wake_the_loop(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(threading, "enumerate", lambda: [threading.current_thread()])
        with pytest.raises(DeadlockError):
            run(hang, loop_factory=patient)

    def test_names_ten_tasks_in_natural_order(self) -> None:
        async def main() -> None:
            await asyncio.gather(*[asyncio.create_task(hang(), name=f"w{i}") for i in range(13)])

        with pytest.raises(DeadlockError, match="; 14 pending tasks\n") as caught:
            run(main, loop_factory=impatient)
        lines = str(caught.value).splitlines()
        assert [line.split()[0] for line in lines[1:-1]] == [f"w{i}" for i in range(10)]
        assert lines[-1] == "  and 4 more"

    def test_names_a_line_of_asyncio_where_there_is_no_other(self) -> None:
        async def main() -> None:
            await asyncio.create_task(asyncio.Event().wait(), name="bare")

        with pytest.raises(DeadlockError, match=r"bare waits at .*locks\.py:\d+ in Event\.wait"):
            run(main, loop_factory=impatient)

    def test_copes_with_a_coroutine_without_frames(self) -> None:
        async def main() -> None:
            future = asyncio.get_running_loop().create_future()
            await asyncio.create_task(SuspendedCoroutine(future), name="bare")

        with pytest.raises(DeadlockError, match="bare waits at an unknown place"):
            run(main, loop_factory=impatient)

    def test_leaves_a_loop_that_runs_again(self) -> None:
        loop = impatient()
        with contextlib.closing(loop):
            with pytest.raises(DeadlockError, match=r"; 0 pending tasks$"):
                loop.run_forever()
            loop.run_until_complete(asyncio.sleep(1.0))
            assert loop.time() == 1.0

    def test_cancels_the_pending_tasks(self, debug: bool, eager: bool) -> None:
        ended: list[str] = []

        async def worker(name: str) -> None:
            try:
                await hang()
            finally:
                await asyncio.sleep(60.0)
                ended.append(name)

        async def main() -> None:
            workers = [asyncio.create_task(worker(name)) for name in "ab"]
            await hang()
            del workers

        with pytest.raises(DeadlockError):
            run(main, debug=debug, eager=eager, loop_factory=impatient)
        assert sorted(ended) == ["a", "b"]

    @pytest.mark.parametrize("stubbornness", [1, 2, 3])
    def test_cancels_again_what_hangs_in_its_cleanup(self, stubbornness: int) -> None:
        cancelled = 0

        async def main() -> None:
            nonlocal cancelled
            while cancelled < stubbornness:
                try:
                    await hang()
                except asyncio.CancelledError:
                    cancelled += 1
            await hang()

        with pytest.raises(DeadlockError) as caught:
            run(main, loop_factory=impatient)
        assert cancelled == stubbornness
        assert caught.value.__context__ is None
