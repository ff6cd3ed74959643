"""The compiled core; everything else is declared in pyproject.toml."""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

CORE = Extension(
    "microbatch._core",
    ["microbatch/_core.pyx"],
    depends=[str(path) for path in Path("microbatch/_native").iterdir()],
    include_dirs=["microbatch"],
    extra_compile_args=[] if sys.platform == "win32" else ["-O3"],
)

BUILDS = {"": [CORE], "pure": []}

build = os.environ.get("MICROBATCH_BUILD", "")
if build not in BUILDS:
    raise SystemExit(f"MICROBATCH_BUILD must be empty or 'pure', got {build!r}")

setup(
    ext_modules=BUILDS[build],
    # The generated C belongs among the build's temporary files, not beside the .pyx.
    options={"build_ext": {"cython_c_in_temp": True}},
)
