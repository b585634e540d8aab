"""``blobfs status``: what a running node is doing. Asks its socket, never its mount.

The mount table says which store belongs to a mountpoint, and the store holds the socket.
"""

import json
import os
from pathlib import Path
from typing import Any

import click

from blobfs.control.client import fetch_status
from blobfs.errors import BlobfsError, StartRefused
from blobfs.fuse.mountinfo import FS_TYPE, read_mounts


def find_stores(mountpoint: str | None) -> list[tuple[str, Path]]:
    """Mountpoint and store of every blobfs mount, or of the one that is named. Raises `StartRefused`."""
    mounts = [mount for mount in read_mounts() if mount.fs_type == FS_TYPE]
    if mountpoint is not None:
        # realpath() of the parent only: the mount itself may be stuck.
        parent, last = os.path.split(os.path.abspath(mountpoint))
        wanted = os.path.join(os.path.realpath(parent), last)
        mounts = [mount for mount in mounts if mount.mount_point == wanted]
        if not mounts:
            raise StartRefused(f"no blobfs is mounted on {mountpoint}")
    return [(mount.mount_point, Path(mount.source)) for mount in mounts]


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
