"""Batch token generation per step: 100 readers of one toy model, by fixed batches and by steps.

A step of the model makes one word for each text in it. It takes 20 ms, and 0.2 ms more for each
text. Readers come at random, three a second, and want between 20 and 500 words. The clock is
virtual: the program takes seconds, and prints the same everywhere.

Run it: python examples/generation.py
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from statistics import median, quantiles

from microbatch import END, End, batched
from microbatch.testing import run

READERS = 100
PER_SECOND = 3.0
END_OF_TEXT = "."


@dataclass
class Text:
    """A text that grows; ``wanted`` stands for what makes a real model stop."""

    wanted: int
    words: list[str] = field(default_factory=list)


class Model:
    """Add a word to each of some texts; a step for many costs little more than a step for one."""

    def __init__(self) -> None:
        self.steps = self.rows = 0

    async def step(self, texts: list[Text]) -> list[str]:
        self.steps += 1
        self.rows += len(texts)
        await asyncio.sleep(0.020 + 0.0002 * len(texts))
        return [self.next_word(text) for text in texts]

    def next_word(self, text: Text) -> str:
        word = "word" if len(text.words) < text.wanted else END_OF_TEXT
        text.words.append(word)
        return word


Generate = Callable[[Text], AsyncIterator[str]]


# ----------------------------------------------------------------------------------- three ways
def by_whole_answers(model: Model) -> Generate:
    """Answer a batch of texts when the longest is complete."""

    @batched(max_batch_size=32)
    async def complete(texts: list[Text]) -> list[list[str]]:
        unfinished = texts
        while unfinished:
            words = await model.step(unfinished)
            pairs = zip(unfinished, words, strict=True)
            unfinished = [text for text, word in pairs if word != END_OF_TEXT]
        return [text.words[:-1] for text in texts]

    async def generate(text: Text) -> AsyncIterator[str]:
        for word in await complete(text):
            yield word

    return generate


def by_streams(model: Model) -> Generate:
    """Stream the words of a batch as they come; who comes later waits for the next batch."""

    @batched(stream=True, max_batch_size=32)
    async def generate(texts: list[Text]) -> AsyncGenerator[list[str | End], tuple[int, ...]]:
        alive = tuple(range(len(texts)))
        while True:
            words = await model.step([texts[place] for place in alive])
            alive = yield [END if word == END_OF_TEXT else word for word in words]

    return generate


def by_steps(model: Model) -> Generate:
    """Make one batch of each step; who comes later takes part from the next step on."""

    @batched(max_batch_size=32)
    async def next_word(texts: list[Text]) -> list[str]:
        return await model.step(texts)

    async def generate(text: Text) -> AsyncIterator[str]:
        while (word := await next_word(text)) != END_OF_TEXT:
            yield word

    return generate


# ------------------------------------------------------------------------------------- measuring
@dataclass
class Reader:
    """One who reads, and the seconds from asking to the first word and to the last."""

    comes: float
    wanted: int
    first: float = 0.0
    last: float = 0.0

    async def read(self, generate: Generate) -> None:
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(self.comes)
        asked = clock()
        async for _ in generate(Text(self.wanted)):
            self.last = clock() - asked
            self.first = self.first or self.last


def readers() -> list[Reader]:
    """Let most want little and some want much, always the same."""
    chance = random.Random(1)
    return [
        Reader(READERS / PER_SECOND * chance.random(), 20 + int(480 * chance.random() ** 3))
        for _ in range(READERS)
    ]


async def measure(way: Callable[[Model], Generate]) -> tuple[float, float, float, float]:
    model, all_of_them = Model(), readers()
    generate = way(model)
    await asyncio.gather(*(reader.read(generate) for reader in all_of_them))
    firsts = [reader.first for reader in all_of_them]
    per_word = [reader.last / reader.wanted for reader in all_of_them]
    return median(firsts), quantiles(firsts, n=100)[-1], median(per_word), model.rows / model.steps


def main() -> None:
    ways = {
        "whole answers": by_whole_answers,
        "streamed, in fixed batches": by_streams,
        "one batch a step": by_steps,
    }
    print(" " * 28 + "seconds to the first word   seconds    texts in")
    print(" " * 28 + "     median           p99   per word      a step")
    for title, way in ways.items():
        middle, high, per_word, texts = run(measure, way)
        print(f"{title:28}{middle:11.3f}{high:14.3f}{per_word:11.3f}{texts:12.1f}")


if __name__ == "__main__":
    main()
