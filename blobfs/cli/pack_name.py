"""The name that a package gets: a symlink in the mount, to where the package is.

A symlink that is there is replaced in one step: whoever follows it sees the old package or the new one.
Anything else there stays, and that is said before anything is written.
"""

import os
import stat
from contextlib import suppress

import click

from blobfs.cli.targets import find_name
from blobfs.model import RESERVED_PREFIX, BlobId, Invalid, Name, parse_name


class PackageName:
    """One name in one mount."""

    def __init__(self, mountpoint: str, typed: str) -> None:
        """A name, or a path in the mount. Raises click's `UsageError` for what cannot be one."""
        self.name = _parse(mountpoint, typed)
        self._path = os.path.join(mountpoint, self.name)

    def demand_free(self) -> None:
        """Raises `ClickException` if something is there that is no symlink."""
        try:
            found = os.lstat(self._path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failed(error) from error
        if not stat.S_ISLNK(found.st_mode):
            raise click.ClickException(f"{self.name} is there already and no symlink")

    def point_to(self, package: BlobId) -> None:
        """Raises `ClickException`."""
        target = "../" * self.name.count("/") + f"{RESERVED_PREFIX}/packages/{package}"
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            with suppress(FileNotFoundError):
                if os.readlink(self._path) == target:
                    return
            _replace(self._path, target)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> click.ClickException:
        return click.ClickException(f"{self.name} cannot be made: {error.strerror or error}")


def _parse(mountpoint: str, typed: str) -> Name:
    name = find_name(mountpoint, typed)
    if name is None:
        raise click.UsageError(f"{typed} is not in {mountpoint}")
    try:
        return parse_name(name)
    except Invalid as wrong:
        raise click.UsageError(str(wrong)) from wrong


def _replace(path: str, target: str) -> None:
    try:
        os.symlink(target, path)
        return
    except FileExistsError:
        beside = os.path.join(os.path.dirname(path), f".pack-{os.urandom(8).hex()}")
    os.symlink(target, beside)
    try:
        if not stat.S_ISLNK(os.lstat(path).st_mode):
            raise FileExistsError("something else is there meanwhile")
        os.rename(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise
