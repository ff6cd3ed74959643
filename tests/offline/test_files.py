"""Bytes in and lines out, in threads, with pipes and files."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

import pytest

from microbatch.offline.files import (
    BlockReader,
    LineWriter,
    bytes_left,
    is_same_file,
    open_output,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Pipe:
    """A pipe's two ends."""

    def __init__(self) -> None:
        self.out, self.into = map(os.fdopen, os.pipe(), ["rb", "wb"], [0, 0])

    def close(self) -> None:
        self.out.close()
        self.into.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


@contextmanager
def no_thread_left() -> Iterator[None]:
    yield
    assert "microbatch.reader" not in [thread.name for thread in threading.enumerate()]


# ---------------------------------------------------------------------------------------- reading
def test_a_read_gives_what_is_there(pipe: Pipe) -> None:
    async def main() -> None:
        with no_thread_left(), BlockReader(pipe.out) as reader:
            for text in (b"1\n", b"2\n3"):
                pipe.into.write(text)
                assert await reader.read() == text
            pipe.into.close()
            assert await reader.read() == b""

    asyncio.run(main())


def test_a_file_comes_in_blocks(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(b"abcdefg")

    async def main() -> None:
        with path.open("rb") as file, BlockReader(file, block_bytes=3) as reader:
            assert [await reader.read() for _ in range(4)] == [b"abc", b"def", b"g", b""]

    asyncio.run(main())


def test_stopping_ends_a_read_that_waits(pipe: Pipe) -> None:
    async def main() -> None:
        with BlockReader(pipe.out) as reader:
            reading = asyncio.create_task(reader.read())
            await asyncio.sleep(0)
            reader.stop()
            assert await reading is None
            assert await reader.read() is None

    asyncio.run(main())
    # The thread is still in its read. That it comes too late for the closed loop harms nothing.
    (thread,) = [each for each in threading.enumerate() if each.name == "microbatch.reader"]
    pipe.into.write(b"late")
    thread.join()


def test_stopping_between_reads_leaves_no_thread(pipe: Pipe) -> None:
    async def main() -> None:
        with no_thread_left(), BlockReader(pipe.out) as reader:
            pipe.into.write(b"1\n")
            assert await reader.read() == b"1\n"
            reader.stop()
            assert await reader.read() is None

    asyncio.run(main())


@pytest.mark.parametrize("block", [b"block", b""], ids=["block", "end"])
def test_what_was_read_is_not_lost_by_stopping(block: bytes) -> None:
    class Stream(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            called.set()
            return block

    called = threading.Event()

    async def main() -> None:
        with BlockReader(cast("IO[bytes]", Stream())) as reader:
            reading = asyncio.create_task(reader.read())
            await asyncio.sleep(0)
            called.wait()
            reader._pending.add_done_callback(lambda _: reader.stop())  # type: ignore[union-attr]
            assert await reading == block

    asyncio.run(main())


def test_an_error_of_reading_is_raised_to_the_reader(tmp_path: Path) -> None:
    async def main() -> None:
        with (
            (tmp_path / "out").open("wb", buffering=0) as file,
            BlockReader(file) as reader,
            pytest.raises(OSError, match="not open for reading"),
        ):
            await reader.read()

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "set_blocking"), reason="has no such mode")
def test_a_descriptor_that_does_not_block_is_an_error(pipe: Pipe) -> None:
    async def main() -> None:
        for end in (pipe.out, pipe.into):
            os.set_blocking(end.fileno(), False)
        message = "the input must be in blocking mode"
        with BlockReader(pipe.out) as reader, pytest.raises(BlockingIOError, match=message):
            await reader.read()
        with pytest.raises(BlockingIOError, match="the output must be in blocking mode"):
            await LineWriter(pipe.into).write([b"x" * 10_000_000])

    asyncio.run(main())


# ---------------------------------------------------------------------------------------- writing
class Slow(io.RawIOBase):
    """A stream that takes three bytes at a time."""

    def __init__(self) -> None:
        self.taken = b""

    def write(self, text: Any) -> int:
        self.taken += bytes(text[:3])
        return min(3, len(text))


def test_all_bytes_are_written_however_few_at_a_time() -> None:
    stream = Slow()
    writer = LineWriter(cast("IO[bytes]", stream))
    asyncio.run(writer.write([b"first\n", b"second\n"]))
    assert stream.taken == b"first\nsecond\n"
    assert writer.lines == 2


def test_lines_are_written_past_the_buffer(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("wb") as file:
        asyncio.run(LineWriter(file).write([b"1\n"]))
        assert path.read_bytes() == b"1\n"


def test_lines_that_were_not_written_are_not_counted(pipe: Pipe) -> None:
    pipe.out.close()
    writer = LineWriter(pipe.into)
    with pytest.raises(BrokenPipeError):
        asyncio.run(writer.write([b"1\n"]))
    assert writer.lines == 0


# ------------------------------------------------------------------------------------------ files
def test_an_existing_output_is_kept_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "out"
    open_output(path).close()
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        open_output(path)
    assert path.read_bytes() == b"precious"
    open_output(path, force=True).close()
    assert path.read_bytes() == b""


@pytest.mark.skipif(os.name != "posix", reason="has no devices")
def test_a_device_holds_nothing_to_lose(tmp_path: Path) -> None:
    open_output(tmp_path / "/dev/null").close()


def test_the_same_file_is_known_by_any_name(tmp_path: Path) -> None:
    path, link, other = tmp_path / "rows", tmp_path / "link", tmp_path / "other"
    path.touch()
    other.touch()
    os.link(path, link)
    with path.open("rb") as file, link.open("rb") as linked:
        assert is_same_file(file, path)
        assert is_same_file(file, link)
        assert is_same_file(file, linked)
        assert not is_same_file(file, other)
        assert not is_same_file(file, tmp_path / "none")
        assert not is_same_file(io.BytesIO(), path)


def test_a_pipe_may_be_both_ends(pipe: Pipe) -> None:
    assert not is_same_file(pipe.out, pipe.out)


def test_the_size_of_a_file_is_what_is_left_of_it(tmp_path: Path, pipe: Pipe) -> None:
    path = tmp_path / "rows"
    path.write_bytes(b"12345")
    with path.open("rb", buffering=0) as file:
        file.read(2)
        assert bytes_left(file) == 3
        path.write_bytes(b"")
        assert bytes_left(file) == 0
    assert bytes_left(pipe.out) is None
    assert bytes_left(io.BytesIO(b"123")) is None
