"""``blobfs reload``: has a running node read its settings again. Asks its socket, never its mount.

Exit codes: 0 the settings are in force, as far as they can be without a restart; 1 they are refused, and the
old ones stay; 2 wrong usage.
"""

import json

import click

from blobfs.cli.arguments import mountpoint_argument
from blobfs.cli.targets import find_stores
from blobfs.cli.words import printable
from blobfs.control import client
from blobfs.errors import BlobfsError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: what changed, as JSON.")
@mountpoint_argument
def reload(mountpoint: str, as_json: bool) -> None:
    """Have the node on MOUNTPOINT read its settings again, from where it has them.

    Shares, limits, quota and log level change at once, and nobody's read fails. If something is wrong with
    the new settings, the old ones stay. SIGHUP does the same.
    """
    try:
        _, store = find_stores(mountpoint)[-1]
        found = client.reload(store)
    except BlobfsError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name in found["changed"]:
        click.echo(printable(f"changed: {name}"))
    if not found["changed"]:
        click.echo("nothing has changed")
    for name in found["needs_restart"]:
        click.echo(printable(f"needs a restart: {name}"), err=True)
