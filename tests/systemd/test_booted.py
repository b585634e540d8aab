"""The systemd that the other tests run under is a real one, and a world of its own."""

import os

import pytest

from tests.systemd.booted import BootedSystem, Failed


def test_system_runs_apart_from_this_machine(system: BootedSystem) -> None:
    """It is up with nothing failed, its pid 1 is systemd, and what it writes stays in it."""
    assert system.run("systemctl", "is-system-running").strip() == "running"
    assert system.run("cat", "/proc/1/comm") == "systemd\n"
    system.write("/etc/blobfs-was-here", "yes")
    assert not os.path.exists("/etc/blobfs-was-here")
    assert system.run("ip", "-brief", "link").split()[0] == "lo"


def test_reboot_keeps_the_disk_and_nothing_else(system: BootedSystem) -> None:
    """A second boot finds the files of the first, an empty /run and /tmp, and one journal of both."""
    system.write("/var/lib/kept", "kept")
    system.write("/tmp/lost", "lost")
    boot = system.read("/proc/sys/kernel/random/boot_id")
    system.reboot()
    assert system.read("/proc/sys/kernel/random/boot_id") != boot
    assert system.read("/var/lib/kept") == "kept"
    assert system.code("test", "-e", "/tmp/lost") == 1
    assert {record["_BOOT_ID"] for record in system.journal("_PID=1")} >= {boot.replace("-", "").strip()}


def test_commands_end_in_time(system: BootedSystem) -> None:
    """One that does not end by itself is killed, and that is its exit code."""
    assert system.code("true") == 0
    assert system.code("sleep", "60", seconds=0.2) == 124
    with pytest.raises(Failed, match="ended with 124"):
        system.run("sleep", "60", seconds=0.2)
