"""The system calls of a daemon, and the bytes they move, as strace sees them.

It makes a daemon several times slower, so it has a pass of its own; numbers of calls are hardly changed by
it. A call that strace finds in progress when it comes is counted, one in progress when it goes is not.
"""

import re
import select
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.benchmarks.running import Failed
from tools.counting.counted import SystemCalls

MOVING = re.compile(r"p?(read|write)(v|64|v2)?|recv(from|msg)?|send(to|msg)?|vmsplice")
"""Calls whose bytes pass through the caller's memory; sendfile, splice and copy_file_range avoid it."""
START_SECONDS = 10.0

_ENDED = re.compile(
    r"^\d+ +(?:<\.\.\. )?(?P<name>\w+)(?:\(| resumed>).* = (?P<result>-?\d+)[^=]*$", re.MULTILINE
)


class Traced:
    """What was seen; filled in when the ``with`` is left."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.moved = 0

    def per(self, count: int) -> SystemCalls:
        return SystemCalls({name: number / count for name, number in self.calls.items()}, self.moved / count)


@contextmanager
def traced(pid: int) -> Iterator[Traced]:
    found = Traced()
    with tempfile.TemporaryDirectory() as place:
        said = Path(place) / "said"
        command = ["strace", "-f", "-s", "0", "-o", str(said), "-p", str(pid)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            _wait_until_attached(process)
            yield found
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=START_SECONDS)
        count_calls(said.read_text("utf-8", "replace"), found)


def _wait_until_attached(process: subprocess.Popen[bytes]) -> None:
    """strace says so when it has all threads."""
    assert process.stderr is not None
    ready, _, _ = select.select([process.stderr], [], [], START_SECONDS)
    if not ready or b"attached" not in (line := process.stderr.readline()):
        raise Failed(f"strace: {line.decode() if ready else 'does not begin'}")


def count_calls(said: str, found: Traced) -> None:
    for call in _ENDED.finditer(said):
        name, result = call["name"], int(call["result"])
        found.calls[name] += 1
        if result > 0 and MOVING.fullmatch(name):
            found.moved += result
