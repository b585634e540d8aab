"""``blobfs unmount``: ends a mount from outside; its daemon notices and ends well."""

from pathlib import Path

import click
import trio

from blobfs.cli.arguments import mountpoint_argument
from blobfs.control.liveness import is_stopped, pid_of_store, reason_for_silence
from blobfs.errors import BlobfsError
from blobfs.fuse import mountpoint as mountpoints
from blobfs.store.opening import wait_until_closed

DAEMON_END = 10.0
"""Seconds for the daemon to end: open files get 2, and what was closed is sealed."""
LOOK = 1.0
"""Seconds between two looks at whether it is stopped."""


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
    pid = pid_of_store(store)
    why: str | None = None
    async with trio.open_nursery() as nursery:

        async def look() -> None:
            nonlocal why
            for _ in range(int(DAEMON_END / LOOK)):
                await trio.sleep(LOOK)
                if pid is not None and is_stopped(pid):
                    why = reason_for_silence(pid)
                    break
            else:
                why = "it is still sealing what was closed"
            nursery.cancel_scope.cancel()

        nursery.start_soon(look)
        await trio.to_thread.run_sync(wait_until_closed, store, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()
    if why is not None:
        click.echo(f"unmounted; the daemon of {store} (pid {pid or 'unknown'}) still runs: {why}", err=True)
