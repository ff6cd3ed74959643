"""The probes: each does one thing to a library, and judges what it sees."""

from conformance.probes import answering, cancelling, closing, failing, loops, tasks, vain, waiting
from conformance.probes.probe import Probe

PROBES: dict[str, Probe] = {
    probe.name: probe
    for module in (cancelling, failing, answering, waiting, vain, tasks, loops, closing)
    for probe in vars(module).values()
    if isinstance(probe, Probe)
}
