"""``blobfs status``: what a running node is doing. Asks its socket, never its mount.

Exit codes: 0 it is shown; 1 a node cannot be asked, the others are shown; 2 wrong usage.
"""

import json
from importlib import import_module

import click

from blobfs.cli.arguments import complete_mountpoint
from blobfs.cli.status_words import describe
from blobfs.cli.watch_poll import look
from blobfs.cli.words import printable
from blobfs.errors import BlobfsError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: everything there is, as JSON.")
@click.option("--watch", "watches", is_flag=True, help="Show it anew every second, until q or Ctrl-C.")
@click.argument("mountpoint", required=False, shell_complete=complete_mountpoint)
def status(mountpoint: str | None, as_json: bool, watches: bool) -> None:
    """Show what the node on MOUNTPOINT (all of them, if it is not given) is doing.

    With --watch it fits itself to the terminal; where there is none, and with --json (one line each), it
    goes on below. A node that ends is waited for.
    """
    try:
        if watches:
            import_module("blobfs.cli.watch").watch(mountpoint, as_json)
            return
        nodes = list(look(mountpoint, {}).values())
    except BlobfsError as error:
        raise click.ClickException(str(error)) from error
    if mountpoint is not None and nodes[0].trouble is not None:
        raise click.ClickException(nodes[0].trouble)
    if as_json:
        found = [node.fields() for node in nodes]
        click.echo(json.dumps(found if mountpoint is None else found[0], indent=2))
    elif not nodes:
        click.echo("no blobfs is mounted")
    for node in nodes:
        if node.trouble is not None:
            click.echo(printable(f"Error: {node.trouble}"), err=True)
        elif node.status is not None and not as_json:
            click.echo("\n".join(map(printable, describe(node.status))))
    if any(node.trouble is not None for node in nodes):
        raise SystemExit(1)
