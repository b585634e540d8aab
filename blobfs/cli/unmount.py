"""``blobfs unmount``: ends a mount from outside; its daemon notices and ends well."""

from pathlib import Path

import click
import trio

from blobfs.cli.arguments import mountpoint_argument
from blobfs.errors import BlobfsError
from blobfs.fuse import mountpoint as mountpoints
from blobfs.store.opening import wait_until_closed

DAEMON_END = 10.0
"""Seconds for the daemon to end: open files get 2, and what was closed is sealed."""


@click.command()
@click.option("--lazy", is_flag=True, help="Also while it is in use: open files get a moment to be closed.")
@mountpoint_argument
def unmount(mountpoint: str, lazy: bool) -> None:
    """Unmount a blobfs mount. Also removes what a daemon that was killed left behind."""
    try:
        trio.run(_unmount, mountpoint, lazy)
    except BlobfsError as error:
        raise click.ClickException(str(error)) from error


async def _unmount(mountpoint: str, lazy: bool) -> None:
    mount = await mountpoints.unmount(mountpoint, lazy=lazy)
    await _wait_for_daemon(Path(mount.source))


async def _wait_for_daemon(store: Path) -> None:
    """Whoever unmounts may want to mount again at once: the store has one daemon at a time."""
    with trio.move_on_after(DAEMON_END):
        await trio.to_thread.run_sync(wait_until_closed, store, abandon_on_cancel=True)
        return
    click.echo(f"unmounted; the daemon of {store} is still sealing what was closed", err=True)
