"""``blobfs mount-fstab``: what mount(8) calls for ``mount -t fuse.blobfs CONFIG MOUNTPOINT``, by way of
/sbin/mount.fuse.blobfs.

CONFIG is a configuration file, or the name of one in /etc/blobfs. Called by root, it mounts, starts the
daemon as a user without privileges, hands it the connection, and returns when the mount can be read. Called
by another user (``user`` in fstab), the daemon is that user's own, and mounts with fusermount3.
"""

import fcntl
import os
import pwd
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn

import click
import trio

from blobfs.cli.handing_over import environment_for, no_terminal
from blobfs.cli.mounter import find_account, mount_for
from blobfs.config.settings import NodeSettings
from blobfs.config.sources import read_settings
from blobfs.daemon.readiness import FUSE_DESCRIPTOR
from blobfs.errors import BlobfsError, StartRefused
from blobfs.fuse.mountinfo import FS_TYPE, find_mount, find_mount_of
from blobfs.fuse.mountpoint import detach
from blobfs.store.opening import wait_until_closed

CONFIGURATIONS = Path("/etc/blobfs")
USER = "blobfs"
"""Whom the daemon runs as, unless the option ``run_as`` names another."""

MOUNT_FAILED = 32
"""What mount(8) ends with then."""

DAEMON_END = 25.0
"""Seconds for the daemon before this one to end: open files get 2, what was closed gets 20."""

PROBE_SECONDS = 0.5
"""How long it takes to see that a store is in use."""

PASSED_AT = 3
"""Where the first passed descriptor is (sd_listen_fds(3))."""

_MOUNTED, _READY = b"m", b"1"
"""What the starter is told. From the first on a failure leaves a mount behind; the daemon says the second."""

_RUN_AS = re.compile(r"(?:^|,)run_as=([^,]*)")
_REMOUNT = re.compile(r"(?:^|,)remount(?:,|$)")


@click.command("mount-fstab", hidden=True)
@click.option("-o", "options", multiple=True, metavar="OPTS", help="As for `blobfs mount`; run_as=USER.")
@click.option("-f", "only_check", is_flag=True, help="Do not mount, look at the configuration.")
@click.option("-t", "_type", metavar="TYPE", help="Ignored, as -N, -n, -s and -v are.")
@click.option("-N", "_namespace", metavar="NAMESPACE", hidden=True)
@click.option("-n/-s/-v", "ignored", is_flag=True, hidden=True)
@click.argument("source", metavar="CONFIG")
@click.argument("mountpoint")  # not click.Path, which looks at it: the mount there may be dead
def mount_fstab(
    source: str, mountpoint: str, options: tuple[str, ...], only_check: bool, **_: object
) -> None:
    """Mount for mount(8) and fstab."""
    config = find_configuration(source)
    try:
        user, left = split_options(options)
        settings = read_settings(Path(mountpoint), config, left, {})
        if only_check:
            return
        command = ["mount", "--config", str(config), *(f"-o{group}" for group in left)]
        if os.geteuid() == 0:
            with no_terminal():
                _start(user, settings, command)
        else:
            _become([*_python(), *command, "--background", mountpoint], os.environ)
    except BlobfsError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(MOUNT_FAILED) from error


def find_configuration(source: str) -> Path:
    """``/etc/blobfs/NAME.toml`` for a NAME, else the file itself."""
    return Path(source) if "/" in source else CONFIGURATIONS / f"{source}.toml"


def split_options(groups: Iterable[str]) -> tuple[str, list[str]]:
    """Who runs the daemon, and the options that are for it, grouped as they were. Raises `StartRefused`."""
    user, left = USER, []
    for group in groups:
        if _REMOUNT.search(group):
            raise StartRefused("blobfs is not remounted: change its configuration, then `blobfs reload`")
        user = [user, *_RUN_AS.findall(group)][-1]
        if rest := _RUN_AS.sub("", group).strip(","):
            left.append(rest)
    return user, left


def _start(user: str, settings: NodeSettings, command: list[str]) -> None:
    """Returns when the mount is ready. Nothing is left mounted otherwise. Raises `StartRefused`."""
    account = find_account(user)
    reading, writing = os.pipe()
    child = os.fork()  # before anything else runs in this process
    if child == 0:
        os.close(reading)
        target, descriptor = _mount(account, settings)
        os.write(writing, _MOUNTED)
        _serve(user, descriptor, writing, [*command, target])
    os.close(writing)
    with open(reading, "rb", buffering=0) as told:
        said = told.read(1) + told.read(1)
    if said == _MOUNTED + _READY:
        return
    _, status = os.waitpid(child, 0)
    if said == _MOUNTED:
        trio.run(_remove, os.path.abspath(settings.store), account.pw_uid)
        raise SystemExit(MOUNT_FAILED)  # why, the child has said
    raise SystemExit(os.waitstatus_to_exitcode(status))


def _mount(account: pwd.struct_passwd, settings: NodeSettings) -> tuple[str, int]:
    """As `mount_for`. Ends the process, with 0, where there is nothing to do: ``mount -a`` asks for all."""
    try:
        return trio.run(_mount_when_free, account, settings)
    except StartRefused:
        mount = find_mount(os.path.abspath(settings.mountpoint))
        if mount is None or mount.fs_type != FS_TYPE or mount.source != os.path.abspath(settings.store):
            raise
    click.echo(f"already mounted: {mount.mount_point}")
    raise SystemExit(0)


async def _mount_when_free(account: pwd.struct_passwd, settings: NodeSettings) -> tuple[str, int]:
    """The daemon of a mount that was unmounted a moment ago may be sealing still."""
    mount = find_mount_of(os.path.abspath(settings.store), account.pw_uid)
    with trio.move_on_after(DAEMON_END if mount is None else PROBE_SECONDS) as patience:
        await trio.to_thread.run_sync(wait_until_closed, settings.store, abandon_on_cancel=True)
    if patience.cancelled_caught and mount is not None:
        raise StartRefused(f"{settings.store} is mounted on {mount.mount_point} already")
    return await mount_for(account, settings)


def _serve(user: str, descriptor: int, ready: int, command: list[str]) -> NoReturn:
    """Becomes the daemon: without any privilege, in a session of its own, with the connection."""
    ready = fcntl.fcntl(ready, fcntl.F_DUPFD, PASSED_AT + 1)
    os.dup2(descriptor, PASSED_AT)
    os.setsid()
    os.chdir("/")
    for standard in (0, 1):
        os.dup2(os.open(os.devnull, os.O_RDWR), standard)
    account = find_account(user)
    environment = environment_for(account, os.environ)
    environment |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": FUSE_DESCRIPTOR}
    drop = [f"--reuid={user}", f"--regid={account.pw_gid}", "--init-groups", "--no-new-privs"]
    drop += ["--inh-caps=-all", "--bounding-set=-all"]
    _become(["setpriv", *drop, *_python(), command[0], f"--ready-fd={ready}", *command[1:]], environment)


def _python() -> list[str]:
    return [sys.executable, "-P", "-m", "blobfs"]


def _become(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    os.execvpe(command[0], command, environment)


async def _remove(store: str, user: int) -> None:
    mount = find_mount_of(store, user)
    if mount is not None:
        await detach(mount.mount_point)
