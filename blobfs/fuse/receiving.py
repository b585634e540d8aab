"""Keeps pyfuse3's loop from freezing the process when a request is taken back.

The loop reads the kernel's descriptor, which blocks, as soon as trio says that it is readable. If the
caller is killed, or a signal's INTERRUPT is outdated by the answer, between the two, there is nothing to
read any more: the read holds up every task and thread of the process until somebody next touches the
mount. Seen with a signal to a caller whose answer came while the loop was busy, every other time.

So the descriptor is made non-blocking, and the loop, which knows no EAGAIN, is begun again when it gets one.
What a loop leaves behind then is its buffer, of which a page or two was ever touched.
"""

import functools
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pyfuse3

_log = logging.getLogger(__name__)

_LOOP = "_session_loop"
"""pyfuse3's own name for the task that receives and answers requests; it starts more of its kind by it."""


def fuse_descriptors() -> frozenset[int]:
    """This process's connections to the kernel."""
    return frozenset(int(fd) for fd in os.listdir("/proc/self/fd") if _target(fd) == "/dev/fuse")


def _target(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""  # the listing's own descriptor, closed by now


def never_block(descriptors: frozenset[int]) -> None:
    """To be called between `pyfuse3.init` and `pyfuse3.main`."""
    loop = getattr(pyfuse3, _LOOP, None)
    if loop is None:
        _log.warning("this pyfuse3 has no %s: the mount may freeze when callers are killed", _LOOP)
        return
    if not hasattr(loop, "begins_again"):
        setattr(pyfuse3, _LOOP, _begin_again(loop))
    for descriptor in descriptors:
        os.set_blocking(descriptor, False)


def _begin_again(loop: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(loop)
    async def patient_loop(*args: Any) -> None:
        while True:
            try:
                await loop(*args)
                return
            except BlockingIOError:
                _log.debug("a request was taken back before it was read")
            except ConnectionAbortedError:
                # libfuse takes only ENODEV for the end; a connection that ends while it is read says this.
                _log.debug("the kernel has ended the connection")
                return

    patient_loop.begins_again = True  # type: ignore[attr-defined]
    return patient_loop
