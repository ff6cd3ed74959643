"""The streaming example runs as its readers run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "streaming.py"

OUTPUT = """\
[a step for 3]
Ann: and
Bob: dog
Cleo: the
[a step for 3]
Ann: the
Bob: sees
Bob has heard enough
Cleo: bird
[a step for 2]
Ann: bird
Cleo: sings
[a step for 2]
Ann: sings
Cleo has heard all
[a step for 1]
Ann has heard all
[the batch has ended]
[a step for 1]
[a step for 1]
[a step for 1]
[a step for 1]
[a step for 1]
at once: ['sees', 'the', 'bird', 'sings']
[the batch has ended]
"""


def test_each_caller_hears_its_own_words_as_they_come() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE)],
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == OUTPUT
