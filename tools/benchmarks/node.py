"""The node that is measured: that of the tests, with more time to live and an eye on what it uses."""

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.mount.node import BlobfsNode, is_trouble, log_records
from tools.benchmarks.report import say

LIFETIME = 1200.0
"""Seconds until a node that was forgotten is killed, so that no program can hang in its mount for good."""
SEAL_SECONDS = 300.0
TOLD = 20
"""Lines of its log that are shown when something fails."""


class MeasuredNode(BlobfsNode):
    """Shares are bad on purpose here, so warnings are fine; a node that ends badly is said, not raised."""

    lifetime = LIFETIME

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.process is not None:
                self.stop()
        except AssertionError as failure:
            say(f"! {failure}")
        finally:
            self._clear_away()
            if error is not None:
                error.add_note("\n".join([f"log of {self.name}:", *self.log().splitlines()[-TOLD:]]))

    def wait_until_sealed(self) -> None:
        end = time.monotonic() + SEAL_SECONDS
        while (status := self.status())["files"]["handles"] or status["sealing"]["pending"]:
            if time.monotonic() > end:
                raise TimeoutError(f"not sealed after {SEAL_SECONDS:g} s: {status}")
            time.sleep(0.02)

    def trouble(self) -> list[str]:
        """What an operator should look at, one line each."""
        return [record.partition("\n")[0] for record in log_records(self.log()) if is_trouble(record)]

    @property
    def pid(self) -> int:
        return self._running().pid

    def rss(self) -> int:
        """Bytes of memory it holds now."""
        return self._memory("VmRSS")

    def peak_rss(self) -> int:
        return self._memory("VmHWM")

    def cpu_seconds(self) -> float:
        """User and system time since it was started."""
        after_name = self._proc("stat").rpartition(")")[2].split()
        user, system = after_name[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _memory(self, field: str) -> int:
        line = next(line for line in self._proc("status").splitlines() if line.startswith(f"{field}:"))
        return int(line.split()[1]) * 1024

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self._running().pid}/{name}").read_text("utf-8")

    def count(self, *keys: str) -> Any:
        """A figure of its status, by the keys that lead there; 0 where it is not told yet."""
        found: Any = self.status()
        for key in keys:
            found = found.get(key, 0) if isinstance(found, dict) else 0
        return found
