"""The border of the disk: which error the operator and the caller get."""

import errno
import os

import pytest

from blobfs import errors
from blobfs.store.failures import store_errors


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, errors.StoreFull),
        (errno.EDQUOT, errors.QuotaExceeded),
        (errno.EROFS, errors.StoreReadOnly),
        (errno.EFBIG, errors.ContentTooLong),
        (errno.EIO, errors.StoreBroken),
        (errno.EACCES, errors.StoreBroken),
    ],
)
def test_each_errno_has_its_class(number: int, kind: type[errors.BlobfsError]) -> None:
    """Four that a caller can do something about, and the rest."""
    with pytest.raises(kind) as caught, store_errors():
        raise OSError(number, os.strerror(number), b"/store/x")
    assert type(caught.value) is kind
    assert str(caught.value) == f"{os.strerror(number)}: /store/x"
    assert isinstance(caught.value.__cause__, OSError)


def test_inner_mapping_wins() -> None:
    """A mapped error passes an outer border unchanged, as everything else does."""
    with pytest.raises(errors.StoreFull), store_errors(), store_errors():
        raise OSError(errno.ENOSPC, "full")
    with pytest.raises(KeyError), store_errors():
        raise KeyError("x")


def test_message_without_a_path() -> None:
    """A call on a descriptor has no path to name."""
    with pytest.raises(errors.StoreBroken, match=r"\ABad file descriptor\Z"), store_errors():
        os.fstat(1 << 20)
