"""Marks on the store's files."""

import errno
import os
import threading
from pathlib import Path

import pytest
import xattr

from blobfs.store import marks
from blobfs.store.marks import CHECK, get_mark, remove_mark, set_mark


def test_a_mark(tmp_path: Path) -> None:
    """What was set is read, by path and by descriptor, on a read-only file too; removed, it is not there."""
    path = tmp_path / "file"
    path.write_bytes(b"x")
    path.chmod(0o444)
    assert get_mark(path, CHECK) is None
    set_mark(path, CHECK, b"12")
    with path.open("rb") as file:
        assert get_mark(file.fileno(), CHECK) == b"12"
    remove_mark(path, CHECK)
    assert get_mark(path, CHECK) is None
    remove_mark(path, CHECK)
    with pytest.raises(FileNotFoundError):
        get_mark(tmp_path / "missing", CHECK)


def test_a_mark_that_grows_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the question for its length and that for its value it became longer: it is read again."""
    path = tmp_path / "file"
    path.write_bytes(b"x")
    read = xattr.getxattr
    left = [3]

    def disturbed(file: Path, key: str) -> bytes:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ERANGE, os.strerror(errno.ERANGE))
        value: bytes = read(file, key)
        return value

    set_mark(path, CHECK, b"longer")
    monkeypatch.setattr(xattr, "getxattr", disturbed)
    assert get_mark(path, CHECK) == b"longer"
    left[0] = marks.READINGS
    with pytest.raises(OSError) as caught:
        get_mark(path, CHECK)
    assert caught.value.errno == errno.ERANGE


def test_marks_that_are_set_beside_their_readers(tmp_path: Path) -> None:
    """Readers see one value or the other, whole."""
    path = tmp_path / "file"
    path.write_bytes(b"x")
    values = [b"1", b"2" * 200]
    set_mark(path, CHECK, values[0])

    def change() -> None:
        for turn in range(2000):
            set_mark(path, CHECK, values[turn % 2])

    writer = threading.Thread(target=change)
    writer.start()
    try:
        found = {get_mark(path, CHECK) for _ in range(2000)}
    finally:
        writer.join(30)
    assert found <= set(values)
