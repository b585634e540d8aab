"""Three faulty shares over one directory, whose behaviour changes every few seconds."""

import json
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.faults.phases import CALM, SHARES, Phase, plan_phase
from tests.servers.faults import RIGHT
from tests.servers.faulty_process import FaultyProcess

ABSENT = "a"
EVIDENCE_ENTRIES = 6
"""Of a share's log with a failure: those that were not as they should be, and the last one beside."""


class Weather:
    """The shares, and a thread that goes from phase to phase while it storms."""

    def __init__(self, root: Path, directory: Path, seed: int, without: str) -> None:
        self.shares = [FaultyProcess(root, directory / f"requests-{number}") for number in range(SHARES)]
        self.phase = CALM
        self.fixed: Phase | None = None
        """Instead of one phase after the other."""
        self._seed = seed
        self._without = without
        self._next = 0
        self._stack = ExitStack()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        for share in self.shares:
            self._stack.enter_context(share)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.calm_down()
        self._stack.close()

    def storm(self) -> None:
        """Phases from here on, where the last storm stopped. The first one holds when this returns."""
        self._stop.clear()
        first = self._next_phase()
        self._thread = threading.Thread(target=self._run, args=(first.seconds,))
        self._thread.start()

    def calm_down(self) -> None:
        """All shares are as they should be when this returns, for requests that come from now on."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stop.set()
            thread.join()
            self._set(CALM)

    def _run(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            seconds = self._next_phase().seconds

    def _next_phase(self) -> Phase:
        phase = self.fixed or plan_phase(self._seed, self._next, self._without)
        self._next += 1
        self._set(phase)
        return phase

    def _set(self, phase: Phase) -> None:
        self.phase = phase
        for share, plan, mode in zip(self.shares, phase.plans, phase.modes, strict=True):
            share.tell(plan=plan, mode=mode)

    def evidence(self, words: tuple[str, ...], seconds: float) -> str:
        """What the shares did lately about paths with one of `words` in them, what was wrong and the last."""
        since = time.time() - seconds
        lines = []
        for number, share in enumerate(self.shares):
            entries = self._entries(share, words, since)
            wrong = [entry for entry in entries[:-1] if entry["fault"] != RIGHT]
            for entry in [*wrong[-EVIDENCE_ENTRIES:], *entries[-1:]]:
                moment = time.strftime("%H:%M:%S", time.localtime(entry["time"]))
                lines.append(f"  share {number} {moment} {_shown(entry)}\n")
        return "".join(lines)

    def said_absent(self, words: tuple[str, ...], seconds: float) -> int:
        """How many shares have said lately that they do not have what has one of `words` in its path."""
        since = time.time() - seconds
        return sum(
            any(entry["fault"] == ABSENT for entry in self._entries(share, words, since))
            for share in self.shares
        )

    def _entries(self, share: FaultyProcess, words: tuple[str, ...], since: float) -> list[dict[str, Any]]:
        """What has been written down so far; the share is not asked, another thread may be asking it."""
        lines = share.log_path.read_text("utf-8").splitlines(keepends=True)
        found = [
            json.loads(line) for line in lines if any(word in line for word in words) and line[-1] == "\n"
        ]
        return [entry for entry in found if entry["time"] > since]


def _shown(entry: dict[str, Any]) -> str:
    span = f" {entry['range']}" if entry["range"] else ""
    return (
        f"{entry['method']} {entry['path'][:90]}{span}: {entry['fault']} "
        f"({entry['right']}, {entry['sent']} bytes in {entry['ms']} ms)"
    )
