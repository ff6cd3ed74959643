"""Batches by tokens: texts of all lengths for a model that pays for the longest one in each batch.

A model reads a batch of texts as a table, a row for each text and as wide as the longest of them.
The shorter ones are padded, and padding costs as much as text. The texts are the descriptions that
scikit-learn ships with its datasets, cut into passages.
"""

import asyncio
import re
from collections.abc import Sequence
from zlib import crc32

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine

from microbatch import Batcher, BatcherOptions, OverweightError

Tokens = list[str]
VECTORS = np.random.default_rng(0).standard_normal((4096, 64), dtype=np.float32)
VECTORS[0] = 0.0  # of the padding


def tokens_of(text: str) -> Tokens:
    return re.findall(r"\w+|[^\w\s]", text)


def passages() -> list[Tokens]:
    """Cut the descriptions where a line is empty."""
    loaders = (load_iris, load_digits, load_wine, load_breast_cancer, load_diabetes)
    texts = [part for load in loaders for part in re.split(r"\n\s*\n", load().DESCR)]
    return [tokens for text in texts if (tokens := tokens_of(text))]


class Embedder:
    """A small model: the vector of a text is the mean of its tokens' vectors."""

    def __init__(self) -> None:
        self.tables: list[tuple[int, int]] = []

    def embed(self, texts: list[Tokens]) -> Sequence[np.ndarray]:
        table = np.zeros((len(texts), max(map(len, texts))), dtype=np.intp)
        for row, tokens in zip(table, texts, strict=True):
            row[: len(tokens)] = [1 + crc32(token.encode()) % 4095 for token in tokens]
        self.tables.append(table.shape)
        counts = np.array([[len(tokens)] for tokens in texts])
        return VECTORS[table].sum(axis=1) / counts


def length_class(tokens: Tokens) -> int:
    """Put texts of like lengths together: up to 8 tokens, 16, 32, 64, ..."""
    return max(8, 1 << (len(tokens) - 1).bit_length())


async def measure(title: str, texts: list[Tokens], options: BatcherOptions) -> None:
    model = Embedder()
    async with Batcher(model.embed, **options) as batcher:
        await batcher.submit_many(texts)
    cells = [rows * width for rows, width in model.tables]
    padding = 1 - sum(map(len, texts)) / sum(cells)
    print(f"{title:36}{len(cells):6}{max(cells):14,}{padding:10.0%}")


async def main() -> None:
    texts = passages()
    lengths = sorted(map(len, texts))
    print(f"{len(texts)} passages of {lengths[0]} to {lengths[-1]} tokens\n")
    print(f"{'batches of':36}{'calls':>6}{'largest table':>14}{'padding':>10}")
    by_tokens: BatcherOptions = {"max_batch_weight": 1024, "weigh": len}
    alike: BatcherOptions = {**by_tokens, "key": length_class}
    await measure("64 passages", texts, {})
    await measure("1,024 tokens", texts, by_tokens)
    await measure("1,024 tokens, of like lengths", texts, alike)
    await measure("the same, and padding weighs too", texts, {**alike, "weigh": length_class})

    whole = tokens_of(load_breast_cancer().DESCR)
    strict: BatcherOptions = {**by_tokens, "overweight": "reject"}
    async with Batcher(Embedder().embed, **strict) as batcher:
        try:
            await batcher.submit(whole)
        except OverweightError as error:
            print(f"\na whole description: {error}")


if __name__ == "__main__":
    asyncio.run(main())
