"""Wrong bytes on a share, wherever they stand: no reader gets one, and none is kept (P1)."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from errno import EBADMSG, ENOENT
from pathlib import Path

import pytest

from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import (
    MIB,
    assert_sound,
    attribute,
    blob_id,
    copy_of,
    errno_of_read,
    flip,
    last_error,
    present_chunks,
    put,
    read_at,
    stored,
    until,
)
from tests.servers.nginx import Nginx

CHUNK = 128 * 1024
CONTENT = os.urandom(5 * MIB)
BLOB = blob_id(CONTENT)
WRONG_AT = 3 * MIB + 5

Tamper = Callable[[Path], None]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The share of a node with the file `f`, and `g`, which nobody tampers with."""
    directory = tmp_path_factory.mktemp("good")
    with BlobfsNode(directory) as a:
        assert put(a, "f", CONTENT) == BLOB
        put(a, "g", b"good")
    return a.share


@pytest.fixture
def bad(good: Path, tmp_path: Path) -> Path:
    """A copy of it to tamper with."""
    return copy_of(good, tmp_path / "bad")


def flip_data(share: Path) -> None:
    flip(share / ".blobfs/blobs" / BLOB, WRONG_AT)


def flip_tree(share: Path) -> None:
    flip(share / ".blobfs/trees" / BLOB, 700)


def cut_tree(share: Path) -> None:
    os.truncate(share / ".blobfs/trees" / BLOB, 700)


def cut_data(share: Path) -> None:
    os.truncate(share / ".blobfs/blobs" / BLOB, len(CONTENT) - 1)


def lengthen_data(share: Path) -> None:
    os.truncate(share / ".blobfs/blobs" / BLOB, len(CONTENT) + 1)


def lengthen_size(share: Path) -> None:
    rewrite_record(share, f'"size":{len(CONTENT)}', f'"size":{len(CONTENT) + 1}')


def shorten_size(share: Path) -> None:
    rewrite_record(share, f'"size":{len(CONTENT)}', f'"size":{len(CONTENT) - 1}')


def rewrite_record(share: Path, before: str, after: str) -> None:
    """Of the name `f`; the listing still says the truth."""
    path = share / ".blobfs/names/f"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


TAMPERINGS = [flip_data, flip_tree, cut_tree, cut_data, lengthen_data, lengthen_size, shorten_size]


@pytest.mark.parametrize("tamper", TAMPERINGS)
def test_wrong_bytes_reach_nobody(bad: Path, start_node: StartNode, tamper: Tamper):
    """P1, P8: what does not match the blob id is EBADMSG; it is not kept, and the node goes on."""
    tamper(bad)
    with Nginx(bad) as nginx:
        b = start_node("b", shares=[nginx.url])
        b.expect_log("wrong bytes|no share has the right bytes|its record")
        assert errno_of_read(b.path("f")) == EBADMSG
        assert all(attempt["share"] == nginx.url for attempt in last_error(b.path("f")))
        assert last_error(b.path("f"))[-1]["outcome"] == "wrong"
        assert b.path("g").read_bytes() == b"good"
        b.wait_until_sealed()
        b.stop()
    assert BLOB not in stored(b.share)
    assert_sound(b.share)
    assert_kept_chunks_right(b)


def assert_kept_chunks_right(node: BlobfsNode) -> None:
    for chunk in present_chunks(node, BLOB):
        right = CONTENT[chunk * CHUNK : (chunk + 1) * CHUNK]
        kept = (node.store / "partial" / BLOB).read_bytes()[chunk * CHUNK : (chunk + 1) * CHUNK]
        assert kept == right, f"chunk {chunk} is marked as verified and wrong"


@pytest.mark.parametrize("tamper", TAMPERINGS)
def test_a_good_share_makes_up_for_a_bad_one(good: Path, bad: Path, start_node: StartNode, tamper: Tamper):
    """P1, P5: with a second share that has the blob its reader gets the right bytes."""
    tamper(bad)
    with Nginx(bad) as nginx, Nginx(good) as other:
        b = start_node("b", shares=[nginx.url, other.url])
        b.expect_log(f"{nginx.url}.* sent wrong bytes", perhaps=True)
        os.listdir(b.path(""))  # the listings know better than a record that was tampered with
        assert b.path("f").read_bytes() == CONTENT
        until(lambda: BLOB in stored(b.share), "it is shared in turn")
        assert_sound(b.share)
        assert attribute(b.path("f"), "id") == BLOB


def test_what_is_right_of_a_bad_blob_is_read(bad: Path, start_node: StartNode):
    """P1: chunks that verify are given out, though another chunk of the blob is wrong."""
    flip_data(bad)
    with Nginx(bad) as nginx:
        b = start_node("b", shares=[nginx.url])
        assert read_at(b.path("f"), 0, CHUNK) == CONTENT[:CHUNK]
        b.expect_log("wrong bytes|no share has the right bytes")
        assert errno_of_read(b.path("f")) == EBADMSG
        assert read_at(b.path("f"), 0, CHUNK) == CONTENT[:CHUNK]


def test_any_flipped_bit_of_a_record(start_node: StartNode, tmp_path: Path):
    """P1: whichever byte of a name record is wrong, its reader gets the right bytes or an error."""
    content = os.urandom(30_000)
    a = start_node("a")
    put(a, "f", content)
    bad = copy_of(a.share, tmp_path / "bad")
    record = bad / ".blobfs/names/f"
    names = [f"f{offset}" for offset in range(len(record.read_bytes()))]
    for offset, name in enumerate(names):
        shutil.copy(record, bad / ".blobfs/names" / name)
        flip(bad / ".blobfs/names" / name, offset, bit=offset % 8)
    with Nginx(bad) as nginx:
        b = start_node("b", shares=[nginx.url], options=["fill=never", "max_tries=1"])
        b.expect_log("", perhaps=True)
        read = {}
        for name in reversed(names):  # without its "{" it is no share's answer, and the share counts as down
            with suppress(OSError):
                read[name] = b.path(name).read_bytes()
        assert set(read.values()) == {content}  # a flipped bit of a time or of the mode
        assert len(read) < len(names) / 2
        until(lambda: errno_of_read(b.path("f")) == 0, "the share is up again")
        assert b.path("f").read_bytes() == content
        assert_sound(b.share)


def test_a_record_that_lies_about_the_size_of_a_blob_that_is_here(
    good: Path, bad: Path, start_node: StartNode
):
    """P1: a record with another size than the blob's is EBADMSG also where the blob itself is here."""
    record = (bad / ".blobfs/names/f").read_text()
    for name, size in (("shorter", 1000), ("longer", len(CONTENT) + 1)):
        (bad / ".blobfs/names" / name).write_text(record.replace(str(len(CONTENT)), str(size)))
    with Nginx(bad) as nginx, Nginx(good) as other:
        b = start_node("b", shares=[nginx.url, other.url])
        assert b.path("f").read_bytes() == CONTENT
        until(lambda: BLOB in stored(b.share), "it is here")
        assert errno_of_read(b.path("shorter")) == EBADMSG
        assert errno_of_read(b.path("longer")) == EBADMSG
        assert sorted(path.name for path in b.share.iterdir()) == [".blobfs", "f"]


def test_a_record_of_another_blob(bad: Path, start_node: StartNode):
    """A record whose blob no share has is ENOENT: the name means what is absent everywhere."""
    rewrite_record(bad, BLOB, blob_id(b"something else" * 100_000))
    with Nginx(bad) as nginx:
        b = start_node("b", shares=[nginx.url])
        b.expect_log("no share has it")
        assert errno_of_read(b.path("f")) == ENOENT
        assert b.path("g").read_bytes() == b"good"


def test_a_tampered_store_is_noticed_by_the_reader(start_node: StartNode):
    """P1: what a share's own disk made of a blob is found out by whoever loads it; its node lives on."""
    a = start_node("a", listen=True)
    put(a, "f", CONTENT)
    put(a, "g", b"good")
    flip_data(a.share)
    b = start_node("b", shares=[a.url])
    b.expect_log("wrong bytes|no share has the right bytes")
    assert errno_of_read(b.path("f")) == EBADMSG
    assert a.path("g").read_bytes() == b.path("g").read_bytes() == b"good"
