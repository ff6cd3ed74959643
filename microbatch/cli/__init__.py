"""The command line: parsing and printing only. It needs the extra ``cli``."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command ``microbatch``; without its extra, say what to install and exit with 2."""
    try:
        from microbatch.cli.app import app  # noqa: PLC0415 - it may be missing what it needs
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("click", "rich"):
            raise
        sys.stderr.write(
            f"microbatch needs {missing}: pip install click rich, "
            "or microbatch with its extra 'cli'\n"
        )
        sys.exit(2)
    app(prog_name="microbatch")
