"""The mount's options, and the mount itself from the first request to the last."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from blobfs.errors import StartRefused
from blobfs.fuse.mountinfo import find_mount, read_mounts
from blobfs.fuse.session import MountSettings, mount_options
from tests.fuse.conftest import SECONDS, Mounted, run

Mount = Callable[..., Mounted]

DRAINED = 8.0
"""Seconds in which a process whose `drain` is far shorter, or has nothing to wait for, is gone."""


# --- options


def test_options_of_root():
    """Nothing on the mount gains rights by mounting it as root, unless that is asked for."""
    options = mount_options(MountSettings("/s", options=("dev",)), as_root=True)
    assert options == {"fsname=/s", "subtype=blobfs", "dev", "nosuid"}
    assert mount_options(MountSettings("/s"), as_root=False) == {"fsname=/s", "subtype=blobfs"}


def test_other_users_come_in_only_with_permission_checks():
    """allow_other never stands without default_permissions, whichever way it was asked for."""
    for settings in (MountSettings("/s", allow_other=True), MountSettings("/s", options=("allow_other",))):
        assert {"allow_other", "default_permissions"} <= mount_options(settings, as_root=False)


def test_what_only_fstab_knows_is_dropped():
    """Options that mount(8) understands do not reach libfuse, which refuses them."""
    fstab = ("defaults", "noauto", "_netdev", "x-systemd.automount", "comment=a", "noatime", "ro")
    options = mount_options(MountSettings("/s", options=fstab), as_root=False)
    assert options == {"fsname=/s", "subtype=blobfs", "noatime", "ro"}


def test_an_option_that_libfuse_cannot_take_is_refused():
    """Options are ASCII."""
    with pytest.raises(StartRefused, match="ASCII"):
        mount_options(MountSettings("/s", options=("volname=ö",)), as_root=False)


def test_any_path_can_be_the_source():
    """What libfuse's parser would trip over is written in octal."""
    assert "fsname=/a\\054b\\134\\040\\303\\266" in mount_options(MountSettings("/a,b\\ ö"), as_root=False)


# --- the mount


def test_a_mount_is_used_and_unmounted(mount: Mount, mountpoint: Path):
    """Read, write, list, stat and unmount, as any program does; the process ends well by itself."""
    mounted = mount()
    assert run("cat", mountpoint / "hello").stdout == "hello, world\n"
    run("sh", "-c", f"echo some text > {mountpoint}/new; truncate -s 4 {mountpoint}/new")
    assert run("cat", mountpoint / "new").stdout == "some"
    run("mkdir", mountpoint / "dir")
    run("mv", mountpoint / "new", mountpoint / "dir/old")
    run("ln", "-s", "dir/old", mountpoint / "link")
    run("chmod", "0751", mountpoint / "link")
    run("touch", "-d", "@1234567890.123456789", mountpoint / "link")
    assert run("stat", "-Lc", "%a %.9Y %o", mountpoint / "link").stdout == "751 1234567890.123456789 131072\n"
    assert run("ls", "-a", mountpoint / "dir").stdout == ".\n..\nold\n"
    assert run("stat", "-fc", "%a %b %l", mountpoint).stdout == "500 1000 255\n"
    run("fusermount3", "-u", mountpoint)
    statistics = mounted.wait()["statistics"]
    assert statistics["write"] == 1
    assert statistics["mkdir"] == statistics["rename"] == statistics["symlink"] == 1


def test_attributes_are_set_listed_and_removed(mount: Mount, mountpoint: Path):
    """Extended attributes, with the errno of each refusal."""
    mounted = mount()
    script = """if True:
        import errno, os, sys
        file = sys.argv[1]
        os.setxattr(file, "user.a", b"1")
        assert os.listxattr(file) == ["user.a"] and os.getxattr(file, "user.a") == b"1"
        os.removexattr(file, "user.a")
        assert os.listxattr(file) == []
        for call in (lambda: os.getxattr(file, "user.a"), lambda: os.setxattr(file, "trusted.a", b"")):
            try:
                call()
            except OSError as error:
                print(errno.errorcode[error.errno])
    """
    done = run(sys.executable, "-c", script, mountpoint / "hello")
    assert done.stdout == "ENODATA\nENOTSUP\n"
    mounted.terminate()


def test_a_large_directory_is_listed_once_and_whole(mount: Mount, mountpoint: Path):
    """Over many requests and batches no entry is missing or comes twice."""
    mounted = mount()
    run("sh", "-c", f"cd {mountpoint}; mkdir d; cd d; seq 1 1500 | xargs touch")
    assert sorted(map(int, run("ls", mountpoint / "d").stdout.split())) == list(range(1, 1501))
    mounted.terminate()


def test_errors_reach_the_caller_and_the_mount_lives(mount: Mount, mountpoint: Path):
    """An errno from the shares, EIO for a defect, whose traceback is in the log; and the next read works."""
    mounted = mount()
    assert "No route to host" in run("cat", mountpoint / "refused", check=False).stderr
    assert "Input/output error" in run("cat", mountpoint / "broken", check=False).stderr
    assert run("cat", mountpoint / "hello").stdout == "hello, world\n"
    run("fusermount3", "-u", mountpoint)
    assert mounted.process.wait(SECONDS) == 0
    assert "ZeroDivisionError: a defect" in mounted.log()


def test_the_table_shows_the_store_and_the_limits_are_raised(mount: Mount, mountpoint: Path):
    """df names the store, whatever its path; root's mount reads ahead and takes many requests at once."""
    mounted = mount()
    found = find_mount(str(mountpoint))
    assert found is not None
    assert (found.source, found.fs_type) == ("/the store, with\\all sörts of#things", "fuse.blobfs")
    assert Path(f"/sys/class/bdi/{found.device}/read_ahead_kb").read_text() == "4096\n"
    connection = Path("/sys/fs/fuse/connections") / found.minor
    assert (connection / "max_background").read_text() == "512\n"
    mounted.terminate()


def hold_open(path: Path) -> subprocess.Popen[bytes]:
    """A process that has `path` open, and when told a line reads it."""
    holder = subprocess.Popen(
        ["sh", "-c", 'exec 3<"$0"; echo; read line; cat <&3', path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"\n"
    return holder


def test_cancelled_with_open_files_it_ends_in_time(mount: Mount, mountpoint: Path):
    """P3, P9: on SIGTERM the mount is gone at once, an open file soon, and a stuck reader gets an answer."""
    mounted = mount("drain=0.2")
    with hold_open(mountpoint / "hello") as holder, hold_open(mountpoint / "stuck") as reader:
        assert reader.stdin is not None
        reader.stdin.write(b"\n")
        reader.stdin.flush()
        mounted.terminate(DRAINED)
        assert find_mount(str(mountpoint)) is None
        for process in (holder, reader):
            _, complaint = process.communicate(b"\n" if process is holder else None, SECONDS)
            assert b"not connected" in complaint or b"abort" in complaint
            assert process.returncode != 0


def test_a_lazy_unmount_drains_and_ends(mount: Mount, mountpoint: Path):
    """A file that stays open after ``umount -l`` is served for `drain` seconds, and cut off then."""
    mounted = mount("drain=0.2")
    with hold_open(mountpoint / "hello") as holder:
        run("umount", "-l", mountpoint)
        mounted.wait(DRAINED)
        _, complaint = holder.communicate(b"\n", SECONDS)
        assert b"not connected" in complaint
    assert "cut off" in mounted.log()


def test_a_file_closed_after_a_lazy_unmount_ends_it(mount: Mount, mountpoint: Path):
    """Until then it is served; the process does not sit out the rest of `drain`."""
    mounted = mount("drain=600")
    with hold_open(mountpoint / "hello") as holder:
        run("fusermount3", "-uz", mountpoint)
        assert holder.communicate(b"\n", SECONDS)[0] == b"hello, world\n"
    mounted.wait(DRAINED)


def test_bind_mounts_keep_it_and_go_with_it(mount: Mount, mountpoint: Path, tmp_path: Path):
    """While the file system is mounted anywhere it is served; at the end it is mounted nowhere."""
    mounted = mount("drain=0.2")
    second = tmp_path / "second"
    second.mkdir()
    run("mount", "--bind", mountpoint, second)
    try:
        run("umount", mountpoint)
        assert run("cat", second / "hello").stdout == "hello, world\n"
        mounted.terminate(DRAINED)
        assert find_mount(str(second)) is None
    finally:
        run("umount", "-l", second, check=False)


def test_what_covers_the_mount_is_left_alone(mount: Mount, mountpoint: Path):
    """Another file system, mounted over ours, is not ours to unmount."""
    mounted = mount("drain=0.2")
    run("mount", "-t", "tmpfs", "other", mountpoint)
    try:
        mounted.terminate(DRAINED)
        found = find_mount(str(mountpoint))
        assert found is not None
        assert found.source == "other"
    finally:
        run("umount", mountpoint)


def test_libfuse_says_why_it_refuses(mountpoint: Path, tmp_path: Path):
    """An unknown option is refused with libfuse's own words, in one line."""
    mounted = Mounted(mountpoint, tmp_path / "log", ("nonsense",))
    try:
        line = mounted.read_line()
        assert line.startswith("refused: ")
        assert "unknown option(s): `-o nonsense'" in line
        assert mounted.process.wait(SECONDS) == 0
    finally:
        mounted.close()


def test_a_request_that_is_taken_back_does_not_freeze_the_loop(mount: Mount, mountpoint: Path):
    """P3: signals to callers, outdated by the answer before the loop reads of them, hold up nothing."""
    mounted = mount()
    script = """if True:
        import os, signal, sys
        signal.signal(signal.SIGUSR1, lambda *_: None)
        for line in sys.stdin:
            os.setxattr(sys.argv[1], "user.signal", b"%d" % os.getpid())
    """
    command = [sys.executable, "-c", script, str(mountpoint / "hello")]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as caller:
        assert caller.stdin is not None
        for _ in range(16):  # unprotected, each one freezes the loop with a chance of a half
            caller.stdin.write(b"\n")
            caller.stdin.flush()
            assert mounted.read_line() == "answered"
        caller.stdin.close()
        assert caller.wait(SECONDS) == 0
    assert mounted.terminate()["statistics"]["setxattr"] == 16


def test_a_file_closed_just_before_the_unmount_is_released(mount: Mount, mountpoint: Path):
    """P2: the kernel drops a RELEASE that a busy loop has not taken; the file system gets it all the same."""
    mounted = mount()
    script = """if True:
        import sys
        from blobfs.fuse import syscalls
        with open(sys.argv[1] + "/busy", "w") as file:
            file.write("x")
        syscalls.umount(sys.argv[1], 0)
    """
    run(sys.executable, "-c", script, mountpoint)
    statistics = mounted.wait()["statistics"]
    assert (statistics["create"], statistics["release"]) == (1, 1)


def test_a_file_that_is_cut_off_is_not_released(mount: Mount, mountpoint: Path):
    """P2: it may be half written; whoever has it open had not said that it is finished."""
    mounted = mount("drain=0.2")
    with hold_open(mountpoint / "hello") as holder:
        statistics = mounted.terminate(DRAINED)["statistics"]
        holder.communicate(b"\n", SECONDS)
    assert statistics["open"] == 1
    assert "release" not in statistics


def test_an_aborted_connection_ends_it(mount: Mount, mountpoint: Path):
    """An operator's last resort, ``abort`` under /sys, takes the mount away as well; nothing is released."""
    mounted = mount("drain=600")
    found = find_mount(str(mountpoint))
    assert found is not None
    with hold_open(mountpoint / "hello") as holder:
        Path(f"/sys/fs/fuse/connections/{found.minor}/abort").write_text("1")
        statistics = mounted.wait(DRAINED)["statistics"]
        assert b"not connected" in holder.communicate(b"\n", SECONDS)[1]
    assert find_mount(str(mountpoint)) is None
    assert "release" not in statistics


def test_no_process_is_left_behind(mount: Mount, mountpoint: Path):
    """After the end no child, no mount and no connection is left."""
    mounted = mount()
    found = find_mount(str(mountpoint))
    assert found is not None
    mounted.terminate()
    is_there = Path(f"/sys/fs/fuse/connections/{found.minor}").exists()
    assert not is_there or any(other.minor == found.minor for other in read_mounts())  # it is another's now
    with pytest.raises(ProcessLookupError):
        os.kill(mounted.process.pid, signal.SIG_DFL)
    assert json.dumps(find_mount(str(mountpoint))) == "null"
