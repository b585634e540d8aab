"""The injection itself: what it counts, what it refuses, what it leaves alone."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import xattr

from blobfs.store.failures import store_errors
from blobfs.store.files import write_all
from blobfs.store.flush import Flusher
from tests.disk_faults.injection import Injection
from tests.disk_faults.plan import Fault, Plan


def _refused(call: Callable[[], object]) -> int:
    try:
        call()
    except OSError as failure:
        return failure.errno or -1
    return 0


def test_every_way_to_the_disk_counts(tmp_path: Path) -> None:
    """By path, by descriptor, through pathlib, through `open`, attributes, and the flush of everything."""
    root = tmp_path / "store"
    root.mkdir()
    with Injection(root, keep=True) as injection:
        (root / "a").write_bytes(b"content")
        assert (root / "a").read_bytes() == b"content"
        fd = os.open(root / "a", os.O_RDWR)
        os.pwrite(fd, b"x", 0)
        os.close(fd)
        xattr.setxattr(root / "a", "user.blobfs.test", b"1")
        os.rename(root / "a", root / "b")
        assert os.listdir(root) == ["b"]
        directory = os.open(root, os.O_RDONLY)
        Flusher(directory).everything()
        os.close(directory)
        (tmp_path / "elsewhere").write_bytes(b"")
    assert [str(operation) for operation in injection.made] == [
        *("open a", "write a", "open a", "read a"),
        *("open a", "pwrite a", "setxattr a", "rename b", "listdir .", "open .", "syncfs ."),
    ]
    assert [operation.call for operation in injection.made if not operation.changes] == [
        *("open", "read", "listdir", "open")
    ]


@pytest.mark.parametrize("fault", [Fault.ENOSPC, Fault.EIO, Fault.EDQUOT, Fault.EROFS])
def test_one_operation_is_refused(tmp_path: Path, fault: Fault) -> None:
    """The one of the plan, and no other one."""
    with Injection(tmp_path, Plan(fault, 2, lasting=False)) as injection:
        found = [_refused(lambda name=name: os.mkdir(tmp_path / name)) for name in "abc"]  # type: ignore[misc]
        assert found == [0, fault.errno, 0]
        assert injection.hits == 1


def test_what_lasts_ends_with_the_plan(tmp_path: Path) -> None:
    """From the operation of the plan on, until there is none; reads go on when nothing can be written."""
    with Injection(tmp_path, Plan(Fault.EROFS, 2, lasting=True)) as injection:
        assert [_refused(lambda name=name: os.mkdir(tmp_path / name)) for name in "abc"] == [  # type: ignore[misc]
            *(0, errno.EROFS, errno.EROFS)
        ]
        assert os.listdir(tmp_path) == ["a"]
        injection.set_plan(None)
        assert _refused(lambda: os.mkdir(tmp_path / "b")) == 0


def test_a_short_write_is_followed_by_a_full_disk(tmp_path: Path) -> None:
    """Half of it is there, and the caller is told at the next one."""
    fd = os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT)
    with Injection(tmp_path, Plan(Fault.SHORT, 1, lasting=False)):
        assert _refused(lambda: write_all(fd, b"12345678", 0)) == errno.ENOSPC
        assert os.pread(fd, 10, 0) == b"1234"
        assert _refused(lambda: write_all(fd, b"12345678", 0)) == 0
    os.close(fd)


def test_a_flush_fails_as_the_kernel_has_it_fail(tmp_path: Path) -> None:
    """-1 and an errno."""
    fd = os.open(tmp_path, os.O_RDONLY)
    with Injection(tmp_path, Plan(Fault.EIO, 1, lasting=False)), store_errors():
        with pytest.raises(Exception, match="Input/output error"):
            Flusher(fd).everything()
        Flusher(fd).everything()
    os.close(fd)


def test_all_is_as_before_at_the_end(tmp_path: Path) -> None:
    """Nothing stays replaced."""
    before = (os.open, os.stat, open, xattr.getxattr)
    with Injection(tmp_path):
        assert before[0] is not os.open
    assert before == (os.open, os.stat, open, xattr.getxattr)
