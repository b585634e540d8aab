"""A real node: the real command in a process of its own, with its own store, mount and port.

::

    with BlobfsNode(tmp_path, listen=True) as a, BlobfsNode(tmp_path, "b", shares=[a.url]) as b:
        a.path("greeting").write_text("hello")
        assert b.path("greeting").read_text() == "hello"

Three rules make a test of it trustworthy:

1. It ends well: SIGTERM, exit code 0 within `STOP_SECONDS`, and nothing stays mounted, whatever happened.
2. A WARNING, an ERROR or a traceback in its log fails the test, unless `expect_log` announced it.
3. It lives for `LIFETIME` seconds at most. Then it is killed, the kernel fails every call that waits for it,
   and a test that hangs in one goes on to fail.
"""

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from os import environ, pipe
from pathlib import Path
from select import select
from types import TracebackType
from typing import IO, Any, Self

from blobfs.control.client import fetch_status
from tests.servers.nginx import free_port
from tests.structure import ROOT

START_SECONDS = 20.0
STOP_SECONDS = 5.0
LIFETIME = 50.0
"""Less than a test may take (`tests.mount.conftest.TEST_SECONDS`)."""

_RECORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?P<level>[A-Z]+) ")
_HARMLESS = frozenset({"DEBUG", "INFO"})


def log_records(text: str) -> list[str]:
    """A log cut into records: a line that begins with a time, and those after it that do not."""
    records: list[str] = []
    for line in text.splitlines():
        if _RECORD.match(line) or not records:
            records.append(line)
        else:
            records[-1] += "\n" + line
    return records


def is_trouble(record: str) -> bool:
    """Whether somebody must look at a record: a warning, an error, a traceback, or no record at all."""
    match = _RECORD.match(record)
    return match is None or match["level"] not in _HARMLESS or "\nTraceback" in record


class BlobfsNode:
    """One node below `directory`. `process` is None while it does not run; the port never changes."""

    lifetime = LIFETIME
    launcher: Sequence[str] = ()
    """A program, with its arguments, that becomes the command."""

    def __init__(
        self,
        directory: Path,
        name: str = "a",
        *,
        shares: Sequence[str] = (),
        plain_shares: Sequence[str] = (),
        listen: bool = False,
        options: Iterable[str] = ("fill=never",),
        arguments: Iterable[str] = (),
    ) -> None:
        """`options` come after ``-o``, `arguments` before the mountpoint, as they are."""
        self.name = name
        self.store = directory / f"{name}-store"
        self.mountpoint = directory / f"{name}-mnt"
        self.share = self.store / "share"
        self._startup_log = directory / f"{name}-startup-log"
        self._port = free_port() if listen else None
        self.options = list(options)
        self.arguments = [
            *(f"--share={url}" for url in shares),
            *(f"--plain-share={url}" for url in plain_shares),
            *arguments,
        ]
        self.process: subprocess.Popen[bytes] | None = None
        self._expected: list[tuple[re.Pattern[str], bool]] = []
        self._watchdog: threading.Timer | None = None

    def __repr__(self) -> str:
        return f"<BlobfsNode {self.name} {self.mountpoint} {'up' if self.process else 'down'}>"

    # Its life

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.process is not None:
                self.stop()
            self.check_log()
        except Exception as failure:
            if error is None:
                raise
            error.add_note(f"and {self.name} ended badly: {failure}")
        finally:
            self._clear_away()
            if error is not None:
                error.add_note(f"log of {self.name}:\n{self.log()}")

    def start(self) -> None:
        """Returns when the mount is ready."""
        if not self.is_mounted():  # a dead mount is the node's business
            self.mountpoint.mkdir(parents=True, exist_ok=True)
        reading, writing = pipe()
        with open(reading, "rb") as ready, self._startup_log.open("ab") as stderr:
            with open(writing, "wb"):
                self.process = self._launch(writing, stderr)
            readable, _, _ = select([ready], [], [], START_SECONDS)
            if not readable or not ready.read(1):
                self._clear_away()
                raise AssertionError(f"{self.name} did not start; its log:\n{self.log()}")
        self.prolong()

    def prolong(self) -> None:
        """Another `lifetime` from now on."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._watchdog = threading.Timer(self.lifetime, self._running().kill)
        self._watchdog.daemon = True
        self._watchdog.start()

    def _launch(self, ready_fd: int, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
        listen = [f"--listen=127.0.0.1:{self._port}"] if self._port is not None else []
        options = [f"-o{','.join(self.options)}"] if self.options else []
        return subprocess.Popen(
            [
                *self.launcher,
                *(sys.executable, "-P", "-m", "blobfs", "mount", f"--store={self.store}"),
                *(*listen, *options, *self.arguments),
                *(f"--ready-fd={ready_fd}", self.mountpoint),
            ],
            env={**environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"},
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            pass_fds=(ready_fd,),
        )

    def stop(self) -> None:
        """SIGTERM; fails unless it ends with exit code 0 in time and takes its mount along."""
        process = self._running()
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._clear_away()
            raise AssertionError(f"{self.name} still runs {STOP_SECONDS:g} s after SIGTERM") from None
        self._forget_process()
        assert code == 0, f"{self.name} ended with exit code {code}"
        assert not self.is_mounted(), f"{self.name} left its mount behind"

    def kill9(self) -> None:
        """SIGKILL: its mount stays behind, dead. The next start says so in the log."""
        process = self._running()
        process.kill()
        process.wait()
        self._forget_process()
        self.expect_log("removed a dead mount", perhaps=True)

    def restart(self) -> None:
        """Ends well, or was killed before, and starts again on the same store, mountpoint and port."""
        if self.process is not None:
            self.stop()
        self.start()

    def wait_ended(self) -> int:
        """The exit code of a node that ends by itself, because it was unmounted for instance."""
        code = self._running().wait(STOP_SECONDS)
        self._forget_process()
        return code

    def _running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, f"{self.name} does not run"
        return self.process

    def _forget_process(self) -> None:
        self.process = None
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None

    def _clear_away(self) -> None:
        """Nothing runs and nothing is mounted after this."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._forget_process()
        for _ in range(8):
            if not self.is_mounted():
                return
            subprocess.run(
                ["fusermount3", "-u", "-z", "--", self.mountpoint],
                timeout=10,
                check=False,
                capture_output=True,
            )

    def is_mounted(self) -> bool:
        """Asks the kernel's table, not the mount."""
        table = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
        return any(line.split(" ")[4] == str(self.mountpoint) for line in table.splitlines())

    # What it does

    def path(self, name: str | bytes = "") -> Path:
        """A name as a path in the mount."""
        text = name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
        return self.mountpoint / text

    def blob(self, blob: str) -> Path:
        """A blob by its id."""
        return self.mountpoint / ".blobfs" / "blobs" / blob

    @property
    def url(self) -> str:
        """Where it serves its share."""
        assert self._port is not None, f"{self.name} does not listen"
        return f"http://127.0.0.1:{self._port}/"

    def status(self) -> dict[str, Any]:
        return fetch_status(self.store)

    def operations(self, kind: str) -> int:
        """How often the kernel has asked for `kind` since the node was started."""
        count: int = self.status()["operations"].get(kind, 0)
        return count

    def flushes(self) -> int:
        """How often the disk was flushed since the node was started."""
        store = self.status()["store"]
        count: int = store["file_flushes"] + store["group_flushes"]
        return count

    def wait_until_sealed(self) -> None:
        """Until nothing that was closed waits for its seal; for tests that look into the store."""
        end = time.monotonic() + STOP_SECONDS
        while True:
            status = self.status()
            sealing = status["sealing"]
            if not (status["files"]["handles"] or sealing["pending"] or sealing["running"]):
                return
            assert time.monotonic() < end, f"not sealed: {status}"
            time.sleep(0.01)

    # Its log

    def log(self) -> str:
        """Everything it said, of all its runs."""
        parts = [self._startup_log, self.store / "log"]
        return "".join(part.read_text("utf-8", "replace") for part in parts if part.exists())

    def expect_log(self, pattern: str, *, perhaps: bool = False) -> None:
        """Announces trouble: a record that matches is fine, and must be there unless `perhaps`."""
        self._expected.append((re.compile(pattern), perhaps))

    def check_log(self) -> None:
        """Fails over trouble that was not announced, and over announced trouble that did not come."""
        records = log_records(self.log())
        for record in filter(is_trouble, records):
            if not any(pattern.search(record) for pattern, _ in self._expected):
                raise AssertionError(f"unexpected in the log of {self.name}:\n{record}")
        for pattern, perhaps in self._expected:
            if not perhaps and not any(pattern.search(record) for record in records):
                raise AssertionError(f"{self.name} did not log {pattern.pattern!r}")
