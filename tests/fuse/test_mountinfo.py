"""The kernel's table of mounts, read."""

import subprocess
from pathlib import Path

import pytest
import trio

from blobfs.fuse import mountinfo
from blobfs.fuse.mount_end import wait_until_gone
from blobfs.fuse.mountinfo import Mount, find_mount, find_mount_of, parse_mountinfo, read_mounts

TABLE = rb"""22 27 0:20 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
27 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
42 27 0:39 / /mnt/with\040space rw,nosuid shared:3 master:1 - fuse.blobfs /store,\040with\134all rw,user_id=1
43 42 0:40 / /mnt/with\040space rw - fuse.blobfs /b\303\266 rw
broken line
"""


def test_parse_mountinfo_reads_every_field_it_needs():
    """Optional fields vary in number; octal escapes are undone; a line that is none is passed over."""
    assert list(parse_mountinfo(TABLE)) == [
        Mount("/proc", "proc", "proc", "0:20"),
        Mount("/", "ext4", "/dev/vda1", "254:1"),
        Mount("/mnt/with space", "fuse.blobfs", "/store, with\\all", "0:39", 1),
        Mount("/mnt/with space", "fuse.blobfs", "/bö", "0:40"),
    ]


def test_the_connection_is_named_by_the_minor_number():
    """/sys/fs/fuse/connections/39 belongs to device 0:39."""
    assert Mount("/m", "fuse.blobfs", "s", "0:39").minor == "39"


def test_who_has_the_device_of_a_mount_that_ended_is_another_one():
    """The kernel gives device numbers out again at once; another node's mount must not be taken for ours."""
    ours = Mount("/m", "fuse.blobfs", "/store", "0:39")
    assert ours.shows(Mount("/bound", "fuse.blobfs", "/store", "0:39"))
    assert not ours.shows(Mount("/m", "fuse.blobfs", "/other", "0:39"))
    assert not ours.shows(Mount("/m", "fuse.sshfs", "/store", "0:39"))
    assert not ours.shows(Mount("/m", "fuse.blobfs", "/store", "0:40"))


def test_find_mount_takes_the_uppermost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of several mounts on one directory the last in the table is the one that is seen."""
    table = tmp_path / "mountinfo"
    table.write_bytes(TABLE)
    monkeypatch.setattr(mountinfo, "TABLE", table)
    found = find_mount("/mnt/with space")
    assert found is not None
    assert found.device == "0:40"
    assert find_mount("/mnt") is None


def test_a_mount_of_another_user_is_not_the_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With fusermount3 anybody can have a mount that calls itself blobfs, of any store. What he cannot choose
    is whom the kernel takes for its user; so his mount, though the newest, is not taken for the node's."""
    line = b"42 27 0:%d / /mnt/%s rw - fuse.blobfs /store rw,user_id=%d,group_id=0,allow_other\n"
    table = tmp_path / "mountinfo"
    table.write_bytes(line % (39, b"ours", 7) + line % (40, b"theirs", 77) + line % (41, b"roots", 0))
    monkeypatch.setattr(mountinfo, "TABLE", table)
    found = find_mount_of("/store", 7)
    assert found is not None
    assert found.mount_point == "/mnt/ours"
    assert find_mount_of("/store", 8) is None


def test_this_machine_has_a_proc():
    """The real table parses; in a chroot it has no root."""
    assert any(mount.mount_point == "/proc" for mount in read_mounts())


async def test_a_mount_is_noticed_to_be_gone(tmp_path: Path):
    """However often the table changes meanwhile, the watch wakes for the change that counts."""
    target, other = tmp_path / "a b", tmp_path / "other"
    target.mkdir()
    other.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "x", target], check=True, timeout=20)
    try:
        mount = find_mount(str(target))
        assert mount is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_until_gone, mount)
            for _ in range(5):
                await trio.run_process(["mount", "-t", "tmpfs", "x", str(other)])
                await trio.run_process(["umount", str(other)])
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            with trio.fail_after(20):
                await trio.run_process(["umount", str(target)])
                while nursery.child_tasks:
                    await trio.testing.wait_all_tasks_blocked()
    finally:
        subprocess.run(["umount", "-l", target], check=False, stderr=subprocess.DEVNULL, timeout=20)
        subprocess.run(["umount", "-l", other], check=False, stderr=subprocess.DEVNULL, timeout=20)
