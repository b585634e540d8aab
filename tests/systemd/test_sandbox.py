"""What whoever takes a daemon over can still do: tried in its sandbox, in its place."""

import pytest

from tests.mount.probes import until
from tests.systemd.booted import BootedSystem
from tests.systemd.installed import START_SECONDS

PROGRAM = r"""
import ctypes, errno, mmap, os, signal, socket
libc = ctypes.CDLL(None, use_errno=True)

def called(function, *arguments):
    if getattr(libc, function)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), function)

def write(path):
    with open(path, "w"):
        pass
    os.unlink(path)

def look(path):
    if not os.listdir(path):
        raise OSError(errno.ENOENT, path)

tried = {
    "write to its store": lambda: write("/var/lib/blobfs/probe/x"),
    "write to another store": lambda: write("/var/lib/blobfs/other/x"),
    "write to /etc": lambda: write("/etc/x"),
    "write to its configuration": lambda: open("/etc/blobfs/probe.toml", "a"),
    "write to /run": lambda: write("/run/blobfs/x"),
    "write to its own /tmp": lambda: write("/tmp/x"),
    "see the machine's /tmp": lambda: os.stat("/tmp/everybodys"),
    "read its configuration": lambda: open("/etc/blobfs/probe.toml"),
    "read root's files": lambda: open("/root/secret"),
    "read what is open to all below /home": lambda: open("/home/alice/open"),
    "write there": lambda: open("/home/alice/open", "a"),
    "see other users' processes": lambda: os.stat("/proc/1/status"),
    "send them signals": lambda: os.kill(1, 0),
    "mount": lambda: called("mount", b"x", b"/tmp", b"tmpfs", 0, None),
    "open /dev/fuse": lambda: os.open("/dev/fuse", os.O_RDWR),
    "make a user namespace": lambda: called("unshare", 0x10000000),
    "become root": lambda: os.setuid(0),
    "look into its own children": lambda: called("ptrace", 16, os.getppid(), 0, 0),
    "give a file to root": lambda: os.chown("/tmp", 0, 0),
    "make a set-uid file": lambda: os.chmod("/tmp", 0o4755),
    "write code and run it": lambda: mmap.mmap(-1, 4096, prot=7),
    "raw sockets": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "TCP": lambda: socket.socket(),
    "load a kernel module": lambda: called("syscall", 175, 0, 0, b""),
}
for what, attempt in tried.items():
    try:
        attempt()
        print(f"{what}: yes")
    except OSError as error:
        print(f"{what}: {errno.errorcode[error.errno]}")
"""

DROP_IN = """[Service]
Type=oneshot
Restart=no
WatchdogSec=0
ExecStartPre=
ExecStart=
ExecStart=/usr/bin/python3 /opt/probe.py
ExecStop=
ExecStopPost=
"""

DAEMON = {"write to its store", "write to its own /tmp", "read its configuration", "TCP",
          "read what is open to all below /home", "see other users' processes"}  # fmt: skip
SERVER = {"write to its own /tmp", "read its configuration", "TCP"}


@pytest.fixture(scope="module")
def prepared(installed: BootedSystem) -> BootedSystem:
    """With what there is to be had."""
    for path, mode in (("/root/secret", 0o600), ("/home/alice/open", 0o666), ("/tmp/everybodys", 0o666)):
        installed.write(path, "", mode)
    installed.write("/etc/blobfs/probe.toml", "", 0o640)
    installed.run("chgrp", "blobfs", "/etc/blobfs/probe.toml")
    installed.run("install", "--directory", "--owner=blobfs", "/var/lib/blobfs/other")
    installed.write("/opt/probe.py", PROGRAM)
    return installed


@pytest.mark.parametrize(("unit", "possible"), [("blobfs@probe", DAEMON), ("blobfs-serve@probe", SERVER)])
def test_what_the_sandbox_lets_one_do(prepared: BootedSystem, unit: str, possible: set[str]) -> None:
    """Its store, its configuration, the network, and what every user of the machine can read; nothing else.
    Of the share server not even the store."""
    prepared.write(f"/etc/systemd/system/{unit}.service.d/probe.conf", DROP_IN)
    prepared.run("systemctl", "daemon-reload")
    code, _ = prepared.result("systemctl", "start", unit, seconds=START_SECONDS)
    assert code == 0, prepared.said(unit)

    def found() -> dict[str, str]:
        records = prepared.journal(f"--unit={unit}", "_COMM=python3")
        return dict(record["MESSAGE"].split(": ") for record in records)

    until(lambda: "load a kernel module" in found(), "all of it was tried")
    assert {what for what, came in found().items() if came == "yes"} == possible, found()
