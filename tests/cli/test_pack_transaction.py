"""The calls of a transaction, on plain directories that stand for what a mount shows."""

import os
from pathlib import Path

import pytest

from blobfs.cli.pack_transaction import Opening, Transaction
from blobfs.model import BlobId

PACKAGE = BlobId("ab" * 32)
BLOB = BlobId("cd" * 32)


@pytest.fixture
def reserved(tmp_path: Path) -> Path:
    for name in ("needed", "packages"):
        (tmp_path / ".blobfs" / name).mkdir(parents=True)
    return tmp_path / ".blobfs"


@pytest.fixture
def transaction(tmp_path: Path, reserved: Path) -> Transaction:
    return Transaction(str(tmp_path), PACKAGE)


def test_opening(transaction: Transaction, reserved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that can be made is begun, one that is there is resumed."""
    assert transaction.open() is Opening.BEGUN
    assert transaction.open() is Opening.RESUMED
    (reserved / "needed" / PACKAGE).rename(reserved / "packages" / PACKAGE)
    assert transaction.is_complete()


def exists_already(path: str) -> None:
    """As mkdir answers for a package that is complete; there is no such directory then."""
    raise FileExistsError(path)


def test_what_is_complete(transaction: Transaction, reserved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be opened, and is not open."""
    (reserved / "packages" / PACKAGE).mkdir()
    monkeypatch.setattr(os, "mkdir", exists_already)
    assert transaction.open() is Opening.COMPLETE


def test_neither_open_nor_complete(transaction: Transaction, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who aborts it again and again is an error, not an endless loop."""
    monkeypatch.setattr(os, "mkdir", exists_already)
    with pytest.raises(FileExistsError):
        transaction.open()


def test_writing(transaction: Transaction, reserved: Path) -> None:
    """What stands in a file before is gone, and its size is told first."""
    transaction.open()
    missing = reserved / "needed" / PACKAGE / "missing"
    missing.mkdir()
    (missing / BLOB).write_bytes(b"left by somebody else")
    assert transaction.missing() == [BLOB]
    assert transaction.write_blob(BLOB, 6, [b"abc", memoryview(b"def")])
    assert (missing / BLOB).read_bytes() == b"abcdef"
    transaction.write_meta(b"#mtree\n")
    assert (missing.parent / "meta").read_bytes() == b"#mtree\n"


def test_what_is_not_needed_is_not_written(transaction: Transaction, reserved: Path) -> None:
    """Nobody reads the file for it, and nothing is made."""
    transaction.open()
    (reserved / "needed" / PACKAGE / "missing").mkdir()

    def pieces():
        raise AssertionError("it is read")
        yield b""

    assert not transaction.write_blob(BLOB, 3, pieces())
    assert not transaction.write_bundle(pieces())
    assert transaction.missing() == []


def test_a_transaction_that_is_gone(transaction: Transaction) -> None:
    """It has nothing to list, to say or to abort, and takes no manifest."""
    assert transaction.missing() is None
    assert transaction.state() == ""
    transaction.write_meta(b"#mtree\n")
    transaction.abort()
    assert not transaction.is_complete()


def test_an_error_while_a_file_is_read_is_not_hidden(transaction: Transaction, reserved: Path) -> None:
    """Whatever the pieces raise comes through, and the descriptor is closed."""
    transaction.open()
    missing = reserved / "needed" / PACKAGE / "missing"
    missing.mkdir()
    (missing / BLOB).touch()

    def pieces():
        yield b"1"
        raise ValueError("changed")

    before = os.listdir("/proc/self/fd")
    with pytest.raises(ValueError, match="changed"):
        transaction.write_blob(BLOB, 3, pieces())
    assert os.listdir("/proc/self/fd") == before


def test_the_manifest_is_there_already(
    transaction: Transaction, reserved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount that refuses to have it written again has it."""
    transaction.open()

    def refuse(path: str, flags: int, mode: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "open", refuse)
    transaction.write_meta(b"#mtree\n")


def test_state_is_the_line_without_its_end(transaction: Transaction, reserved: Path) -> None:
    """As the mount says it."""
    transaction.open()
    (reserved / "needed" / PACKAGE / "state").write_text("need-blobs 3 of 17\n")
    assert transaction.state() == "need-blobs 3 of 17"
