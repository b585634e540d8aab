"""A program on a terminal of its own: what it shows there, typing, a new size, and how it left things."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

SECONDS = 20.0
"""Nothing here takes longer, unless it hangs."""

_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
_HOME = "\x1b[H"
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_SIZES = {"COLUMNS", "LINES", "TERM"}
"""What would be believed instead of the terminal."""
_ENTER, _LEAVE = "\x1b[?1049h", "\x1b[?1049l"


class Terminal:
    """Use it as a context manager: the program is killed at the end if it still runs."""

    def __init__(
        self,
        *command: str | Path,
        env: Mapping[str, str],
        size: tuple[int, int] = (100, 30),
        stdin: bool = True,
    ) -> None:
        """`size`: columns and lines."""
        self._ours, theirs = pty.openpty()
        self.resize(*size)
        self._modes = termios.tcgetattr(theirs)
        self.program = subprocess.Popen(
            command,
            env={"TERM": "xterm-256color", **{key: env[key] for key in env.keys() - _SIZES}},
            stdin=theirs if stdin else subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal if stdin else None,
        )
        self._theirs = theirs
        self.output = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.program.kill()
        self.program.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def resize(self, columns: int, lines: int) -> None:
        self._size = columns, lines
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def screen(self) -> list[str]:
        """The lines of the last drawing, without colours; none while it is not whole.

        A program that draws on all of a terminal pads its lines, the last one too.
        """
        columns, lines = self._size
        drawn = _SEQUENCE.sub("", self.output.rpartition(_HOME)[2]).split("\r\n")
        if len(drawn) != lines or len(drawn[-1]) != columns:
            return []
        return [line.rstrip() for line in drawn]

    def until(self, is_so: Callable[[list[str]], object], what: str) -> list[str]:
        """The first drawing that is so."""
        end = time.monotonic() + SECONDS
        while not is_so(self.screen()):
            assert time.monotonic() < end, f"{what} was not shown: {self.output[-3000:]!r}"
            self._read(0.2)
        return self.screen()

    def until_text(self, text: str) -> list[str]:
        return self.until(lambda screen: any(text in line for line in screen), text)

    def ended(self) -> int:
        """Its exit code. The rest of its output has been read."""
        code = self.program.wait(SECONDS)
        while self._read(0.0):
            pass
        return code

    def is_as_before(self) -> bool:
        """The cursor is there, the first screen is shown, and the keyboard gives lines."""
        return (
            self.output.rfind(_SHOW) >= self.output.rfind(_HIDE)
            and self.output.rfind(_LEAVE) >= self.output.rfind(_ENTER)
            and termios.tcgetattr(self._theirs)[:4] == self._modes[:4]
        )

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], seconds)
        if ready:
            self.output += os.read(self._ours, 1 << 16).decode("utf-8", "replace")
        return bool(ready)


def _take_terminal() -> None:
    """So that Ctrl-C becomes a signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGTSTP, signal.SIG_DFL)
