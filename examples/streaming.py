"""Stream tokens from a toy language model: many prompts share each step, each caller its own words.

Run it: python examples/streaming.py
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator

from microbatch import END, End, batched

TEXT = "the cat sees the dog and the dog sees the bird and the bird sings ."


class Model:
    """Predict the next word from the last one; a batch of prompts costs as much as one."""

    def __init__(self, text: str) -> None:
        words = text.split()
        self.followers: dict[str, list[str]] = {}
        for word, follower in itertools.pairwise(words):
            self.followers.setdefault(word, []).append(follower)

    def next_words(self, texts: list[list[str]]) -> list[str]:
        return [self.next_word(text) for text in texts]

    def next_word(self, text: list[str]) -> str:
        choices = self.followers.get(text[-1], ["."])
        return choices[len(text) % len(choices)]


model = Model(TEXT)


@batched(stream=True, max_batch_size=8, stream_buffer=16, timeout=30.0)
async def generate(prompts: list[str]) -> AsyncGenerator[list[str | End], tuple[int, ...]]:
    texts = [prompt.split() for prompt in prompts]
    alive = tuple(range(len(prompts)))  # the places of the prompts that are still answered
    try:
        while True:
            print(f"[a step for {len(alive)}]")
            words = await asyncio.to_thread(model.next_words, [texts[place] for place in alive])
            for place, word in zip(alive, words, strict=True):
                texts[place].append(word)
            alive = yield [END if word == "." else word for word in words]
    finally:
        print("[the batch has ended]")


async def tell(name: str, prompt: str) -> None:
    async for word in generate(prompt):
        print(f"{name}: {word}")
    print(f"{name} has heard all")


async def hear_two_words(name: str, prompt: str) -> None:
    async with generate(prompt) as words:  # leaving the block gives the rest up
        print(f"{name}: {await anext(words)}")
        print(f"{name}: {await anext(words)}")
    print(f"{name} has heard enough")


async def main() -> None:
    await asyncio.gather(
        tell("Ann", "the bird"),
        hear_two_words("Bob", "and the"),
        tell("Cleo", "the dog sees"),
    )
    print("at once:", await generate.submit("the cat"))
    await generate.aclose()


if __name__ == "__main__":
    asyncio.run(main())
