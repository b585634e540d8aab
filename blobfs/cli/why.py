"""``blobfs why``: what is known of a name and what went wrong last. Asks the node's socket, never its mount.

Exit codes: 0 it is shown, also when nothing is known; 1 the node cannot be asked; 2 that is no name.
"""

import json

import click

from blobfs.cli.arguments import complete_file, mountpoint_argument
from blobfs.cli.explained import describe
from blobfs.cli.targets import find_name, find_stores
from blobfs.control.client import fetch_explanation
from blobfs.errors import BlobfsError, InvalidName


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: everything there is, as JSON.")
@mountpoint_argument
@click.argument("name", shell_complete=complete_file)
def why(mountpoint: str, name: str, as_json: bool) -> None:
    """Show what is known of NAME, and what went wrong last.

    NAME is a name or a path in MOUNTPOINT, or a blob id. No share is asked: it answers when all are dead.
    """
    try:
        mounted, store = find_stores(mountpoint)[-1]
        wanted = find_name(mounted, name)
        if wanted is None:
            raise click.UsageError(f"{name} is not in {mountpoint}")
        found = fetch_explanation(store, wanted)
    except InvalidName as error:
        raise click.UsageError(str(error)) from error
    except BlobfsError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(describe(found)))
