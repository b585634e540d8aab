"""What systemd is told, and what it passes on."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from blobfs.daemon import readiness

TAKER = """
import os
from blobfs.daemon.readiness import take_mount_descriptor
os.environ["LISTEN_PID"] = os.environ["LISTEN_PID"] or str(os.getpid())
print(take_mount_descriptor())
"""


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """systemd's end of NOTIFY_SOCKET."""
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(10)
        yield listener


def test_notify(service: socket.socket):
    """All assignments in one message, a line each."""
    readiness.notify("READY=1", "STATUS=all is well")
    assert service.recv(1000) == b"READY=1\nSTATUS=all is well"
    readiness.notify_reloading()
    reloading, _, clock = service.recv(1000).partition(b"\n")
    assert reloading == b"RELOADING=1"
    assert clock.startswith(b"MONOTONIC_USEC=")


@pytest.mark.parametrize("address", ["/nonexistent/notify", "nonsense"])
def test_what_nobody_takes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    """A variable that was left over, a manager that is away: a line in the log, and the node lives."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    readiness.notify("WATCHDOG=1", "STATUS=all is well")
    (line,) = caplog.messages
    assert line.startswith(f"{address} cannot be told WATCHDOG=1: ")


def test_without_systemd_nothing_is_said(monkeypatch: pytest.MonkeyPatch):
    """Neither is anything imported for it."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    code = "import sys; from blobfs.daemon.readiness import notify; notify('READY=1'); print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert "blobfs.daemon.readiness" in found.stdout.split()
    assert "cysystemd" not in found.stdout.split()


@pytest.mark.parametrize(
    ("pid", "microseconds", "seconds"),
    [
        ("own", "3000000", 3.0),
        (None, "0", None),
        ("1", "3000000", None),
        (None, "500000", 0.5),
        (None, None, None),
    ],
)
def test_the_watchdog(
    monkeypatch: pytest.MonkeyPatch, pid: str | None, microseconds: str | None, seconds: float | None
):
    """It is this process's, and only if systemd asked for it."""
    for name, value in (("WATCHDOG_PID", pid), ("WATCHDOG_USEC", microseconds)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, str(os.getpid()) if value == "own" else value)
    assert readiness.watchdog_seconds() == seconds


def test_a_stored_descriptor(service: socket.socket):
    """What an earlier daemon left is dropped before there is another one, which systemd does not look at."""
    with tempfile.TemporaryFile() as file:
        file.write(b"the connection")
        file.flush()
        readiness.store_mount_descriptor(file.fileno())
    assert service.recv(1000) == b"FDSTOREREMOVE=1\nFDNAME=fuse"
    message, descriptors, _, _ = socket.recv_fds(service, 1000, 1)
    assert message == b"FDSTORE=1\nFDNAME=fuse\nFDPOLL=0"
    with os.fdopen(descriptors[0], "rb") as passed:
        assert os.pread(passed.fileno(), 100, 0) == b"the connection"


@pytest.mark.parametrize(
    ("pid", "names", "taken"),
    [("", "fuse", "3"), ("", "other:fuse", "4"), ("", "other", "None"), ("1", "fuse", "None")],
)
def test_a_passed_descriptor(service: socket.socket, pid: str, names: str, taken: str):
    """The one that is called so, if it was passed to this process; systemd is to let go of it at once."""
    passed = {"LISTEN_PID": pid, "LISTEN_FDS": str(names.count(":") + 1), "LISTEN_FDNAMES": names}
    found = subprocess.run(
        ["bash", "-c", 'exec 3</dev/null 4</dev/null; exec "$0" -c "$1"', sys.executable, TAKER],
        env=os.environ | passed,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert found.stdout == f"{taken}\n"
    if taken != "None":
        assert service.recv(1000) == b"FDSTOREREMOVE=1\nFDNAME=fuse"
