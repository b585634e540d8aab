"""``blobfs abort``: frees a mount that is stuck. Asks nobody but the kernel, and never touches the mount.

Exit codes: 0 nothing waits for the mount any more, and it is gone; 1 not so; 2 wrong usage.
"""

import sys
import time
from pathlib import Path

import click
import trio

from blobfs.cli.arguments import mountpoint_argument
from blobfs.cli.targets import find_mounts
from blobfs.control.liveness import is_alive, pid_of_store, reason_for_silence
from blobfs.errors import BlobfsError, OperationRefused
from blobfs.fuse.cutting import cut
from blobfs.fuse.mountinfo import Mount
from blobfs.fuse.mountpoint import detach

DAEMON_END = 5.0
"""Seconds for the daemon to notice and end: readers that still wait in it get 2. Longer than that it has
something to seal, or is stuck itself."""
LOOK = 0.05


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@mountpoint_argument
def abort(mountpoint: str, yes: bool) -> None:
    """Free the mount on MOUNTPOINT when its daemon is stuck, and remove it.

    Every program that waits for the mount gets an error at once, every file that is open there is lost to it;
    what was written and not closed is lost. `blobfs unmount` is what a daemon that answers wants.
    """
    try:
        mount = find_mounts(mountpoint)[-1]
        if not yes and sys.stdin.isatty():
            question = f"Every file that is open in {mount.mount_point} is cut off. Abort?"
            click.confirm(question, abort=True, err=True)
        _free(mount)
    except BlobfsError as error:
        raise click.ClickException(str(error)) from error
    _tell_of_daemon(Path(mount.source))


def _free(mount: Mount) -> None:
    if cut(mount):
        click.echo(f"cut {mount.mount_point} off from its daemon: what waited for it has failed")
    else:
        click.echo(f"{mount.mount_point} was cut off before")
    try:
        trio.run(detach, mount.mount_point)
    except OSError as error:
        if any(mount.shows(other) for other in find_mounts(None)):  # else its daemon was faster
            raise OperationRefused(f"cannot unmount {mount.mount_point}: {error.strerror}") from error
    click.echo(f"unmounted {mount.mount_point}")


def _tell_of_daemon(store: Path) -> None:
    pid = pid_of_store(store)
    if pid is None:
        click.echo("which daemon served it is not known: its store cannot be read", err=True)
        return
    end = time.monotonic() + DAEMON_END
    while is_alive(pid) and reason_for_silence(pid) is None and time.monotonic() < end:
        time.sleep(LOOK)
    if not is_alive(pid):
        click.echo(f"its daemon (pid {pid}) has ended")
    else:
        why = reason_for_silence(pid) or "it may be sealing what was closed"
        click.echo(f"its daemon (pid {pid}) still runs: {why}; kill -9 {pid} ends it", err=True)
