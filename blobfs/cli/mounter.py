"""``blobfs mounter``: mounts with all privileges, so that the daemon needs none. For ``ExecStartPre=+``.

It leaves the connection to the kernel in the service's descriptor store (sd_notify(3)), from where the daemon
takes it (`daemon.readiness`). What a dead daemon left on the mountpoint it removes.
"""

import os
import pwd
from pathlib import Path

import click
import trio

from blobfs.config.settings import NodeSettings
from blobfs.config.sources import read_settings
from blobfs.daemon.readiness import store_mount_descriptor
from blobfs.errors import BlobfsError, ConfigRefused
from blobfs.fuse.mountpoint import prepare_mountpoint
from blobfs.fuse.premount import premount
from blobfs.fuse.way import make_way


@click.command(hidden=True)
@click.option("--config", type=click.Path(path_type=Path), help="The node's configuration file.")
@click.option("--user", required=True, help="Whom the daemon runs as.")
@click.option("-o", "options", multiple=True, metavar="OPTS", help="As for `blobfs mount`.")
@click.option("--record", type=click.Path(path_type=Path), help="Gets the mountpoint, for `unmounter`.")
@click.argument(
    "mountpoint", required=False
)  # not click.Path, which looks at it: the mount there may be dead
def mounter(
    config: Path | None, user: str, options: tuple[str, ...], record: Path | None, mountpoint: str | None
) -> None:
    """Mount for a daemon that runs as another user, and leave it the connection.

    Under systemd only, which passes it on. Needs the right to mount.
    """
    if "NOTIFY_SOCKET" not in os.environ:
        raise click.UsageError("this is for a service of systemd, with FileDescriptorStoreMax=1")
    account = find_account(user)
    os.umask(0o022)  # the service's own is for its store: everybody may pass through what is made here
    try:
        settings = read_settings(None if mountpoint is None else Path(mountpoint), config, options, {})
        target, descriptor = trio.run(mount_for, account, settings)
    except ConfigRefused:
        return  # the daemon says it: only its exit code, 2, keeps the service from being started again
    except BlobfsError as error:
        raise click.ClickException(str(error)) from error
    if record is not None:
        record.write_bytes(os.fsencode(target))
    store_mount_descriptor(descriptor)


def find_account(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise click.UsageError(f"there is no user {user}") from None


async def mount_for(account: pwd.struct_passwd, settings: NodeSettings) -> tuple[str, int]:
    """Where it is mounted now, and the connection's descriptor. Raises `StartRefused`."""
    # What is not there need not be: it is a service's own directory.
    way = await trio.to_thread.run_sync(make_way, str(settings.mountpoint))
    target = await prepare_mountpoint(way, nonempty=settings.nonempty)
    source = os.path.abspath(settings.store)
    descriptor = premount(target, source, account.pw_uid, account.pw_gid, read_only=settings.read_only)
    return target, descriptor
