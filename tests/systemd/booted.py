"""A real systemd to test under: the machine's own, as pid 1 of namespaces of its own, see boot.sh.

::

    with BootedSystem(tmp_path) as system:
        system.write("/etc/systemd/system/x.service", ...)
        system.run("systemctl", "start", "x")
        system.reboot()

Rules:

1. It sees the machine's files, and what it writes goes to a tmpfs that lives as long as the object: never on
   the bare root, whose /tmp it would clean and whose processes it would end.
2. Every command has a time limit. Its output goes to files, so that one that cannot be killed, because it
   waits for a dead mount, holds up nobody.
3. It ends when its parent ends, whatever happens: asked first, then killed, and all that ran in it with it.
"""

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.structure import ROOT

BOOT_SECONDS = 30.0
"""It takes half a second."""

COMMAND_SECONDS = 20.0
SHUTDOWN_SECONDS = 15.0
CHECKOUT = Path("/opt/checkout")
"""Where the checkout is in there."""

_POWER_OFF = signal.SIGRTMIN + 4
"""What systemd takes for `systemctl poweroff`, without a bus."""
_FETCHING = re.compile(r"PIP_|.*_PROXY\Z|.*_proxy\Z|SSL_CERT_FILE\Z|REQUESTS_CA_BUNDLE\Z")
"""Variables that say where packages come from."""
_SCRIPT = Path(__file__).with_name("boot.sh")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Failed(AssertionError):
    """A command in there ended with something other than 0."""


class BootedSystem:
    """One system. `pid` is systemd's, as seen from here, while it runs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pid: int | None = None
        self._booting: subprocess.Popen[bytes] | None = None

    # Its life

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", self.directory], check=True, timeout=10
        )
        (self.directory / "disk").mkdir()
        try:
            self.boot()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.shut_down()
        finally:
            subprocess.run(["umount", "--lazy", self.directory], check=True, timeout=10)

    def boot(self) -> None:
        """Returns when systemd has started all that it starts."""
        pid_file = self.directory / "pid"
        pid_file.unlink(missing_ok=True)
        with (self.directory / "boot.log").open("ab") as log:
            self._booting = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private",
                 "sh", _SCRIPT, self.directory, ROOT],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        end = time.monotonic() + BOOT_SECONDS
        while not self._is_up(pid_file):
            if time.monotonic() > end or self._booting.poll() is not None:
                raise AssertionError(f"systemd did not boot: {(self.directory / 'boot.log').read_text()}")
            time.sleep(0.02)
        self.run("systemctl", "is-system-running", "--wait", check=False, seconds=BOOT_SECONDS)

    def _is_up(self, pid_file: Path) -> bool:
        """Whether systemd answers: before, there is a shell in its place, in the old root."""
        try:
            self.pid = int(pid_file.read_text())
            command = Path(f"/proc/{self.pid}/comm").read_text()
        except (OSError, ValueError):
            return False
        return command == "systemd\n" and Path(f"/proc/{self.pid}/root/run/systemd/private").exists()

    def shut_down(self) -> None:
        """In order if it can, and in any case."""
        if self._booting is None:
            return
        try:
            if self.pid is not None and self._booting.poll() is None:
                os.kill(self.pid, _POWER_OFF)
            self._booting.wait(SHUTDOWN_SECONDS)
        except subprocess.TimeoutExpired:
            if self.pid is not None:
                os.kill(self.pid, signal.SIGKILL)
            self._booting.kill()
            self._booting.wait()
            raise AssertionError(f"systemd did not end within {SHUTDOWN_SECONDS:g} s") from None
        finally:
            self.pid = self._booting = None

    def reboot(self) -> None:
        """What is on the disk is all that stays."""
        self.shut_down()
        self.boot()

    # What is done in it

    def run(self, *command: str | Path, check: bool = True, **how: Any) -> str:
        """What it says on both outputs. Raises `Failed` if it does not end with 0; `how` as for `result`."""
        code, text = self.result(*command, **how)
        if check and code:
            raise Failed(f"{' '.join(map(str, command))} ended with {code}:\n{text}")
        return text

    def code(self, *command: str | Path, **how: Any) -> int:
        """Its exit code; `how` as for `result`."""
        return self.result(*command, **how)[0]

    def result(
        self,
        *command: str | Path,
        seconds: float = COMMAND_SECONDS,
        user: str = "root",
        stdin: bytes = b"",
        network: bool = False,
    ) -> tuple[int, str]:
        """The exit code, 124 or 137 if it did not end in time, and what it said.

        `network`: in this machine's network and with its proxies, to fetch packages. Else there is loopback.
        """
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as given:
            given.write(stdin)
            given.seek(0)
            arguments = self._inside(command, seconds, user, network)
            program = subprocess.Popen(arguments, stdin=given, stdout=said, stderr=said)
            try:
                code = program.wait(seconds + 5)
            except subprocess.TimeoutExpired:  # it cannot even be killed
                program.kill()
                code = 137
            said.seek(0)
            return code, said.read().decode("utf-8", "replace")

    @contextmanager
    def started(self, *command: str | Path, user: str = "root") -> Iterator[subprocess.Popen[str]]:
        """A program that runs beside, with pipes to it; killed at the end if it is not over by then."""
        pipe = subprocess.PIPE
        arguments = self._inside(command, 600, user)
        with subprocess.Popen(
            arguments, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True
        ) as program:
            try:
                yield program
            finally:
                program.terminate()

    def _inside(
        self, command: tuple[str | Path, ...], seconds: float, user: str, network: bool = False
    ) -> list[str]:
        assert self.pid is not None, "the system does not run"
        spaces = ["--mount", "--uts", "--ipc", "--pid", "--cgroup", *([] if network else ["--net"])]
        fetching = [f"{key}={value}" for key, value in os.environ.items() if network and _FETCHING.match(key)]
        as_user = [] if user == "root" else ["runuser", f"--user={user}", "--"]
        return [
            "nsenter", f"--target={self.pid}", *spaces, "--wdns=/", "env", "-i", f"PATH={_PATH}",
            "HOME=/root", "LC_ALL=C.UTF-8", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0", *fetching, *as_user,
            "timeout", "--kill-after=2", f"{seconds:g}", *map(str, command),
        ]  # fmt: skip

    def write(self, path: str | Path, text: str, mode: int = 0o644) -> None:
        """A file, and the directories above it."""
        script = 'mkdir -p "$(dirname "$0")" && cat >"$0" && chmod "$1" "$0"'
        self.run("sh", "-c", script, path, f"{mode:o}", stdin=text.encode())

    def read(self, path: str | Path) -> str:
        return self.run("cat", path)

    # What it says

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "--property", name, "--value", unit).strip()

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """The records of all boots, oldest first; `matches` as journalctl takes them."""
        text = self.run("journalctl", "--output=json", "--no-pager", "--quiet", *matches)
        return [json.loads(line) for line in text.splitlines()]

    def said(self, unit: str) -> str:
        """What the journal has of a unit, as a person would read it."""
        return self.run("journalctl", "--output=short-precise", "--no-pager", "--quiet", f"--unit={unit}")

    def mounts(self, fs_type: str = "fuse.blobfs") -> list[str]:
        """Where something of this type is mounted; asks the kernel's table, never the mounts."""
        table = [line.split(" ") for line in self.read("/proc/1/mountinfo").splitlines()]
        return [fields[4] for fields in table if fields[fields.index("-") + 1] == fs_type]
