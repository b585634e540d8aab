"""The command ``blobfs`` and its errors: one line each, exit code 1, or 2 for wrong usage."""

import click

from blobfs.cli.identify import identify
from blobfs.cli.mount import mount
from blobfs.cli.serve import serve
from blobfs.cli.status import status
from blobfs.cli.unmount import unmount


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="blobfs")
def main() -> None:
    """A file system that shares what is written to it and loads what is read from it."""


for command in (mount, serve, unmount, identify, status):
    main.add_command(command)
