"""Values of the file system as pyfuse3's."""

import stat

import pyfuse3

from blobfs.fuse import translation
from blobfs.vfs.attributes import Attributes, Caller, Change, Opened, Statvfs

FILE = Attributes(
    inode=7,
    mode=stat.S_IFREG | 0o555,
    size=1 << 40,
    blocks=256,
    mtime_ns=-1,
    ctime_ns=1_700_000_000_123_456_789,
    nlink=2,
    uid=1000,
    gid=100,
    entry_timeout=0.5,
    attr_timeout=3600.0,
    piece=1 << 20,
)


def test_attributes():
    """Every field arrives, times before 1970 and sizes over 32 bits included; atime is mtime."""
    entry = translation.entry_attributes(FILE)
    assert (entry.st_ino, entry.st_mode, entry.st_size, entry.st_blocks) == (7, 0o100555, 1 << 40, 256)
    assert (entry.st_mtime_ns, entry.st_atime_ns, entry.st_ctime_ns) == (-1, -1, FILE.ctime_ns)
    assert (entry.st_nlink, entry.st_uid, entry.st_gid) == (2, 1000, 100)
    assert (entry.entry_timeout, entry.attr_timeout) == (0.5, 3600.0)
    assert entry.st_blksize == 1 << 20


def test_a_change_that_asks_for_nothing_changes_nothing():
    """What the kernel did not mark is not taken from the attributes beside it."""
    nothing = translation.change(translation.entry_attributes(FILE), pyfuse3.SetattrFields())
    assert nothing == Change()


def test_an_opened_file_and_its_caller():
    """Handle and cache permission go out, the caller comes in."""
    info = translation.opened_file(Opened(handle=9, keep_cache=False))
    assert (info.fh, info.keep_cache, info.direct_io) == (9, False, False)
    assert translation.caller(pyfuse3.RequestContext()) == Caller(0, 0, 0, 0)


def test_statvfs():
    """Room in blocks, files, and the longest name."""
    stats = translation.statvfs(Statvfs(4096, 10, 6, 5, 100, 50, 255))
    assert (stats.f_bsize, stats.f_frsize, stats.f_blocks, stats.f_bfree, stats.f_bavail) == (
        4096,
        4096,
        10,
        6,
        5,
    )
    assert (stats.f_files, stats.f_ffree, stats.f_favail, stats.f_namemax) == (100, 50, 50, 255)
