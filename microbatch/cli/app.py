"""The command ``microbatch`` and its subcommands."""

import click

from microbatch.cli.demo import demo
from microbatch.cli.run import run

__all__ = ["app"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="microbatch")
def app() -> None:
    """Many callers, one handler call: micro-batching from the command line."""


app.add_command(demo)
app.add_command(run)
