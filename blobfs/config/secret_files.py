"""Secrets stand in files of their own: what has to be in such a file, and where ``credential:NAME`` is.

A secret is one line of printable text. The file's owner and group may read it, others may not. Nothing that
is raised here holds any of it.
"""

import os
import stat
from pathlib import Path

from blobfs.errors import ConfigRefused

PREFIX = "credential:"
"""In front of the name of a systemd credential (``LoadCredential=``, systemd.exec(5))."""

MAX_SIZE = 65536
"""Bytes; tokens are signed documents at times, and still far smaller than this."""

_FOR_OTHERS = stat.S_IROTH | stat.S_IWOTH


def find_file(path: Path) -> Path:
    """The file that is meant. Raises `ConfigRefused` for a credential that cannot be one."""
    text = str(path)
    if not text.startswith(PREFIX):
        return path
    name = text.removeprefix(PREFIX)
    if not name or "/" in name or name in (".", ".."):
        raise ConfigRefused(f"{text}: not the name of a credential")
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise ConfigRefused(f"{text}: there are no credentials here, systemd has not started this")
    return Path(directory, name)


def read_secret(path: Path) -> str:
    """The one line of a file, without what stands around it. Raises `ConfigRefused` in one line."""
    found = find_file(path)
    try:
        text = _read(found).decode()
    except OSError as error:
        raise ConfigRefused(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigRefused(f"{path}: a secret is text, this is not") from None
    secret = text.strip()
    if not secret:
        raise ConfigRefused(f"{path}: the file is empty")
    if not secret.isprintable():
        raise ConfigRefused(f"{path}: a secret is one line of printable text, this is not")
    return secret


def _read(path: Path) -> bytes:
    with open(path, "rb", opener=_open_at_once) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ConfigRefused(f"{path}: not a file")
        if status.st_mode & _FOR_OTHERS:
            raise ConfigRefused(f"{path}: every user of this machine can get at it: chmod o= {path}")
        if status.st_size > MAX_SIZE:
            raise ConfigRefused(f"{path}: {status.st_size} bytes is too much for a secret")
        return file.read(MAX_SIZE)


def _open_at_once(path: str, flags: int) -> int:
    """Does not wait for the other end of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)
