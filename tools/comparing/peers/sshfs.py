"""``sshfs`` of a directory, through an sshd of its own on loopback, with keys of its own."""

import contextlib
import getpass
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from tests.servers.nginx import free_port
from tools.benchmarks.running import Overdue, Word, run, version_of
from tools.comparing.peers.daemon import mounting, running
from tools.comparing.peers.peer import Mounted, Source

PROGRAM, SERVER = "sshfs", "/usr/sbin/sshd"
PRIVILEGES = Path("/run/sshd")
"""sshd, as root, refuses to start without this empty directory; its package's service makes it."""
START_SECONDS = 10.0

_SERVER_CONFIGURATION = """
ListenAddress 127.0.0.1:{port}
HostKey {place}/host
AuthorizedKeysFile {place}/user.pub
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
Subsystem sftp internal-sftp
"""


class Sshfs:
    name = "sshfs"
    options = "sshfs, as it comes, of the share directory on a loopback sshd; written to: of an empty one"

    def version(self) -> str | None:
        if version_of(PROGRAM, "-V") is None or not Path(SERVER).exists():
            return None
        said = run(PROGRAM, "-V", limit=10, may_fail=True).said.splitlines()
        return next((line for line in said if "SSHFS" in line), "of no known version")

    def mount(self, source: Source, place: Path) -> contextlib.AbstractContextManager[Mounted]:
        return _mounted(place, source.share)

    @contextlib.contextmanager
    def mount_writable(self, place: Path) -> Iterator[Mounted]:
        (place / "written").mkdir(exist_ok=True)
        with _mounted(place, place / "written") as mounted:
            yield mounted


@contextlib.contextmanager
def _mounted(place: Path, directory: Path) -> Iterator[Mounted]:
    port, mountpoint = free_port(), place / "mnt"
    _set_up(place, port)
    command: list[Word] = [
        *(PROGRAM, "-f", "-F", "/dev/null", "-p", str(port)),
        *(f"{getpass.getuser()}@127.0.0.1:{directory}", mountpoint),
        *("-o", f"IdentityFile={place}/user,UserKnownHostsFile={place}/known,BatchMode=yes"),
        *("-o", "IdentitiesOnly=yes,StrictHostKeyChecking=yes"),
    ]  # fmt: skip
    with running(place, SERVER, "-D", "-e", "-f", place / "sshd_config") as server:
        _wait_until_it_listens(port)
        with mounting(place, command, mountpoint) as daemon:
            yield Mounted(mountpoint, (daemon.pid, server.pid), directory, death=daemon.death)


def _set_up(place: Path, port: int) -> None:
    if os.geteuid() == 0:
        PRIVILEGES.mkdir(mode=0o755, exist_ok=True)
    for key in ("host", "user"):
        if not (place / key).exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / key)
    host = (place / "host.pub").read_text("ascii")
    (place / "known").write_text(f"[127.0.0.1]:{port} {host}", "ascii")
    (place / "sshd_config").write_text(_SERVER_CONFIGURATION.format(port=port, place=place), "utf-8")


def _wait_until_it_listens(port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            if time.monotonic() > end:
                raise Overdue(f"sshd did not listen after {START_SECONDS:g} s") from None
            time.sleep(0.01)
        else:
            return
