"""Directories to mount on, and mounts that a dead daemon left behind."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from blobfs.errors import InvalidArgument, OperationRefused, StartRefused
from blobfs.fuse import mountpoint as module
from blobfs.fuse.mountinfo import find_mount
from blobfs.fuse.mountpoint import prepare_mountpoint, unmount
from tests.fuse.conftest import SECONDS, Mounted, run

Mount = Callable[..., Mounted]


async def test_an_empty_directory_is_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It comes back absolute and without symlinks, as the kernel's table will show it."""
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "link").symlink_to("target")
    monkeypatch.chdir(tmp_path)
    assert await prepare_mountpoint("link") == str(target)


async def test_what_is_not_fit_is_refused(tmp_path: Path):
    """Missing, a file, or a directory whose files would be hidden (unless that is wanted)."""
    full = tmp_path / "full"
    full.mkdir()
    file = full / "file"
    file.touch()
    for path, reason in ((tmp_path / "missing", "No such file"), (file, "Not a dir"), (full, "not empty")):
        with pytest.raises(StartRefused, match=reason):
            await prepare_mountpoint(str(path))
    assert await prepare_mountpoint(str(full), nonempty=True) == str(full)


async def test_a_dead_mount_is_healed(mount: Mount, mountpoint: Path, caplog: pytest.LogCaptureFixture):
    """P9: after ``kill -9`` the directory answers ENOTCONN; a restart removes the dead mount, and says so."""
    mounted = await trio.to_thread.run_sync(mount)
    mounted.process.kill()
    mounted.process.wait(SECONDS)
    assert "not connected" in run("ls", mountpoint, check=False).stderr
    assert await prepare_mountpoint(str(mountpoint)) == str(mountpoint)
    assert find_mount(str(mountpoint)) is None
    (record,) = caplog.records
    assert (
        f"removed a dead mount of /the store, with\\all sörts of#things from {mountpoint}" in record.message
    )
    again = await trio.to_thread.run_sync(mount)
    assert run("cat", mountpoint / "hello").stdout == "hello, world\n"
    again.terminate()


async def test_dead_mounts_on_each_other_are_healed(
    mount: Mount, mountpoint: Path, caplog: pytest.LogCaptureFixture
):
    """P9: every layer is removed. A live mount below would be found by the last look."""
    mounted = await trio.to_thread.run_sync(mount)
    for _ in range(2):
        run("mount", "--bind", mountpoint, mountpoint)
    mounted.process.kill()
    mounted.process.wait(SECONDS)
    await prepare_mountpoint(str(mountpoint))
    assert len(caplog.records) == 3
    assert find_mount(str(mountpoint)) is None


async def test_a_live_mount_is_refused(mount: Mount, mountpoint: Path):
    """Two daemons never serve one directory."""
    mounted = await trio.to_thread.run_sync(mount)
    with pytest.raises(StartRefused, match="already mounted"):
        await prepare_mountpoint(str(mountpoint))
    mounted.terminate()


async def test_a_hanging_mount_is_refused(mount: Mount, mountpoint: Path, monkeypatch: pytest.MonkeyPatch):
    """P3: a mount whose daemon is stopped answers nobody; that is found out within the bound."""
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.2)
    mounted = await trio.to_thread.run_sync(mount)
    mounted.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(StartRefused, match="hangs"):
            await prepare_mountpoint(str(mountpoint))
    finally:
        mounted.process.send_signal(signal.SIGCONT)
    mounted.terminate()


async def test_unmount(mount: Mount, mountpoint: Path):
    """The mount goes, and its daemon after it."""
    mounted = await trio.to_thread.run_sync(mount)
    await unmount(str(mountpoint))
    assert find_mount(str(mountpoint)) is None
    mounted.wait()


async def test_unmount_refuses_what_is_no_blobfs_mount(mountpoint: Path):
    """Neither a plain directory nor somebody else's file system is unmounted."""
    with pytest.raises(InvalidArgument, match="not a blobfs mount"):
        await unmount(str(mountpoint))
    run("mount", "-t", "tmpfs", "other", mountpoint)
    try:
        with pytest.raises(InvalidArgument, match="not a blobfs mount"):
            await unmount(str(mountpoint))
    finally:
        run("umount", mountpoint)


async def test_unmount_of_what_is_in_use(mount: Mount, mountpoint: Path):
    """Refused with what to do about it; a lazy unmount goes through."""
    mounted = await trio.to_thread.run_sync(mount, "drain=0.2")
    holder = await trio.lowlevel.open_process(
        ["sh", "-c", f"cd {mountpoint}; echo; read line"], stdin=-1, stdout=-1
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    async with holder.stdin, holder.stdout:
        assert await holder.stdout.receive_some(1) == b"\n"
        with pytest.raises(OperationRefused, match="in use"):
            await unmount(str(mountpoint))
        assert find_mount(str(mountpoint)) is not None
        await unmount(str(mountpoint), lazy=True)
        assert find_mount(str(mountpoint)) is None
    await holder.wait()
    mounted.wait()
    assert os.listdir(mountpoint) == []
