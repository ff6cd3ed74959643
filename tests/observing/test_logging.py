"""One line in the log for each batch that failed, which says no word of any item."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from microbatch import Batcher
from microbatch.testing import RecordingHandler

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def everything(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.DEBUG, logger="microbatch"):
        yield


def ours(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    records = [each for each in caplog.records if each.name == "microbatch"]
    return [(each.levelno, each.getMessage()) for each in records]


async def put_through(answer: Any, *items: Any, **options: Any) -> None:
    def answering(items: list[Any]) -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    handler: RecordingHandler[Any, Any] = RecordingHandler(answering, delay=0.25)
    async with Batcher(handler, name="embed", **options) as batcher:
        await asyncio.gather(*map(batcher.submit, items), return_exceptions=True)


async def test_a_failed_batch_is_one_warning_without_any_payload(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await put_through(KeyError("secret"), "secret", "secret too")
    assert ours(caplog) == [
        (
            logging.WARNING,
            "batch of 'embed' failed: 2 items, dispatched by natural, KeyError after 0.25 s",
        )
    ]
    assert caplog.records[-1].exc_info is None


async def test_a_wrong_number_of_results_is_a_failed_batch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await put_through(["one"], "a", "b", max_batch_size=2)
    assert [message for _, message in ours(caplog)] == [
        "batch of 'embed' failed: 2 items, dispatched by size, ResultCountError after 0.25 s"
    ]


@pytest.mark.parametrize("answer", [["a"], [KeyError()], asyncio.CancelledError()])
async def test_other_batches_are_not_logged(caplog: pytest.LogCaptureFixture, answer: Any) -> None:
    await put_through(answer, "a")
    assert ours(caplog) == []


async def test_a_batch_that_was_given_up_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    batcher: Batcher[str, str] = Batcher(RecordingHandler(delay=60.0))
    ticket = batcher.submit("a")
    await asyncio.sleep(1.0)
    ticket.cancel()
    await batcher.drain()
    assert ours(caplog) == []


async def test_a_log_that_raises_is_reported_and_hurts_nobody() -> None:
    def refuse(record: logging.LogRecord) -> bool:
        raise OSError("no space left")

    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, report: reports.append(report))
    log = logging.getLogger("microbatch")
    log.addFilter(refuse)
    try:
        await put_through(KeyError(), "a")
    finally:
        log.removeFilter(refuse)
    assert [report["message"] for report in reports] == ["Exception in logging of batcher 'embed'"]


def test_the_log_has_a_handler_that_does_nothing() -> None:
    kinds = [type(handler) for handler in logging.getLogger("microbatch").handlers]
    assert logging.NullHandler in kinds
