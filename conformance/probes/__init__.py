"""The probes: each does one thing to a library, and judges what it sees."""

from conformance.probes import cancelling, closing, failing, loops, waiting
from conformance.probes.probe import Probe

PROBES: dict[str, Probe] = {
    probe.name: probe
    for module in (cancelling, failing, waiting, loops, closing)
    for probe in vars(module).values()
    if isinstance(probe, Probe)
}
