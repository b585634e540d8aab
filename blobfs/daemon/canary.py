"""The canary: another process reads through the mount, so that readiness and the watchdog tell the truth.

A daemon cannot read its own mount. What it thinks of itself proves little: the mount may be gone, covered or
stuck while the loop turns. So `cat` reads ``.blobfs/canary``: two names are looked up, a file is opened, and
READs are answered, past every cache of the kernel.
"""

import logging
import subprocess
import time
from collections.abc import Callable

import trio

from blobfs.daemon.readiness import notify
from blobfs.errors import StartRefused
from blobfs.fuse.mountinfo import find_mount, is_automounted
from blobfs.model import RESERVED_PREFIX
from blobfs.vfs.canary import NAME, SIZE, canary_text

_log = logging.getLogger(__name__)

FIRST_SECONDS = 20.0
"""For the first reading. A mount that does not answer by then is not ready, and never will be."""

BEATS = 3
"""Readings in the time that the watchdog grants: one may fail for a reason that has passed."""


class Canary:
    """Of one mount. Mutable: `_is_silent`, from a reading that failed to one that did not."""

    def __init__(self, mountpoint: str) -> None:
        self._mountpoint = mountpoint
        self._path = f"{mountpoint}/{RESERVED_PREFIX}/{NAME}"
        self._is_silent = False

    async def demand(self) -> None:
        """The first reading. Raises `StartRefused` when the mount does not answer.

        None in an automount: until mount(8) has returned, which waits for us, every look at it waits as well.
        """
        if is_automounted(self._mountpoint):
            return
        with trio.move_on_after(FIRST_SECONDS):
            problem = await self.listen()
            if problem is None:
                return
            raise StartRefused(f"mounted, but it cannot be read: {problem}")
        raise StartRefused(f"mounted, but it does not answer within {FIRST_SECONDS:.0f} s")

    async def feed_watchdog(self, seconds: float, status: Callable[[], str]) -> None:
        """Tells systemd that the mount can be read, as often as it wants to know, until it is cancelled.

        A reading that hangs is waited for: nothing is said then, and the watchdog strikes.
        """
        while True:
            problem = await self.listen()
            if problem is None:
                notify("WATCHDOG=1", f"STATUS={status()}")
            elif not self._is_silent and find_mount(self._mountpoint) is not None:  # else it is the end
                _log.warning("the mount cannot be read, so the watchdog is not fed: %s", problem)
            self._is_silent = problem is not None
            await trio.sleep(seconds / BEATS)

    async def listen(self) -> str | None:
        """What is wrong with the mount."""
        asked = time.monotonic_ns()
        try:
            reader = await trio.lowlevel.open_process(
                ["cat", "--", self._path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:  # no descriptors, no memory: the mount has them, and goes on
            return f"cat cannot be started: {error.strerror}"
        assert reader.stdout is not None
        assert reader.stderr is not None
        try:
            async with reader.stdout, reader.stderr:
                text = b"".join([piece async for piece in reader.stdout])
                said = b"".join([piece async for piece in reader.stderr])
            code = await reader.wait()
        finally:
            if reader.returncode is None:
                reader.kill()  # without waiting: what hangs in the kernel ends with the mount
        if code != 0:
            return said.decode("utf-8", "replace").strip() or f"cat ended with {code}"
        return _problem(text, asked)


def _problem(text: bytes, asked: int) -> str | None:
    """What is wrong with the bytes that were read, by who asked at `asked` (``CLOCK_MONOTONIC``)."""
    stamp = text[:64].partition(b"\n")[0].rpartition(b" ")[2]
    if len(text) != SIZE or not stamp.isdigit() or text != canary_text(int(stamp)):
        return f"{len(text)} bytes that are not the canary's"
    if int(stamp) < asked:
        return "an old reading came back: something caches what it must not"
    return None
