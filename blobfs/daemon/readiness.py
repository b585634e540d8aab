"""What a node tells systemd (sd_notify(3)): that it is ready, how it does, that it lives.

Without systemd, which is told by ``NOTIFY_SOCKET``, nothing is said and nothing is imported.
"""

import logging
import os
import socket
import time
from collections.abc import Iterator

_log = logging.getLogger(__name__)

FUSE_DESCRIPTOR = "fuse"
"""What a mount that was made before the daemon started is called in the service's descriptor store."""

_FIRST_DESCRIPTOR = 3
"""Where passed descriptors begin (sd_listen_fds(3))."""


def notify(*assignments: str) -> None:
    """``READY=1``, ``STATUS=...`` and so on, in one message. That nobody takes it is no reason to end: it is
    said in the log, and systemd, if it is there, draws its own conclusions.
    """
    if "NOTIFY_SOCKET" in os.environ:
        # Its own `notify` knows no FDSTOREREMOVE, and sends one line a message.
        from cysystemd.daemon import sd_notify  # type: ignore[attr-defined]

        try:
            sd_notify("\n".join(assignments), False)
        except (OSError, ValueError) as error:  # it raises the latter for an errno
            _log.warning("%s cannot be told %s: %s", os.environ["NOTIFY_SOCKET"], assignments[0], error)


def notify_reloading() -> None:
    """To be followed by ``READY=1``."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_seconds() -> float | None:
    """Within which systemd wants to hear ``WATCHDOG=1``; None if it does not."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdigit() and int(microseconds) else None


def take_mount_descriptor() -> int | None:
    """The connection of a mount that was made for this daemon, which is its own from now on.

    systemd lets go of it: the connection has to end with the daemon, or its readers would wait for ever.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    descriptor = dict(_passed()).get(FUSE_DESCRIPTOR)
    if descriptor is not None:
        os.set_inheritable(descriptor, False)
        notify("FDSTOREREMOVE=1", f"FDNAME={FUSE_DESCRIPTOR}")
    return descriptor


def store_mount_descriptor(descriptor: int) -> None:
    """The other end of `take_mount_descriptor`: for who mounts before the daemon starts.

    One that an earlier daemon did not take is dropped first: there is room for one. FDPOLL=0: a connection
    that nobody serves yet looks broken to systemd, which would drop it.
    """
    address = os.environ["NOTIFY_SOCKET"]
    notify("FDSTOREREMOVE=1", f"FDNAME={FUSE_DESCRIPTOR}")
    message = f"FDSTORE=1\nFDNAME={FUSE_DESCRIPTOR}\nFDPOLL=0".encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as service:
        service.connect("\0" + address[1:] if address.startswith("@") else address)
        socket.send_fds(service, [message], [descriptor])


def _passed() -> Iterator[tuple[str, int]]:
    count = os.environ.get("LISTEN_FDS", "")
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    for number, name in zip(range(int(count) if count.isdigit() else 0), names, strict=False):
        yield name, _FIRST_DESCRIPTOR + number
