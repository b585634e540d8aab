"""A machine gets blobfs, keeps what is shared over a reboot, and is rid of it again."""

import os
from pathlib import Path

import pytest

from tests.systemd.booted import BootedSystem
from tests.systemd.installed import FULL, SNAPSHOT, START_SECONDS, Service, install, install_again

UNINSTALL = SNAPSHOT / "tools" / "uninstall"
OTHERS = (
    *(str(SNAPSHOT), "/root", "/var/log", "/var/cache", "/var/lib/systemd", "/etc/systemd"),
    *("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid"),
)
"""Where others write: what the tests bring along, the journal, enabled units, the lists of users."""

STAMPS = (
    "find",
    "/usr/local",
    "/etc/blobfs",
    "/sbin/mount.fuse.blobfs",
    "-type",
    "f",
    "-printf",
    "%p %T@ %i\n",
)


def written(system: BootedSystem) -> set[str]:
    """What this system has made or taken away: directories that the machine has anyway are none of it."""
    upper = system.directory / "disk" / "upper"
    paths = {path: f"/{path.relative_to(upper)}" for path in upper.rglob("*")}
    return {
        name
        for path, name in paths.items()
        if not name.startswith(OTHERS) and not (path.is_dir() and Path(name).is_dir())
    }


@pytest.fixture(scope="module")
def before(system: BootedSystem) -> set[str]:
    """What booting has written, before the first installation."""
    return written(system)


def test_installed_service_starts_and_survives_a_reboot(system: BootedSystem, before: set[str]) -> None:
    """tools/install, `systemctl enable --now blobfs@demo`, a file is shared: it is there after a reboot."""
    assert not [path for path in before if "blobfs" in path]
    install(system, full=FULL in os.environ)
    demo = Service(system, "demo", 8970)
    demo.configure()
    system.run("systemctl", "enable", "--now", demo.unit, seconds=START_SECONDS)
    demo.share("kept", "kept\n")
    system.reboot()
    demo.wait_active()
    assert demo.read("kept") == "kept\n"
    assert system.run("curl", "-s", f"{demo.url}kept") == "kept\n"


def test_second_installation_changes_nothing(system: BootedSystem) -> None:
    """tools/install again: the same files with the same content, and the daemon goes on."""
    demo = Service(system, "demo", 8970)
    pid = demo.pid()
    stamps = system.run(*STAMPS).splitlines()
    install_again(system)
    assert set(system.run(*STAMPS).splitlines()) - set(stamps) == set()
    assert demo.pid() == pid


def test_uninstall_keeps_what_is_the_users(system: BootedSystem) -> None:
    """tools/uninstall stops the services and takes the program; stores and configuration are for a purge."""
    system.run(UNINSTALL, seconds=START_SECONDS)
    assert system.mounts() == []
    assert system.code("test", "-e", "/usr/local/bin/blobfs") == 1
    assert system.code("systemctl", "cat", "blobfs@demo") == 1
    assert system.read("/var/lib/blobfs/demo/share/kept") == "kept\n"
    assert system.code("test", "-e", "/etc/blobfs/demo.toml") == 0
    install_again(system)
    system.run("systemctl", "start", "blobfs@demo", seconds=START_SECONDS)
    assert system.read("/srv/demo/kept") == "kept\n"


def test_purge_leaves_no_trace(system: BootedSystem, before: set[str]) -> None:
    """tools/uninstall --purge: the machine has the files that it had, and no user blobfs."""
    system.run(UNINSTALL, "--purge", seconds=START_SECONDS)
    system.run("rmdir", "/srv/demo")  # the mountpoint is the administrator's
    assert written(system) - before == set()
    assert system.code("id", "blobfs") == 1


def test_failed_installation_can_be_taken_away(system: BootedSystem) -> None:
    """Halfway it met a root without /etc, where no user can be made: what it had put there goes again."""
    image = Path("/opt/image")
    system.run("mkdir", "-p", image)
    assert system.code(SNAPSHOT / "tools" / "install", "--root", image, "--command", "/bin/true") != 0
    assert system.code("test", "-e", image / "usr/local/bin/blobfs") == 0
    system.run(UNINSTALL, "--root", image)
    assert system.run("find", image) == f"{image}\n"
