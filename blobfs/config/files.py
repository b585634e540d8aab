"""Files that are told in a configuration: whether what has to be in them can be there.

Nothing is kept of what is read. They are read again by who needs them, when he needs them.
"""

import os
import stat
from pathlib import Path

from blobfs.config.secret_files import PREFIX, find_file, read_secret
from blobfs.config.settings import FileRole
from blobfs.errors import ConfigRefused

MAX_SIZE = 4 << 20
"""Bytes; the system's certificates, all of them, are a quarter of a megabyte."""

_HEADS = {FileRole.KEY: b"PRIVATE KEY-----", FileRole.CERTIFICATE: b"-----BEGIN "}


def file_problem(path: Path, role: FileRole) -> str | None:
    """What is wrong with the file, in one line."""
    if is_credential(path) and not os.environ.get("CREDENTIALS_DIRECTORY"):
        return None  # it is there only where systemd has started the daemon
    try:
        if role is FileRole.SECRET:
            read_secret(path)
            return None
        content = _read(path)
    except ConfigRefused as refused:
        return str(refused)
    if _HEADS[role] in content:
        return None
    return f"{path}: no {'private key' if role is FileRole.KEY else 'certificate'} in PEM form is in it"


def holds_key(path: Path) -> bool:
    """Whether a private key is in it as well."""
    try:
        return _HEADS[FileRole.KEY] in _read(path)
    except ConfigRefused:
        return True  # that it cannot be read is said already


def is_open_to_all(path: Path) -> bool:
    """Whether every user of this machine can read it."""
    try:
        return bool(os.stat(find_file(path)).st_mode & stat.S_IROTH)
    except (OSError, ConfigRefused):
        return False


def is_credential(path: Path) -> bool:
    return str(path).startswith(PREFIX)


def _read(path: Path) -> bytes:
    found = find_file(path)
    try:
        if not stat.S_ISREG(os.stat(found).st_mode):
            raise ConfigRefused(f"{path}: not a file")
        with open(found, "rb") as file:
            return file.read(MAX_SIZE)
    except OSError as error:
        raise ConfigRefused(f"{path}: {error.strerror}") from None
