"""``blobfs status``: what a running node is doing. Asks its socket, never its mount."""

import json
from typing import Any

import click

from blobfs.control.client import fetch_status, find_stores
from blobfs.errors import BlobfsError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: everything there is, as JSON.")
@click.argument("mountpoint", required=False, type=click.Path())
def status(mountpoint: str | None, as_json: bool) -> None:
    """Show what the node on MOUNTPOINT (all of them, if it is not given) is doing."""
    try:
        stores = find_stores(mountpoint)
        found = [fetch_status(store) for _, store in stores]
    except BlobfsError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(found[0] if mountpoint is not None else found, indent=2))
        return
    if not found:
        click.echo("no blobfs is mounted")
    for each in found:
        click.echo(_describe(each))


def _describe(found: dict[str, Any]) -> str:
    operations = {name: count for name, count in found["operations"].items() if name != "errors"}
    failed = found["operations"]["errors"] or "none"
    lines = [
        f"{found['mountpoint']}  pid {found['pid']}, store {found['store']['path']}"
        + (", read-only" if found["read_only"] else ""),
        f"  serves    {found['listen'] or 'nothing over HTTP'}",
        f"  sealing   {found['sealing']['pending']} pending, {found['sealing']['sealed']} sealed",
        f"  loading   {found['loading']['loads']} loads, {found['loading']['in_flight']} chunks in flight, "
        f"{found['loading']['completed']} completed",
        f"  requests  {sum(operations.values())} from the kernel, errors {failed}",
    ]
    for share in found["shares"]:
        lines.append(
            f"  share     {share['url']}  {'down' if share['down'] else 'up'}, {share['received']} bytes"
        )
    return "\n".join(lines)
