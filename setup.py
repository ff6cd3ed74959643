"""The compiled core; everything else is declared in pyproject.toml."""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

UNIX = sys.platform != "win32"

# Set by the nox session of that name: what goes wrong with memory then ends the process.
SANITIZED = bool(os.environ.get("MICROBATCH_SANITIZED"))
SANITIZERS = ["-fsanitize=address,undefined"]
WATCHED = [*SANITIZERS, "-O1", "-g", "-fno-omit-frame-pointer"]
FAST = ["-O3"] if UNIX else []

CORE = Extension(
    "microbatch._core",
    ["microbatch/_core.pyx"],
    depends=[str(path) for path in Path("microbatch/_native").iterdir()],
    include_dirs=["microbatch"],
    extra_compile_args=WATCHED if SANITIZED else FAST,
    extra_link_args=SANITIZERS if SANITIZED else [],
    # What is marked as inline is so for a reason: a compiler that counts lines leaves the shortest
    # ways of an item out of line, which cost a tenth of it.
    define_macros=[("CYTHON_INLINE", "inline __attribute__((always_inline))")] if UNIX else [],
)

setup(
    ext_modules=[CORE],
    # The generated C belongs among the build's temporary files, not beside the .pyx.
    options={"build_ext": {"cython_c_in_temp": True}},
)
