"""Starts a faulty share (`tests.servers.faulty`), tells it what to do, ends it.

::

    with FaultyProcess(node.share, tmp_path / "requests") as share:
        share.tell(plan="blob=..s100")
        ...                                 # ask share.url
        assert share.statistics()["faults"]["s100"] == 1
"""

import json
import subprocess
import sys
from pathlib import Path
from select import select
from types import TracebackType
from typing import Any, Self

from tests.servers.faulty import Mode
from tests.structure import ROOT

SECONDS = 20.0
"""For the start and for each order; far more than it takes."""


class FaultyProcess:
    """One faulty share over `root`. `log_path` holds a line a request."""

    def __init__(self, root: Path, log_path: Path, plan: str = "") -> None:
        self.log_path = log_path
        self._command = [sys.executable, "-m", "tests.servers.faulty", f"--root={root}", f"--log={log_path}"]
        self._command += [f"--plan={plan}"]
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.port = self._answer()["port"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def tell(self, *, plan: str | None = None, mode: Mode | None = None) -> dict[str, Any]:
        """What is given holds when this returns; the rest stays. Its statistics so far."""
        order = {key: value for key, value in (("plan", plan), ("mode", mode)) if value is not None}
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return self._answer()

    def statistics(self) -> dict[str, Any]:
        return self.tell()

    def log(self) -> list[dict[str, Any]]:
        """What was asked and done, in the order in which it ended."""
        self.tell()  # one thing after the other: what was answered before this is written down
        return [json.loads(line) for line in self.log_path.read_text("utf-8").splitlines()]

    def _answer(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        readable, _, _ = select([self._process.stdout], [], [], SECONDS)
        line = self._process.stdout.readline() if readable else b""
        assert line, f"the faulty share on port {self.port} does not answer"
        found: dict[str, Any] = json.loads(line)
        return found
