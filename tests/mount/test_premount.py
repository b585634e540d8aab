"""A mount that is made before its daemon, by somebody else, as under systemd."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from blobfs.control.client import fetch_status
from blobfs.fuse.mountinfo import find_mount
from tests.mount.programs import bash
from tests.structure import ROOT

BLOBFS = [sys.executable, "-P", "-m", "blobfs"]
SECONDS = 30


@pytest.fixture
def service(tmp_path: Path) -> Iterator[socket.socket]:
    """systemd's end of NOTIFY_SOCKET, for mounter and daemon."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(SECONDS)
        yield listener


@pytest.fixture
def mountpoint(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "mnt"
    subprocess.run(["fusermount3", "-uzq", str(tmp_path / "mnt")], timeout=SECONDS, check=False)


def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "NOTIFY_SOCKET": str(tmp_path / "notify")}


def premounted(tmp_path: Path, mountpoint: Path, service: socket.socket) -> int:
    """Runs the mounter; the descriptor it stored."""
    config = tmp_path / "node.toml"
    config.write_text(f'mountpoint = "{mountpoint}"\nstore = "{tmp_path}/store"\n')
    subprocess.run(
        [*BLOBFS, "mounter", "--user", "root", "--config", str(config)],
        env=environment(tmp_path),
        timeout=SECONDS,
        check=True,
    )
    assert service.recv(1000) == b"FDSTOREREMOVE=1\nFDNAME=fuse"
    message, (descriptor,), _, _ = socket.recv_fds(service, 1000, 1)
    assert message == b"FDSTORE=1\nFDNAME=fuse\nFDPOLL=0"
    return descriptor


def daemon(tmp_path: Path, descriptor: int) -> subprocess.Popen[bytes]:
    """Starts the daemon with the descriptor where systemd puts it, and closes it here."""
    command = f'exec 3<&{descriptor} {descriptor}<&-; LISTEN_PID=$$ exec "$@"'
    made = subprocess.Popen(
        ["bash", "-c", command, "bash", *BLOBFS, "mount", "--config", str(tmp_path / "node.toml")],
        env=environment(tmp_path) | {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "fuse"},
        pass_fds=[descriptor],
    )
    os.close(descriptor)
    return made


def next_message(service: socket.socket, wanted: bytes) -> bytes:
    while not (message := service.recv(1000)).startswith(wanted):
        pass
    return message


def test_a_daemon_serves_what_it_is_passed(tmp_path: Path, mountpoint: Path, service: socket.socket):
    """The mount is there before it, is its own from then on, and is ready when READY=1 comes. Unmounted by
    somebody else, it seals what was closed and ends well."""
    descriptor = premounted(tmp_path, mountpoint, service)
    mount = find_mount(str(mountpoint))
    assert mount is not None
    assert mount.source == str(tmp_path / "store")
    running = daemon(tmp_path, descriptor)
    try:
        assert next_message(service, b"FDSTOREREMOVE") == b"FDSTOREREMOVE=1\nFDNAME=fuse"
        assert str(mountpoint).encode() in next_message(service, b"READY=1\nSTATUS=")
        bash("echo hello > greeting", mountpoint)
        status = fetch_status(tmp_path / "store")
        assert status["mountpoint"] == str(mountpoint)
        subprocess.run(["umount", "--lazy", str(mountpoint)], timeout=SECONDS, check=True)
        assert running.wait(SECONDS) == 0
        assert (tmp_path / "store/share/greeting").read_text() == "hello\n"
        assert next_message(service, b"STOPPING=1")
    finally:
        running.kill()
        running.wait(SECONDS)


def test_its_end_leaves_the_mount_to_who_made_it(tmp_path: Path, mountpoint: Path, service: socket.socket):
    """Ended by a signal the daemon seals and closes the connection; it has no right to unmount. Whoever looks
    at the mount is told ENOTCONN, and the next mounter removes it."""
    running = daemon(tmp_path, premounted(tmp_path, mountpoint, service))
    try:
        next_message(service, b"READY=1")
        bash("echo hello > greeting", mountpoint)
        running.terminate()
        assert running.wait(SECONDS) == 0
        next_message(service, b"STOPPING=1")
        assert find_mount(str(mountpoint)) is not None
        with pytest.raises(OSError, match="Transport endpoint"):
            os.statvfs(mountpoint)
        descriptor = premounted(tmp_path, mountpoint, service)
        running = daemon(tmp_path, descriptor)
        next_message(service, b"READY=1")
        assert bash("cat greeting", mountpoint) == "hello\n"
    finally:
        running.kill()
        running.wait(SECONDS)


def test_it_is_not_for_a_shell(tmp_path: Path):
    """Without systemd nobody would hold the connection, and the mount would be dead at once."""
    bare = {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}
    found = subprocess.run(
        [*BLOBFS, "mounter", "--user", "root", str(tmp_path)],
        env={**bare, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert found.returncode == 2
    assert "for a service of systemd" in found.stderr
    assert find_mount(str(tmp_path)) is None
