"""A booted system with blobfs installed in it, and nodes in it as an administrator would set them up.

`install` runs the real tools/install out of a copy of the checkout. In the tests it makes no virtual
environment, the checkout's serves, and bytecode is made beforehand (nobody in the system could write it).
"""

import json
import os
from pathlib import Path
from typing import Any

from tests.mount.probes import until
from tests.systemd.booted import CHECKOUT, BootedSystem

SNAPSHOT = Path("/opt/blobfs-checkout")
"""The sources as they were when it was installed."""
PARTS = ("blobfs", "tools", "systemd", "requirements", "pyproject.toml", "README.md", "LICENSE")
COMMAND = SNAPSHOT / "command"

FULL = "BLOBFS_SYSTEMD_FULL"
"""Set by `tools/systemd`: the installation makes its environment itself, from the package registry."""
FULL_SECONDS = 600

WARNING = 4
"""Priority of a warning in the journal (syslog(3)); what is graver has less."""

START_SECONDS = 60.0
"""For what waits until a daemon is ready: it takes a second, and five on a busy machine."""


def install(system: BootedSystem, *, full: bool = False) -> None:
    """As on a machine."""
    system.run("mkdir", SNAPSHOT)
    system.run("cp", "-a", *(CHECKOUT / part for part in PARTS), SNAPSHOT)
    if not full:
        system.run("ln", "-s", CHECKOUT / ".venv", SNAPSHOT)
        python = SNAPSHOT / ".venv" / "bin" / "python"
        system.run(python, "-m", "compileall", "-q", SNAPSHOT / "blobfs", seconds=120)
        system.write(COMMAND, f'#!/bin/sh\nPYTHONPATH={SNAPSHOT} exec {python} -P -m blobfs "$@"\n', 0o755)
    install_again(system)


def install_again(system: BootedSystem) -> None:
    """From the same sources, in the same way."""
    is_full = system.code("test", "-e", COMMAND) != 0
    arguments = [] if is_full else ["--command", str(COMMAND)]
    told = system.run(SNAPSHOT / "tools" / "install", *arguments, seconds=FULL_SECONDS, network=is_full)
    if FULL in os.environ:
        print(told)


class Service:
    """``blobfs@NAME`` in a system: its configuration, its mount, what is seen of it."""

    def __init__(self, system: BootedSystem, name: str, port: int) -> None:
        self.system = system
        self.name = name
        self.unit = f"blobfs@{name}.service"
        self.mountpoint = Path("/srv") / name
        self.store = Path("/var/lib/blobfs") / name
        self.config = Path("/etc/blobfs") / f"{name}.toml"
        self.url = f"http://127.0.0.1:{port}/"
        self._port = port

    def configure(self, more: str = "", *, mountpoint: Path | None = None) -> None:
        """Writes its configuration; `more` goes to the end."""
        self.mountpoint = mountpoint or self.mountpoint
        text = f'mountpoint = "{self.mountpoint}"\nstore = "{self.store}"\nallow_other = true\n'
        text += f'[serve]\nlisten = "127.0.0.1:{self._port}"\n{more}'
        self.system.write(self.config, text, 0o640)
        self.system.run("chgrp", "blobfs", self.config)

    def drop_in(self, name: str, text: str) -> None:
        """As `systemctl edit` writes them."""
        self.system.write(f"/etc/systemd/system/{self.unit}.d/{name}.conf", text)
        self.system.run("systemctl", "daemon-reload")

    def start(self) -> None:
        self.system.run("systemctl", "start", self.unit, seconds=START_SECONDS)

    def stop(self) -> None:
        self.system.run("systemctl", "stop", self.unit, seconds=START_SECONDS)

    def is_active(self) -> bool:
        return self.system.show(self.unit, "ActiveState") == "active"

    def wait_active(self) -> None:
        """Until a start that is on its way is done."""
        until(self.is_active, f"{self.unit} is active:\n{self.system.said(self.unit)}", START_SECONDS)

    def wait_restarted(self, former: int) -> None:
        """Until another daemon than `former` serves."""
        what = f"{self.unit} has a new daemon"
        until(lambda: self.is_active() and self.pid() not in (0, former), what, START_SECONDS)

    def pid(self) -> int:
        """The daemon's, as seen from inside; 0 if there is none."""
        return int(self.system.show(self.unit, "MainPID"))

    def is_mounted(self) -> bool:
        return str(self.mountpoint) in self.system.mounts()

    def share(self, name: str, text: str) -> None:
        """Returns when it is sealed and shared."""
        self.system.write(self.mountpoint / name, text)
        self.system.run("sync", self.mountpoint)

    def read(self, name: str, user: str = "root") -> str:
        return self.system.run("cat", self.mountpoint / name, user=user)

    def complaints(self, cursor: str) -> list[str]:
        """What an operator should look at, in the journal since then."""
        records = self.system.journal(f"--after-cursor={cursor}", f"--unit={self.unit}")
        assert records
        return [record["MESSAGE"] for record in records if int(record["PRIORITY"]) <= WARNING]

    def status(self) -> dict[str, Any]:
        """Of the process: /proc/PID/status, by its keys."""
        lines = self.system.read(f"/proc/{self.pid()}/status").splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    def node_status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.system.run("blobfs", "status", "--json", self.mountpoint))
        return found
