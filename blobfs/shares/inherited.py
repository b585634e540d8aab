"""A listening socket that systemd made for this process (sd_listen_fds(3), socket activation).

Its ``.socket`` unit says where it listens, so a port below 1024 takes no privilege here, and nobody is
refused while the service is restarted.
"""

import os
import socket
import stat

from blobfs.errors import StartRefused

_FIRST_DESCRIPTOR = 3


def take_listener() -> socket.socket:
    """The first passed descriptor that is a listening socket. Raises `StartRefused`."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()):
        count = os.environ.get("LISTEN_FDS", "")
        for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count if count.isdigit() else 0)):
            if _is_listening(descriptor):
                os.set_inheritable(descriptor, False)
                return socket.socket(fileno=descriptor)
    raise StartRefused("listen = systemd: systemd has passed no listening socket; a .socket unit does that")


def _is_listening(descriptor: int) -> bool:
    """Other things are passed, too: a connection to the kernel is not for us."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
    except OSError:
        return False
    with socket.socket(fileno=os.dup(descriptor)) as found:
        is_stream = found.type == socket.SOCK_STREAM
        return is_stream and bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
