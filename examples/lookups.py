"""Rows of a database, looked up one by one by the program and many at once by the query.

200 orders are printed concurrently, and each needs the name of its customer. Asked one by one, that
is the N+1 problem: one query for the orders, and one more for every order.
"""

import asyncio
import sqlite3

from microbatch import batched

# Worker threads use the connection, never two at once.
database = sqlite3.connect(":memory:", check_same_thread=False)
queries: list[str] = []


def fill() -> None:
    """Make 40 customers and 200 orders; order 13 is of a customer who is gone."""
    database.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)")
    database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER)")
    names = [(number, f"Customer {number}") for number in range(40)]
    orders = [(number, 99 if number == 13 else number % 40) for number in range(200)]
    database.executemany("INSERT INTO customers VALUES (?, ?)", names)
    database.executemany("INSERT INTO orders VALUES (?, ?)", orders)
    database.set_trace_callback(queries.append)  # from here on, every query is counted


@batched(max_batch_size=500, dedupe=lambda number: number)
def customer(numbers: list[int]) -> list[str | LookupError]:
    """Find many names with one query; this runs in a thread."""
    marks = ", ".join("?" * len(numbers))
    query = f"SELECT id, name FROM customers WHERE id IN ({marks})"
    found = dict(database.execute(query, numbers).fetchall())
    # In the order of the numbers, which is not the order of the rows. One that is missing fails
    # alone: with found.get(number) its caller would get None instead.
    return [found.get(number) or LookupError(f"no customer {number}") for number in numbers]


def customer_alone(number: int) -> str:
    """Find one name, as it is done without batches."""
    row = database.execute("SELECT name FROM customers WHERE id = ?", (number,)).fetchone()
    return row[0] if row else f"no customer {number}"


async def label(order: int, number: int) -> str:
    """Print one order's label: this code knows nothing of batches."""
    try:
        return f"order {order} for {await customer(number)}"
    except LookupError as error:
        return f"order {order}: {error}"


async def main() -> None:
    fill()
    orders = database.execute("SELECT id, customer FROM orders").fetchall()
    for _, number in orders:
        customer_alone(number)
    print("one by one: ", len(queries), "queries")

    queries.clear()
    orders = database.execute("SELECT id, customer FROM orders").fetchall()
    labels = await asyncio.gather(*(label(order, number) for order, number in orders))
    print("in batches: ", len(queries), "queries")

    now = customer.statistics()
    print(now.submitted, "lookups,", now.deduplicated, "were the same as another one's")
    print(labels[0], "|", labels[13], "|", labels[199])


if __name__ == "__main__":
    asyncio.run(main())
    database.close()
