"""The recording handler: what it answers, records and holds."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from microbatch.testing import Call, DeadlockError, RecordingHandler, run
from tests.testing.loops import impatient


class TestRecordingHandler:
    def test_echoes_without_a_function(self) -> None:
        handler = RecordingHandler[str, str]()
        items = ["a", "b"]

        async def main() -> list[str]:
            return await handler(items)

        results = run(main)
        assert results == ["a", "b"]
        assert results is not items

    def test_answers_what_the_function_answers(self) -> None:
        handler = RecordingHandler[int, str](lambda items: [str(item) for item in items])
        assert run(handler, [1, 2]) == ["1", "2"]

    def test_records_each_call(self) -> None:
        handler = RecordingHandler[int, int](delay=lambda items: float(sum(items)))

        async def main() -> None:
            await handler([1, 2])
            await handler([])
            await handler([4])

        run(main)
        assert handler.calls == [
            Call((1, 2), 0.0, 3.0, "returned"),
            Call((), 3.0, 3.0, "returned"),
            Call((4,), 3.0, 7.0, "returned"),
        ]
        assert handler.items == [1, 2, 4]
        assert handler.sizes == [2, 0, 1]

    def test_records_a_call_under_way(self) -> None:
        handler = RecordingHandler[int, int](delay=5.0)

        async def main() -> list[Call[int]]:
            task = asyncio.create_task(handler([1]))
            await asyncio.sleep(1.0)
            under_way = list(handler.calls)
            await task
            return under_way

        assert run(main) == [Call((1,), 0.0)]
        assert handler.calls == [Call((1,), 0.0, 5.0, "returned")]

    def test_keeps_the_record_when_the_function_changes_its_items(self) -> None:
        def consume(items: list[int]) -> list[int]:
            return [items.pop() for _ in range(len(items))]

        handler = RecordingHandler(consume)
        assert run(handler, [1, 2]) == [2, 1]
        assert handler.items == [1, 2]

    def test_records_an_error_of_the_function(self) -> None:
        def fail(items: list[int]) -> list[int]:
            raise LookupError(items)

        handler = RecordingHandler(fail, delay=2.0)
        with pytest.raises(LookupError):
            run(handler, [1])
        assert handler.calls == [Call((1,), 0.0, 2.0, "raised")]

    def test_records_cancellation(self) -> None:
        handler = RecordingHandler[int, int](delay=60.0)

        async def main() -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(handler([1]), timeout=1.0)

        run(main)
        assert handler.calls == [Call((1,), 0.0, 1.0, "cancelled")]

    def test_holds_calls_until_released(self, eager: bool) -> None:
        handler = RecordingHandler[int, int](delay=1.0)
        handler.hold()
        handler.hold()

        async def main() -> None:
            first = asyncio.create_task(handler([1]))
            second = asyncio.create_task(handler([2]))
            await asyncio.sleep(10.0)
            assert [call.outcome for call in handler.calls] == [None, None]
            handler.release()
            handler.release()
            await asyncio.gather(first, second)
            await handler([3])

        run(main, eager=eager)
        assert [call.ended for call in handler.calls] == [10.0, 10.0, 11.0]

    def test_a_released_call_passes_the_next_hold(self) -> None:
        handler = RecordingHandler[int, int]()

        async def main() -> None:
            handler.hold()
            first = asyncio.create_task(handler([1]))
            await asyncio.sleep(1.0)
            handler.release()
            handler.hold()
            second = asyncio.create_task(handler([2]))
            await first
            await asyncio.sleep(1.0)
            assert not second.done()
            handler.release()
            await second

        run(main)
        assert [call.ended for call in handler.calls] == [1.0, 2.0]

    def test_serves_one_loop_after_another(self) -> None:
        handler = RecordingHandler[int, int]()

        async def main() -> None:
            handler.hold()
            asyncio.get_running_loop().call_later(1.0, handler.release)
            await handler([1])

        run(main)
        run(main)
        assert [call.ended for call in handler.calls] == [1.0, 1.0]

    def test_a_hold_that_is_never_released_is_a_deadlock(self) -> None:
        handler = RecordingHandler[int, int]()
        handler.hold()
        with pytest.raises(DeadlockError, match=r"in RecordingHandler\._handle"):
            run(handler, [1], loop_factory=impatient)
        assert handler.calls == [Call((1,), 0.0, 0.0, "cancelled")]

    def test_reads_well(self) -> None:
        handler = RecordingHandler[int, int]()
        assert handler.__name__ == "recording"
        assert inspect.iscoroutinefunction(handler.__call__)
