"""/etc/fstab and mount(8) under a real systemd: by hand, through an automount, at boot."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.booted import BootedSystem
from tests.systemd.installed import START_SECONDS, Service

MOUNTPOINT = Path("/mnt/shared")
OTHER = Path("/mnt/own")


@pytest.fixture(scope="module")
def configured(installed: BootedSystem) -> Service:
    """The configuration ``fstab``, for which no service runs: the line in fstab names the mountpoint."""
    service = Service(installed, "fstab", 8971)
    service.configure(mountpoint=MOUNTPOINT)
    text = installed.read(service.config)
    installed.write(service.config, text.partition("\n")[2], 0o640)
    installed.run("chgrp", "blobfs", service.config)
    installed.run("mkdir", "-p", MOUNTPOINT, OTHER)
    return service


@pytest.fixture
def shared(configured: Service) -> Iterator[Service]:
    """Nothing is mounted, before and after; /etc/fstab is for the test to write."""
    yield configured
    system = configured.system
    system.write("/etc/fstab", "")
    system.run("systemctl", "stop", "mnt-shared.automount", check=False)
    system.run("umount", "--lazy", MOUNTPOINT, check=False)
    system.run("systemctl", "daemon-reload")
    assert system.mounts() == []


def write_fstab(system: BootedSystem, options: str) -> None:
    system.write("/etc/fstab", f"fstab {MOUNTPOINT} fuse.blobfs {options} 0 0\n")
    system.run("systemctl", "daemon-reload")


def test_mount_takes_a_configuration_by_path_or_name(shared: Service) -> None:
    """`mount -t fuse.blobfs CONFIG MOUNTPOINT` returns when it can be used; `umount` ends it in order."""
    for number, source in enumerate((str(shared.config), "fstab")):
        shared.system.run("mount", "-t", "fuse.blobfs", source, MOUNTPOINT, seconds=START_SECONDS)
        shared.share(f"file{number}", "here\n")
        assert shared.read("file0") == "here\n"
        shared.system.run("umount", MOUNTPOINT)
        shared.system.run("blobfs", "verify", shared.store, seconds=START_SECONDS)


def test_daemon_behind_a_mount_has_no_privilege(shared: Service) -> None:
    """mount(8) is root's; the daemon that it starts is the user blobfs, who can become nobody else."""
    shared.system.run("mount", "-t", "fuse.blobfs", "fstab", MOUNTPOINT, seconds=START_SECONDS)
    pid = shared.node_status()["pid"]
    status = shared.system.read(f"/proc/{pid}/status")
    uid = shared.system.run("id", "-u", "blobfs").strip()
    assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}" in status
    assert "NoNewPrivs:\t1" in status
    assert "CapEff:\t0000000000000000" in status
    assert "CapBnd:\t0000000000000000" in status
    shared.system.run("umount", MOUNTPOINT)


def test_failure_is_one_line_and_leaves_nothing(shared: Service) -> None:
    """A missing configuration, a mistake in the options, a store that is in use: the reason, and no mount."""
    mount = ("mount", "-t", "fuse.blobfs")
    for source, options, reason in (
        ("absent", "ro", "absent.toml"),
        ("fstab", "quota=much", "quota"),
        ("fstab", "run_as=nobody-at-all", "nobody-at-all"),
        ("fstab", "remount", "reload"),
    ):
        code, said = shared.system.result(*mount, source, MOUNTPOINT, "-o", options, seconds=START_SECONDS)
        assert code != 0
        assert reason in said
        assert "Traceback" not in said
    shared.system.run(*mount, "fstab", MOUNTPOINT, seconds=START_SECONDS)
    code, said = shared.system.result(*mount, "fstab", OTHER, seconds=START_SECONDS)
    assert code == 32
    assert str(shared.store) in said
    assert shared.system.mounts() == [str(MOUNTPOINT)]
    shared.system.run("umount", MOUNTPOINT)


def test_mount_all_mounts_what_fstab_says(shared: Service) -> None:
    """`mount -a` knows the options that are for fstab only; called again, it has nothing to do."""
    write_fstab(shared.system, "_netdev,nofail,x-systemd.device-timeout=5,quota=64M")
    shared.system.run("mount", "-a", seconds=START_SECONDS)
    shared.share("all", "all\n")
    assert shared.node_status()["space"]["quota"] == 64 << 20
    shared.system.run("mount", "-a", seconds=START_SECONDS)
    assert shared.system.mounts() == [str(MOUNTPOINT)]
    shared.system.run("umount", MOUNTPOINT)
    assert shared.system.mounts() == []


def test_read_only_by_fstab(shared: Service) -> None:
    """`ro` in fstab: what is here can be read, nothing can be written, by root neither."""
    write_fstab(shared.system, "ro,noauto,_netdev")
    shared.system.run("mount", MOUNTPOINT, seconds=START_SECONDS)
    code, said = shared.system.result("touch", MOUNTPOINT / "new")
    assert (code, "Read-only file system" in said) == (1, True)
    shared.system.run("umount", MOUNTPOINT)


def test_user_mounts_and_unmounts_what_is_the_users(shared: Service) -> None:
    """`user` in fstab: an ordinary user mounts by a configuration of his own; the daemon is his, too."""
    system = shared.system
    system.run("useradd", "--create-home", "alice")
    home = Path("/home/alice")
    system.write(home / "own.toml", f'store = "{home}/store"\n')
    system.run("runuser", "--user=alice", "--", "mkdir", home / "mount")
    system.write("/etc/fstab", f"{home}/own.toml {home}/mount fuse.blobfs noauto,user 0 0\n")
    system.run("mount", home / "mount", user="alice", seconds=START_SECONDS)
    system.run("runuser", "--user=alice", "--", "sh", "-c", f"echo mine >{home}/mount/file")
    assert system.run("cat", home / "mount/file", user="alice") == "mine\n"
    assert system.run("ps", "-o", "user=", "-C", "python").split().count("alice") == 1
    system.run("umount", home / "mount", user="alice")
    assert system.mounts() == []


def test_automount_mounts_at_the_first_look_and_again(shared: Service) -> None:
    """x-systemd.automount: nothing runs until somebody looks; after `umount` the next look mounts again."""
    write_fstab(shared.system, "_netdev,nofail,x-systemd.automount")
    shared.system.run("systemctl", "start", "mnt-shared.automount")
    assert shared.system.mounts() == []
    shared.system.run("ls", MOUNTPOINT, seconds=START_SECONDS)
    assert shared.system.mounts() == [str(MOUNTPOINT)]
    shared.share("auto", "auto\n")
    shared.system.run("umount", MOUNTPOINT)
    assert shared.system.mounts() == []
    assert shared.read("auto") == "auto\n"
    shared.system.run("systemctl", "stop", "mnt-shared.mount", seconds=START_SECONDS)


def test_boot_mounts_before_what_needs_it(shared: Service) -> None:
    """A line in fstab is mounted at boot; a unit with RequiresMountsFor= finds its files."""
    system = shared.system
    write_fstab(system, "_netdev,nofail")
    system.write(
        "/etc/systemd/system/reader.service",
        f"[Unit]\nRequiresMountsFor={MOUNTPOINT}\n"
        f"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=cp {MOUNTPOINT}/boot /run/copied\n"
        "[Install]\nWantedBy=multi-user.target\n",
    )
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "enable", "reader.service")
    system.run("mount", "-a", seconds=START_SECONDS)
    shared.share("boot", "boot\n")
    system.reboot()
    assert system.run("systemctl", "is-system-running", check=False).strip() == "running"
    assert system.read("/run/copied") == "boot\n"
    assert system.mounts() == [str(MOUNTPOINT)]
    system.run("systemctl", "disable", "reader.service")
    system.run("umount", MOUNTPOINT)
