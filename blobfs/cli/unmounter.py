"""``blobfs unmounter``: takes down what ``blobfs mounter`` has mounted. For ``ExecStop=+`` and
``ExecStopPost=+``.

It goes by what was recorded at the mount, not by the configuration: a file that was edited meanwhile, or
broken, keeps no service from being stopped. It touches no mount, for that may be stuck.

1. The daemon lives (``MAINPID``): the mount is detached, in use or not. The daemon notices, and is waited
   for: it serves what is open for a moment, and seals what was closed.
2. It is dead: its connection is cut first, so that whoever still waits for it is told, then the mount goes.
"""

import contextlib
import os
import select
from pathlib import Path

import click

from blobfs.control.liveness import is_stopped
from blobfs.errors import OperationRefused
from blobfs.fuse.cutting import cut
from blobfs.fuse.mountinfo import FS_TYPE, Mount, find_mount
from blobfs.fuse.way import detach_as_root

DAEMON_END = 45.0
"""Seconds for the daemon to end: open files get 2, what was closed and is not sealed gets 20. Less than the
service's TimeoutStopSec: the rest is systemd's to end."""

MAX_LAYERS = 64
"""Mounts on one directory, one over the other; more means that they come back."""


@click.command(hidden=True)
@click.option("--record", type=click.Path(path_type=Path), required=True, help="What `mounter` wrote.")
def unmounter(record: Path) -> None:
    """Unmount what the daemon of this service serves or has left. Nothing to do is fine."""
    try:
        target = os.fsdecode(record.read_bytes())
    except FileNotFoundError:
        return  # nothing was mounted, or it is gone already
    daemon = os.environ.get("MAINPID", "")
    if daemon.isdigit():
        _detach(target, is_dead=False)
        _wait_for(int(daemon))
    else:
        _detach(target, is_dead=True)
    record.unlink(missing_ok=True)


def _detach(target: str, *, is_dead: bool) -> None:
    for _ in range(MAX_LAYERS):
        mount = find_mount(target)
        if mount is None or mount.fs_type != FS_TYPE:
            return
        if is_dead:
            _cut(mount)
        try:
            detach_as_root(target)
        except OSError as error:
            raise click.ClickException(f"cannot unmount {target}: {error.strerror}") from error
        click.echo(f"unmounted {target}" + (", whose daemon is dead" if is_dead else ""))


def _cut(mount: Mount) -> None:
    try:
        cut(mount)
    except OperationRefused as refused:  # it is unmounted all the same
        click.echo(str(refused), err=True)


def _wait_for(pid: int) -> None:
    """Until the daemon has ended, or long enough. One that is stopped ends when systemd lets it go on."""
    if is_stopped(pid):
        return
    with contextlib.suppress(ProcessLookupError):
        daemon = os.pidfd_open(pid)
        try:
            if not select.select([daemon], [], [], DAEMON_END)[0]:
                click.echo(f"the daemon {pid} has not ended within {DAEMON_END:.0f} s", err=True)
        finally:
            os.close(daemon)
