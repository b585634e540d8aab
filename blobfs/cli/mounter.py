"""``blobfs mounter``: mounts with all privileges, so that the daemon needs none. For ``ExecStartPre=+``.

It leaves the connection to the kernel in the service's descriptor store (sd_notify(3)), from where the daemon
takes it (`daemon.readiness`). What a dead daemon left on the mountpoint it removes.
"""

import contextlib
import os
import pwd
from pathlib import Path

import click
import trio

from blobfs.config.settings import NodeSettings
from blobfs.config.sources import read_settings
from blobfs.daemon.readiness import store_mount_descriptor
from blobfs.errors import BlobfsError
from blobfs.fuse.mountpoint import prepare_mountpoint
from blobfs.fuse.premount import premount


@click.command(hidden=True)
@click.option("--config", type=click.Path(path_type=Path), help="The node's configuration file.")
@click.option("--user", required=True, help="Whom the daemon runs as.")
@click.option("-o", "options", multiple=True, metavar="OPTS", help="As for `blobfs mount`.")
@click.argument("mountpoint", required=False, type=click.Path(path_type=Path))
def mounter(config: Path | None, user: str, options: tuple[str, ...], mountpoint: Path | None) -> None:
    """Mount for a daemon that runs as another user, and leave it the connection.

    Under systemd only, which passes it on. Needs the right to mount.
    """
    if "NOTIFY_SOCKET" not in os.environ:
        raise click.UsageError("this is for a service of systemd, with FileDescriptorStoreMax=1")
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise click.UsageError(f"there is no user {user}") from None
    try:
        settings = read_settings(mountpoint, config, options, {})
        descriptor = trio.run(_mount, settings, account)
    except BlobfsError as error:
        raise click.ClickException(str(error)) from error
    store_mount_descriptor(descriptor)


async def _mount(settings: NodeSettings, account: pwd.struct_passwd) -> int:
    # What is not there need not be: it is a service's own directory.
    await trio.to_thread.run_sync(_make_directory, settings.mountpoint)
    target = await prepare_mountpoint(str(settings.mountpoint), nonempty=settings.nonempty)
    source = os.path.abspath(settings.store)
    return premount(target, source, account.pw_uid, account.pw_gid, read_only=settings.read_only)


def _make_directory(path: Path) -> None:
    """Does not look at what is there: a dead mount cannot be looked at."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o755)
