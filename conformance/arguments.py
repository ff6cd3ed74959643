"""Read what is said on a command line; what is wrong names the rule and the value."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from conformance.peers import NAMES
from conformance.probes import PROBES


def names(kind: str, known: Sequence[str], text: str) -> list[str]:
    """Read names with commas between; give them in the order of the known ones."""
    given = [name.strip() for name in text.split(",") if name.strip()]
    for name in given:
        if name not in known:
            raise argparse.ArgumentTypeError(
                f"there is no {kind} {name!r}; there are {', '.join(known)}"
            )
    if not given:
        raise argparse.ArgumentTypeError(f"must name at least one {kind}, got {text!r}")
    return [name for name in known if name in given]


def peers(text: str) -> list[str]:
    """Read names of libraries."""
    return names("peer", NAMES, text)


def probes(text: str) -> list[str]:
    """Read names of probes."""
    return names("probe", [*PROBES], text)


def seconds(text: str) -> float:
    """Read a length of time."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds > 0, got {text!r}")
    return value


def output(text: str) -> Path:
    """Read the path of a file that can be written, before anything takes time."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file in a folder that exists, got {text!r}")
    return path


def count(text: str) -> int:
    """Read how many."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer >= 1, got {text!r}")
    return int(text)
