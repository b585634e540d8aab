"""A store is opened once, by one daemon, and says in one line why if it cannot be.

Opening finds out by doing: a file gets an extended attribute and a second link, so what a file system
only claims to have is noticed here and not at the first seal.
"""

import contextlib
import fcntl
import logging
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from blobfs import errors
from blobfs.model import ROOT
from blobfs.store.changes import ChangingDirectories
from blobfs.store.dropping import finish_aborted
from blobfs.store.failures import describe, store_errors
from blobfs.store.flush import Flusher
from blobfs.store.hashing import HashWorkers
from blobfs.store.layout import (
    FORMAT_TEXT,
    FORMAT_VERSION,
    PRIVATE_DIRECTORY_MODE,
    PRIVATE_FILE_MODE,
    PUBLIC_DIRECTORY_MODE,
    TEMP_PREFIX,
    Layout,
)
from blobfs.store.logs import write_log
from blobfs.store.marks import get_mark, set_mark
from blobfs.store.usage import Usage

_log = logging.getLogger(__name__)

LOCK_WIDTH = 20
"""Bytes of the pid in the lock file: fixed, so that rewriting it needs no space on a full disk."""
MAX_FORMAT_BYTES = 64

_FOREIGN_BUT_FINE = frozenset({"lost+found", "lock", "format.new"})
"""What may lie in the directory of a store that is yet to be made: ext4's own, and what a crash while
it was made leaves."""


class Store:
    """An open store. `layout` and `flushes` never change; `was_clean` says how it was left last time.

    `links` is held while a link to a blob is added, or a blob dropped for a lack of them (`store.dropping`);
    never across a flush.
    """

    def __init__(self, layout: Layout, lock_fd: int, root_fd: int, was_clean: bool) -> None:
        self.layout = layout
        self.was_clean = was_clean
        self.flushes = Flusher(root_fd)
        self.hashing = HashWorkers()
        self.links = threading.Lock()
        self.usage = Usage()
        self.changes = ChangingDirectories(layout.changing)
        self._lock_fd = lock_fd
        self._root_fd = root_fd
        self._open = True

    def __repr__(self) -> str:
        return f"Store({str(self.layout.root)!r}, was_clean={self.was_clean}, {self.flushes})"

    @store_errors()
    def space(self) -> os.statvfs_result:
        """The file system's own numbers."""
        return os.fstatvfs(self._root_fd)

    def close(self, clean: bool = True) -> None:
        """Lets go of the lock. `clean` is a promise that nothing is left to redo; all is flushed first."""
        if not self._open:
            return
        self._open = False
        self.hashing.close()
        try:
            if clean:
                self.flushes.everything()
                with store_errors():
                    self.layout.clean.touch(mode=0o600)
                    os.fsync(self._root_fd)
        finally:
            os.close(self._root_fd)
            os.close(self._lock_fd)


def open_store(root: Path) -> Store:
    """Opens the store at `root`, making it if there is nothing yet. Raises `StoreRefused`."""
    if sys.getfilesystemencoding() != "utf-8":
        raise errors.StoreRefused("file names are not UTF-8 here: set PYTHONUTF8=1 or a UTF-8 locale")
    layout = Layout(Path(os.path.abspath(root)))
    with contextlib.ExitStack() as undo, _refusing(layout):
        return _open_locked(layout, undo)


def open_unchanged(root: Path) -> Store:
    """Opens a store that is there, to look at it: nothing on the disk changes. Raises `StoreRefused`.

    Its lock is held, but the text in it is the one of the last daemon. Do not close it as clean.
    """
    layout = Layout(Path(os.path.abspath(root)))
    with contextlib.ExitStack() as undo, _refusing(layout):
        _check_format(layout)
        lock_fd = os.open(layout.lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        undo.callback(os.close, lock_fd)
        _lock(layout, lock_fd)
        root_fd = os.open(layout.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        undo.pop_all()
        return Store(layout, lock_fd, root_fd, layout.clean.exists())


@contextlib.contextmanager
def _refusing(layout: Layout) -> Iterator[None]:
    """What the disk says becomes the one line for the operator."""
    try:
        yield
    except errors.StoreRefused:
        raise
    except (OSError, errors.StoreError) as failure:
        reason = describe(failure) if isinstance(failure, OSError) else str(failure)
        raise errors.StoreRefused(f"cannot open the store {layout.root}: {reason}") from failure


def wait_until_closed(root: Path) -> None:
    """Blocks until no daemon has the store open. Makes nothing and takes nothing."""
    try:
        # Root asks, too, and the lock is its owner's: it may be a link, or a pipe.
        fd = os.open(root / "lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return  # there is no store, or it is not this user's to ask about
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _open_locked(layout: Layout, undo: contextlib.ExitStack) -> Store:
    layout.root.mkdir(mode=PUBLIC_DIRECTORY_MODE, parents=True, exist_ok=True)
    is_new = not layout.format.exists()
    if is_new:
        _refuse_foreign_files(layout)
    lock_fd = _take_lock(layout)
    undo.callback(os.close, lock_fd)
    root_fd = os.open(layout.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    undo.callback(os.close, root_fd)
    if is_new:
        _write_format(layout)
    _check_format(layout)
    knows_changes = layout.changing.is_dir()
    _make_directories(layout)
    finish_aborted(layout)
    _remove_temps(layout)
    _probe(layout)
    if not layout.log(ROOT).exists():
        write_log(layout, ROOT, [])
    was_clean = is_new or layout.clean.exists()
    _prepare_changes(layout, was_clean, knows_changes)
    layout.clean.unlink(missing_ok=True)
    # The marker must not come back with a power cut after the first change.
    os.fsync(root_fd)
    undo.pop_all()
    return Store(layout, lock_fd, root_fd, was_clean)


def _refuse_foreign_files(layout: Layout) -> None:
    foreign = sorted(set(os.listdir(layout.root)) - _FOREIGN_BUT_FINE)
    if foreign:
        raise errors.StoreRefused(
            f"{layout.root} is not a blobfs store and not empty: there is {foreign[0]!r} in it"
        )


def _take_lock(layout: Layout) -> int:
    fd = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _lock(layout, fd)
        os.pwrite(fd, f"{os.getpid():<{LOCK_WIDTH}}\n".encode(), 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _lock(layout: Layout, fd: int) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(fd, LOCK_WIDTH, 0).decode("ascii", "replace").strip() or "that just started"
        raise errors.StoreRefused(f"the store {layout.root} is in use by process {owner}") from None


def _write_format(layout: Layout) -> None:
    new = layout.root / "format.new"
    with open(new, "w", encoding="ascii") as file:
        file.write(FORMAT_TEXT.format(FORMAT_VERSION))
        file.flush()
        os.fsync(file.fileno())
    new.rename(layout.format)


def _check_format(layout: Layout) -> None:
    with open(layout.format, "rb") as file:
        text = file.read(MAX_FORMAT_BYTES)
    match = re.fullmatch(rb"blobfs store ([0-9]{1,9})\n", text)
    if match is None:
        raise errors.StoreRefused(f"{layout.format} does not say which store this is: {text!r}")
    if int(match[1]) != FORMAT_VERSION:
        raise errors.StoreRefused(
            f"{layout.root} holds a store of format {int(match[1])},"
            f" this blobfs knows format {FORMAT_VERSION}"
        )


def _make_directories(layout: Layout) -> None:
    for mode, paths in (
        (PUBLIC_DIRECTORY_MODE, layout.public_directories),
        (PRIVATE_DIRECTORY_MODE, layout.private_directories),
    ):
        for path in paths:
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                path.chmod(mode)  # whatever the umask is


def _remove_temps(layout: Layout) -> None:
    for path in layout.incoming.glob(f"{TEMP_PREFIX}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _prepare_changes(layout: Layout, was_clean: bool, knows_changes: bool) -> None:
    """What is marked as half changed is believed after an unclean end, and only then."""
    changes = ChangingDirectories(layout.changing)
    if was_clean:
        changes.clear()
    elif not knows_changes:
        changes.suspect_everything()


def _probe(layout: Layout) -> None:
    """Demands attributes, and links from where blobs are made to where they are shared."""
    key, value = "user.blobfs.probe", b"1"
    target = layout.reserved / "probe"
    for directory in (layout.incoming, layout.partial):
        source = directory / f"{TEMP_PREFIX}probe"
        target.unlink(missing_ok=True)
        with _removed_afterwards(source), _removed_afterwards(target):
            source.touch(mode=PRIVATE_FILE_MODE)
            with _missing(layout, "extended attributes (user_xattr)"):
                set_mark(source, key, value)
                if get_mark(source, key) != value:
                    raise OSError(0, "what was set does not come back")
            with _missing(layout, "hard links between its directories"):
                os.link(source, target)


@contextlib.contextmanager
def _removed_afterwards(path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _missing(layout: Layout, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        kind = file_system_type(layout.root)
        raise errors.StoreRefused(
            f"the file system of {layout.root} ({kind}) has no {what},"
            f" which a store needs: {failure.strerror}"
        ) from failure


def file_system_type(path: Path) -> str:
    """Of the mount that holds `path`, as the kernel calls it: ``ext4``."""
    found, kind = "", "unknown"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields, _, source = line.partition(" - ")
            mountpoint = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields.split()[4])
            # The last of several mounts on one directory is the one that is seen.
            if len(mountpoint) >= len(found) and path.is_relative_to(mountpoint):
                found, kind = mountpoint, source.split()[0]
    return kind
