"""Cuts a mount off from its daemon, through the kernel: every call that waits for it fails at once.

The connection is found by the number of the mount's device, which is in the mount table, so the mount is
never touched: it may be stuck. The file to write to is root's and the mount's owner's.
"""

import errno
from pathlib import Path

from blobfs.errors import OperationRefused
from blobfs.fuse.mountinfo import CONNECTIONS, Mount
from blobfs.fuse.tuning import mount_fusectl


def cut(mount: Mount, connections: Path = CONNECTIONS) -> bool:
    """False: it was cut before. Raises `OperationRefused`."""
    mount_fusectl()
    try:
        (connections / mount.minor / "abort").write_text("1", "ascii")
    except FileNotFoundError:
        if any(connections.iterdir()):
            return False
        raise OperationRefused(
            f"{connections} is empty: only root can have the kernel show its connections there"
        ) from None
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            reason = "only root, and who mounted it, may do that"
        else:
            reason = error.strerror or str(error)
        raise OperationRefused(f"{mount.mount_point} cannot be cut off: {reason}") from error
    return True
