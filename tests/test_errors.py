"""blobfs.errors: the tree of exceptions and the errno each leaf becomes."""

import errno

import pytest

from blobfs import errors
from blobfs.errors import BlobfsError, LoadFailed, Unreachable
from blobfs.model import Attempt, Kind, Outcome


def descendants(root: type[BlobfsError]) -> list[type[BlobfsError]]:
    return [root, *(found for child in root.__subclasses__() for found in descendants(child))]


OURS = [error for error in descendants(BlobfsError) if error.__module__ == errors.__name__]
LEAVES = [error for error in OURS if not error.__subclasses__()]


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_each_leaf_declares_its_errno(leaf: type[BlobfsError]) -> None:
    """No leaf inherits its errno by accident, and each errno is one this system knows."""
    assert vars(leaf)["errno"] in errno.errorcode


def test_all_exceptions_of_the_module_are_in_the_tree() -> None:
    """What errors.py defines descends from the one root, so that one `except` catches it."""
    defined = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == errors.__name__
    }
    assert defined == set(OURS)


def test_the_picture_shows_each_leaf_and_its_errno() -> None:
    """The tree drawn in the module's docstring is the tree."""
    drawn = {
        words[1]: words[2]
        for line in (errors.__doc__ or "").splitlines()
        if len(words := line.lstrip("│ ").split()) > 2 and words[0] in ("├──", "└──") and words[2].isupper()
    }
    assert drawn == {
        leaf.__name__: errno.errorcode[leaf.errno].replace("EOPNOTSUPP", "ENOTSUP") for leaf in LEAVES
    }


def test_a_failed_load_remembers_its_attempts() -> None:
    """The attempts are kept as they were when the load failed."""
    attempts = [
        Attempt("http://share", "record", Kind.CONNECT_REFUSED, Outcome.UNREACHABLE, "connection refused")
    ]
    failed = Unreachable("no share answers", attempts)
    attempts.clear()
    assert [attempt.detail for attempt in failed.attempts] == ["connection refused"]
    assert str(failed) == "no share answers"
    assert LoadFailed("nothing asked").attempts == ()
