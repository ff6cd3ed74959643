"""One SQLite database for each tenant, written to in batches: fair to all, and paying ones first.

A batch is one transaction in one database, so its events must be of one tenant. SQLite has one
writer for each database, so no tenant needs more than one slot.
"""

import asyncio
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from microbatch import Batcher, current_batch


@dataclass(frozen=True)
class Event:
    tenant: str
    text: str


PAYING = {"clinic"}


class Databases:
    """Keep each tenant's events in a file of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: list[tuple[str, int]] = []

    def write(self, events: list[Event]) -> None:
        """Write events of one tenant in one transaction; this runs in a thread."""
        tenant: str = current_batch().key
        self.written.append((tenant, len(events)))
        with closing(sqlite3.connect(self.folder / f"{tenant}.db")) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS events (text TEXT)")
            database.executemany("INSERT INTO events VALUES (?)", [(e.text,) for e in events])

    def count(self, tenant: str) -> int:
        with closing(sqlite3.connect(self.folder / f"{tenant}.db")) as database:
            return database.execute("SELECT count(*) FROM events").fetchone()[0]


async def write_all(databases: Databases) -> None:
    """Let a noisy tenant come first with 2,000 events, and three others then with 5 each."""
    async with Batcher(
        databases.write,
        max_batch_size=100,
        key=lambda event: event.tenant,
        max_concurrent_batches=2,
        max_concurrent_batches_per_key=1,  # whoever is noisy, a slot is left for the others
        priority=lambda event: 0 if event.tenant in PAYING else 1,
        ageing=0.5,  # to pay is worth half a second in the queue, and no more
    ) as batcher:
        counts = {"noisy": 2_000, "bakery": 5, "florist": 5, "clinic": 5}
        events = [Event(name, f"event {n}") for name, count in counts.items() for n in range(count)]
        await asyncio.gather(*map(batcher.submit, events))


def main() -> None:
    with TemporaryDirectory() as folder:
        databases = Databases(Path(folder))
        asyncio.run(write_all(databases))
        order = [tenant for tenant, _ in databases.written]
        batches = Counter(order)
        for tenant in sorted(batches, key=order.index):
            events = f"{databases.count(tenant):5,} events in {batches[tenant]:2} transactions"
            print(f"{tenant:8}{events}, the first was number {order.index(tenant) + 1}")


if __name__ == "__main__":
    main()
