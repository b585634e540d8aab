"""Shares as docs/formats.md has them: each side reads over HTTP what the other one wrote."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from blobfs import merkle
from blobfs.model import EMPTY_BLOB, ROOT, Name, parse_name
from blobfs.record import BlobRecord, DirRecord, GoneRecord, SymlinkRecord
from blobfs.shares.address import ShareOptions, parse_share_url
from blobfs.shares.body import read_exactly
from blobfs.shares.client import DIRECTORY_HERE
from blobfs.shares.client import Share as BlobfsShare
from blobfs.shares.log_tail import LogReading
from blobfs.shares.packed import unpack
from blobfs.store import names
from blobfs.store.opening import Store, open_store
from tests.formats import values
from tests.formats.node import Listing, Share, look_up, write_share
from tests.formats.page import LARGE, SMALL
from tests.servers.nginx import Nginx
from tests.store.sealing import put_name
from tests.structure import ROOT as CHECKOUT

END_SECONDS = 10
ODD = "dir/a b+ü#?%2e.bin"


@contextmanager
def nginx(share: Path) -> Iterator[str]:
    with Nginx(share) as server:
        yield server.url


@contextmanager
def flat_nginx(share: Path) -> Iterator[str]:
    """Knows files and no directories, as an object store does."""
    with Nginx(share, "location / { try_files $uri =404; }") as server:
        yield server.url


@contextmanager
def blobfs_serve(share: Path) -> Iterator[str]:
    command = [sys.executable, "-P", "-m", "blobfs", "serve", "--store", str(share.parent)]
    with subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    ) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[-1]
        finally:
            server.terminate()
            server.wait(END_SECONDS)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store with something of everything in its share."""
    opened = open_store(tmp_path / "store")
    put_name(opened, "hello.txt", SMALL, 1_000)
    put_name(opened, "empty", b"", 1_001)
    put_name(opened, "removed", b"x", 1_002)
    names.put_gone(opened, Name("removed"), GoneRecord(1_003))
    names.make_directory(opened, Name("dir"), DirRecord(7, 1_004))
    names.make_directory(opened, Name("dir/below"), DirRecord(7, 1_005))
    names.make_directory(opened, Name("former"), DirRecord(7, 1_006))
    names.remove_directory(opened, Name("former"), GoneRecord(1_007))
    put_name(opened, ODD, LARGE, 1_008)
    names.put_symlink(opened, Name("dir/link"), SymlinkRecord("../hello.txt", 5, 1_009), loaded=True)
    yield opened
    opened.close()


@pytest.fixture(params=[nginx, flat_nginx, blobfs_serve])
def share(request: pytest.FixtureRequest, store: Store) -> Iterator[Share]:
    """The second implementation's view of the store's share, over each kind of server."""
    serve: Callable[[Path], Any] = request.param
    with serve(store.layout.share) as url:
        yield Share(url)


def test_names_of_a_store_are_found(share: Share) -> None:
    """Every name means what was put there; what was removed or never was is absent; directories are known."""
    found = look_up([share], "hello.txt")
    assert isinstance(found, dict)
    assert (found["blob"], found["size"], found["mode"]) == (values.tree_of(SMALL)[0], len(SMALL), "0444")
    assert values.ns_of(found["published"]) == 1_000
    kinds = {name: look_up([share], name) for name in ("empty", ODD, "dir/link", "dir", "dir/below")}
    assert [kind["kind"] for kind in kinds.values() if isinstance(kind, dict)] == (
        ["blob", "blob", "symlink", "dir", "dir"]
    )
    for name in ("removed", "former", "never", "dir/never", "former/below", "hello.txt/below"):
        assert look_up([share], name) == "absent"


def test_directories_of_a_store_are_listed(share: Share) -> None:
    """The logs say the same as the records."""
    root, below = Listing(share), Listing(share, "dir")
    assert root.refresh()
    assert root.live() == {"hello.txt": "blob", "empty": "blob", "dir": "dir"}
    assert root.entries["removed"]["kind"] == root.entries["former"]["kind"] == "gone"
    assert below.refresh()
    assert below.live() == {"below": "dir", ODD.removeprefix("dir/"): "blob", "link": "symlink"}
    assert below.entries["link"]["loaded"] is True
    assert not Listing(share, "former").refresh()


def test_a_listing_goes_on_where_it_was(share: Share, store: Store) -> None:
    """What was added is found with one request for the tail; so is that there is nothing new."""
    listing = Listing(share)
    listing.refresh()
    share.asked.clear()
    end = listing.end
    assert listing.refresh()
    put_name(store, "later", b"later", 2_000)
    assert listing.refresh()
    assert listing.live()["later"] == "blob"
    assert [wanted for _, _, wanted in share.asked] == [f"bytes={end - len(listing_line(store, -2))}-"] * 2


def listing_line(store: Store, number: int) -> bytes:
    return store.layout.log(ROOT).read_bytes().splitlines(keepends=True)[number]


def test_a_rebuilt_log_is_read_anew(share: Share, store: Store) -> None:
    """Also where the last line known stands at its offset in the new log, behind one that changed."""
    names.rewrite_log(store, ROOT)
    put_name(store, "z", b"1", 2_000)
    listing, stale = Listing(share), Listing(share)
    listing.refresh()
    stale.refresh()
    put_name(store, "empty", b"2", 2_001)
    names.rewrite_log(store, ROOT)
    assert listing.refresh()
    assert listing.entries["empty"]["size"] == 1
    assert listing.generation != stale.generation
    log = store.layout.log(ROOT)
    log.write_bytes(log.read_bytes().splitlines(keepends=True)[0])
    assert listing.refresh()
    assert listing.entries == {}


def test_bytes_are_verified(share: Share) -> None:
    """Any range of any blob, by id; the whole of a name by its path."""
    for content in (SMALL, LARGE):
        blob = values.tree_of(content)[0]
        size = share.size_of(blob)
        assert size == len(content)
        assert share.read(blob, size, 0, size) == content
        assert share.read(blob, size, size - 1, 1) == content[-1:]
    blob = values.tree_of(LARGE)[0]
    assert share.read(blob, len(LARGE), 2_097_000, 300) == LARGE[2_097_000:2_097_300]
    assert share.ask(values.url_path(ODD)).body == LARGE
    assert share.ask(f".blobfs/blobs/{EMPTY_BLOB}").body == b""
    assert share.ask(f".blobfs/trees/{values.tree_of(SMALL)[0]}").status == 404


def test_wrong_bytes_are_refused(store: Store, tmp_path: Path) -> None:
    """One bit in a leaf: that leaf cannot be read, the others can."""
    copy = tmp_path / "copy"
    shutil.copytree(store.layout.share, copy)
    blob = values.tree_of(LARGE)[0]
    wrong = bytearray(LARGE)
    wrong[100_000] ^= 1
    (copy / ".blobfs/blobs" / blob).chmod(0o644)
    (copy / ".blobfs/blobs" / blob).write_bytes(wrong)
    with nginx(copy) as url:
        assert Share(url).read(blob, len(LARGE), 106_496, 10) == LARGE[106_496:106_506]
        with pytest.raises(values.Refused):
            Share(url).read(blob, len(LARGE), 106_495, 10)


async def opened(stack: AsyncExitStack, url: str) -> BlobfsShare:
    return await stack.enter_async_context(BlobfsShare(ShareOptions(parse_share_url(url))))


async def test_blobfs_reads_what_another_implementation_wrote(tmp_path: Path) -> None:
    """Records, logs, trees and bytes of a share that was made by the page's rules."""
    link = {"v": 1, "kind": "symlink", "target": "../hello.txt", "published": "2026-01-02T03:04:05Z"}
    write_share(tmp_path, {"hello.txt": SMALL, ODD: LARGE}, {"dir/link": link})
    async with AsyncExitStack() as stack:
        share = await opened(stack, stack.enter_context(nginx(tmp_path)))
        found = await share.record(parse_name(ODD))
        assert isinstance(found, BlobRecord)
        assert found.size == await share.blob_size(found.blob) == len(LARGE)
        assert await share.record(Name("dir")) is DIRECTORY_HERE
        reading = LogReading()
        for _ in range(2):
            assert await share.log(Name("dir"), reading)
            assert {name: type(unpack(packed)) for name, packed in reading.entries.items()} == (
                {ODD.removeprefix("dir/"): BlobRecord, "link": SymlinkRecord}
            )
        tree = await share.tree(found.blob, 0, merkle.Geometry(found.size).tree_size)
        async with share.blob(found.blob, found.size, 8192, 819_200) as body:
            content = await read_exactly(body, 819_200)
        assert merkle.verify_range(found.blob, found.size, tree, 8192, content)
