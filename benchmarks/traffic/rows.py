"""The rows: traffic, and the handler that it meets; their names say all of it, times in ms.

``20+0.05n`` is a handler that takes 20 ms and 50 µs an item, ``64x2`` is batches of at most 64
items in two slots.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.traffic.sources import Bursts, Closed, Network, Poisson, Traffic
from benchmarks.traffic.stage import Setup


@dataclass(frozen=True)
class Row:
    """Some traffic and a handler."""

    name: str
    sources: Sequence[Traffic]
    setup: Setup

    @property
    def closed(self) -> bool:
        """Whether all requests wait for answers."""
        return all(source.closed for source in self.sources)

    @property
    def call(self) -> float:
        """Seconds of a handler call with as many items as it may find."""
        clients = sum(each.clients for each in self.sources if isinstance(each, Closed))
        return self.setup.call(clients if self.closed else self.setup.size)

    @property
    def rate(self) -> float:
        """Requests in a second that can be expected, at the most."""
        return sum(
            1 / (1 / each.rate + self.call / each.clients)
            if isinstance(each, Closed)
            else each.rate
            for each in self.sources
        )

    def seconds(self, calls: int, requests: int) -> float:
        """Give the seconds in which so many calls, and so many requests, can be expected."""
        rate = min(self.rate, self.setup.capacity)
        return max(calls * self.call, requests / rate)


def ms(seconds: float, per_item: float = 0.0, size: int = 64, slots: int = 1) -> Setup:
    """Give a handler by its milliseconds."""
    return Setup(seconds / 1e3, per_item / 1e3, size, slots)


def net(least: float, most: float, slow: float = 0.0) -> Network:
    """Give a network by the milliseconds of its round trips."""
    return Network(least / 1e3, most / 1e3, slow)


def named(setup: Setup) -> str:
    """Name a handler."""
    per_item = f"+{setup.per_item * 1e3:g}n" if setup.per_item else ""
    return f"{setup.seconds * 1e3:g}{per_item} {setup.size}x{setup.slots}"


def closed(clients: int, network: Network | None, *setups: Setup) -> Iterator[Row]:
    """Give rows of clients over a network; None is in process: they are back at once."""
    if network is None:
        where, network = "in process", Network()
    else:
        slow = f", {network.slow:.0%} slow" if network.slow else ""
        where = f"net {network.least * 1e3:g}-{network.most * 1e3:g}{slow}"
    for setup in setups:
        yield Row(f"closed {clients} {where} / {named(setup)}", [Closed(clients, network)], setup)


def poisson(setup: Setup, *rates: float) -> Iterator[Row]:
    """Give rows of steady arrivals, by their rates in a second."""
    for rate in rates:
        yield Row(f"poisson {rate:g}/s / {named(setup)}", [Poisson.steady(rate)], setup)


def bursts(size: int, every: float, spread: float, setup: Setup) -> Row:
    """Give a row of bursts, by milliseconds."""
    name = f"bursts of {size} in {spread:g} every {every:g} / {named(setup)}"
    return Row(name, [Bursts(size, every / 1e3, spread / 1e3)], setup)


def swing(rate: float, span: float, setup: Setup) -> Row:
    """Give a row of a rate that doubles and halves, each time after so many milliseconds."""
    phases = ((span / 1e3, rate), (span / 1e3, 2 * rate))
    name = f"swing {rate:g}-{2 * rate:g}/s every {span:g} / {named(setup)}"
    return Row(name, [Poisson(phases)], setup)


def on_off(rate: float, on: float, off: float, setup: Setup) -> Row:
    """Give a row of a rate that comes and goes, by milliseconds."""
    name = f"on/off {rate:g}/s {on:g} on {off:g} off / {named(setup)}"
    return Row(name, [Poisson(((on / 1e3, rate), (off / 1e3, 0.0)))], setup)


def mixed(clients: int, network: Network, rate: float, setup: Setup) -> Row:
    """Give a row of clients that wait, among arrivals that don't."""
    where = f"net {network.least * 1e3:g}-{network.most * 1e3:g}"
    name = f"mixed {clients} {where} + poisson {rate:g}/s / {named(setup)}"
    return Row(name, [Closed(clients, network), Poisson.steady(rate)], setup)


ROWS: list[Row] = [
    # Clients over a network: handlers of all lengths, with fixed and with per-item cost.
    *closed(64, net(0.2, 1), ms(0.2), ms(0.1, 0.002), ms(2), ms(2, 0.05), ms(0.4, 0.025)),
    *closed(64, net(1, 4), ms(2, 0.05), ms(20), ms(20, 0.05), ms(4, 0.25), ms(200), ms(40, 2.5)),
    *closed(32, net(0.2, 1), ms(2, 0.05)),
    # Batches larger and smaller than there are clients.
    *closed(64, net(1, 4), ms(20, 0.05, 128), ms(20, 0.05, 16)),
    *closed(48, net(1, 4), ms(20, 0.05)),
    *closed(100, net(1, 4), ms(20, 0.05)),
    *closed(128, net(1, 4), ms(20, 0.05)),
    *closed(20, net(1, 4), ms(20, 0.05, 16)),
    # A few clients.
    *closed(1, net(1, 4), ms(0.2), ms(2), ms(20, 0.05), ms(200)),
    *closed(2, net(1, 4), ms(20, 0.05)),
    *closed(8, net(5, 30), ms(20, 0.05)),
    # Networks that are slow, or now and then.
    *closed(64, net(5, 60), ms(20, 0.05), ms(2, 0.05)),
    *closed(64, net(1, 4, slow=0.01), ms(20, 0.05), ms(20, 0.05, 128)),
    # Slots.
    *closed(64, net(1, 4), ms(20, 0.05, slots=2), ms(20, 0.05, slots=4), ms(20, 0.05, 16, 4)),
    *closed(128, net(1, 4), ms(20, 0.05, slots=2), ms(200, 1, slots=3), ms(2, 0.05, slots=2)),
    *closed(256, net(1, 4), ms(20, 0.05, 128, 2), ms(20, 0.05, slots=4)),
    # In process.
    *closed(1, None, ms(2), ms(20, 0.05)),
    *closed(16, None, ms(20, 0.05)),
    *closed(64, None, ms(2, 0.05), ms(20, 0.05), ms(200), ms(20, 0.05, slots=2)),
    *closed(128, None, ms(20, 0.05, 16), ms(20, 0.05, slots=2)),
    # Arrivals that know nothing of each other, from a tenth to nine tenths of what can be handled.
    *poisson(ms(0.2, 0.005), 10_000, 60_000),
    *poisson(ms(2, 0.05), 1_200, 6_000, 11_000),
    *poisson(ms(2, 1), 300, 800),
    *poisson(ms(20, 0.05), 50, 300, 1_500, 2_500),
    *poisson(ms(20, 0.05, 128), 2_500),
    *poisson(ms(20, 0.05, 16), 400),
    *poisson(ms(200, 1), 30, 200),
    *poisson(ms(20, 0.05, slots=2), 1_500),
    *poisson(ms(20, 0.05, slots=4), 1_500, 9_000),
    # Bursts.
    bursts(32, 50, 5, ms(20, 0.05)),
    bursts(64, 30, 10, ms(20, 0.05)),
    bursts(100, 60, 20, ms(20, 0.05, slots=2)),
    bursts(16, 5, 1, ms(2, 0.05)),
    bursts(8, 500, 100, ms(200, 1)),
    # A rate that doubles and halves, and one that comes and goes.
    swing(750, 500, ms(20, 0.05)),
    swing(1_200, 2_000, ms(20, 0.05)),
    swing(3_000, 100, ms(2, 0.05)),
    swing(4_000, 500, ms(20, 0.05, slots=4)),
    on_off(2_000, 100, 200, ms(20, 0.05)),
    on_off(6_000, 20, 30, ms(2, 0.05)),
    on_off(200, 2_000, 2_000, ms(200, 1)),
    on_off(4_000, 100, 200, ms(20, 0.05, slots=2)),
    # Both.
    mixed(32, net(1, 4), 500, ms(20, 0.05)),
    mixed(16, net(0.2, 1), 3_000, ms(2, 0.05)),
]


def chosen(words: Sequence[str]) -> list[Row]:
    """Give the rows whose name has one of the words; all, where there are none."""
    return [row for row in ROWS if not words or any(word in row.name for word in words)]
