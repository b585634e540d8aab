"""``blobfs status``: what a running node is doing. Asks its socket, never its mount.

Exit codes: 0 it is shown; 1 the node cannot be asked; 2 wrong usage.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from blobfs.cli.arguments import complete_mountpoint
from blobfs.cli.status_words import describe
from blobfs.cli.targets import find_stores
from blobfs.control.client import fetch_status
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
        found = [_asked(*place) for place in find_stores(mountpoint)]
    except BlobfsError as error:
        raise click.ClickException(str(error)) from error
    well = [each for each in found if "error" not in each]
    if as_json and (well or mountpoint is None):
        click.echo(json.dumps(found[-1] if mountpoint is not None else found, indent=2))
    elif not found:
        click.echo("no blobfs is mounted")
    else:
        for each in well:
            click.echo("\n".join(describe(each)))
    for each in found:
        if "error" in each:
            click.echo(f"Error: {each['error']}", err=True)
    if len(well) < len(found):
        raise SystemExit(1)


def _asked(mountpoint: str, store: Path) -> dict[str, Any]:
    """A node that does not answer keeps nobody from seeing the others."""
    try:
        return fetch_status(store)
    except BlobfsError as failure:
        return {"mountpoint": mountpoint, "error": str(failure)}
