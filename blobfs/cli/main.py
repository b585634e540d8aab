"""The command ``blobfs`` and its errors: one line each, exit code 1, or 2 for wrong usage."""

import errno
import sys

import click

from blobfs.cli.identify import identify
from blobfs.cli.mount import mount
from blobfs.cli.serve import serve
from blobfs.cli.status import status
from blobfs.cli.unmount import unmount
from blobfs.cli.why import why


class Commands(click.Group):
    """The commands; what the system refuses them is one line as well."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            found = super().invoke(ctx)
            sys.stdout.flush()  # a full disk is noticed here, or nowhere
            return found
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # click ends quietly then: the reader has seen enough
            raise click.ClickException(error.strerror or str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="blobfs")
def main() -> None:
    """A file system that shares what is written to it and loads what is read from it."""


for command in (mount, serve, unmount, identify, status, why):
    main.add_command(command)
