"""Section 7 of docs/formats.md: two shares, and perhaps a third one that nobody can reach."""

from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

from blobfs import errors
from blobfs.config.settings import LoadSettings
from blobfs.model import ROOT, parse_name
from blobfs.record import BlobRecord, DirRecord, GoneRecord, SymlinkRecord, parse_time
from blobfs.shares.address import ShareOptions, parse_share_url
from blobfs.shares.client import Share as BlobfsShare
from blobfs.store import names
from blobfs.store.opening import open_store
from blobfs.sync.naming import catalogue
from blobfs.sync.naming.answers import Absent, Present, Unknown
from blobfs.sync.naming.catalogue import Catalogue
from blobfs.sync.peer import Peer
from blobfs.sync.service import SyncService
from tests.formats import values
from tests.formats.node import Listing, Share, look_up, newest_alive, write_share
from tests.servers.nginx import Nginx, free_port

OLD, NEW = "2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z"


def blob(number: int, published: str) -> values.Record:
    times = {"mtime": OLD, "published": published}
    return {"v": 1, "kind": "blob", "blob": f"{number:064x}", "size": number, "mode": "0444", **times}


def link(target: str, published: str) -> values.Record:
    return {"v": 1, "kind": "symlink", "target": target, "mtime": OLD, "published": published}


def gone(published: str) -> values.Record:
    return {"v": 1, "kind": "gone", "published": published}


FIRST = {
    "only first": blob(1, OLD),
    "newer on second": blob(1, OLD),
    "equal": blob(1, NEW),
    "equal links": link("b", NEW),
    "equal kinds": blob(1, NEW),
    "removed later": blob(1, OLD),
    "removed before": blob(1, NEW),
    "removed": gone(NEW),
    "directory/x": blob(1, OLD),
    "refused": {"v": 1, "kind": "fifo", "published": OLD},
    "refused here": {"v": 2, "kind": "gone", "published": NEW},
}
SECOND = {
    "newer on second": blob(2, NEW),
    "equal": blob(2, NEW),
    "equal links": link("a", NEW),
    "equal kinds": gone(NEW),
    "removed later": gone(NEW),
    "removed before": gone(OLD),
    "directory": gone(NEW),
    "refused here": blob(2, OLD),
}
EXPECTED = {
    "only first": f"blob 1 {parse_time(OLD)}",
    "newer on second": f"blob 2 {parse_time(NEW)}",
    "equal": f"blob 2 {parse_time(NEW)}",
    "equal links": "symlink b",
    "equal kinds": "absent",
    "removed later": "absent",
    "removed before": f"blob 1 {parse_time(NEW)}",
    "removed": "absent",
    "directory": "dir",
    "refused": "unusable",
    "refused here": f"blob 2 {parse_time(OLD)}",
    "nowhere": "absent",
}
"""What the page makes of them."""


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Of the two shares, and of one that does not answer."""
    with ExitStack() as stack:
        found = []
        for records in (FIRST, SECOND):
            root = tmp_path_factory.mktemp("share")
            write_share(root, {}, records)
            found.append(stack.enter_context(Nginx(root)).url)
        yield [*found, f"http://127.0.0.1:{free_port()}/"]


def opened(url: str) -> BlobfsShare:
    return BlobfsShare(ShareOptions(parse_share_url(url)))


async def asked(shares: Catalogue, name: str) -> str:
    """What blobfs makes of the shares, in the words of the page."""
    try:
        answer = await shares.lookup(parse_name(name))
    except errors.WrongEverywhere:
        return "unusable"
    if isinstance(answer, Present):
        return said(answer.record)
    return "unknown" if isinstance(answer, Unknown) else "absent"


def said(found: object) -> str:
    match found:
        case BlobRecord():
            return f"blob {int(found.blob, 16)} {found.published_ns}"
        case {"kind": "blob", "size": size, "published": str(published)}:
            return f"blob {size} {parse_time(published)}"
        case {"kind": "symlink", "target": str(target)} | SymlinkRecord(target=target):
            return f"symlink {target}"
        case {"kind": "dir"} | DirRecord():
            return "dir"
    return str(found)


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("unreachable", [0, 1])
async def test_the_same_record_wins(
    urls: list[str], name: str, unreachable: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """blobfs and the second implementation come to one answer, the page's."""
    expected = EXPECTED[name]
    if unreachable and expected in ("absent", "unusable"):
        expected = "unknown"
    monkeypatch.setattr(catalogue, "CONFLICT_GRACE", LoadSettings().lookup_timeout)  # all are heard
    known = urls[: 2 + unreachable]
    assert said(look_up([Share(url) for url in known], name)) == expected
    async with AsyncExitStack() as stack:
        peers = [Peer(await stack.enter_async_context(opened(url))) for url in known]
        assert await asked(Catalogue(peers, LoadSettings()), name) == expected


async def test_the_same_record_wins_in_a_listing(urls: list[str]) -> None:
    """What a directory is listed with over two shares is what its names mean when they are looked up."""
    async with AsyncExitStack() as stack:
        peers = [Peer(await stack.enter_async_context(opened(url))) for url in urls[:2]]
        found = await Catalogue(peers, LoadSettings()).listing(ROOT)
        listed = Catalogue(peers, LoadSettings(listing_ttl=60))
        await listed.listing(ROOT)
        for name, expected in EXPECTED.items():
            record = found.entries[name][0] if name in found.entries else None
            word = "absent" if record is None or isinstance(record, GoneRecord) else said(record)
            assert word == expected.replace("unusable", "absent"), name
            assert name not in found.entries or await asked(listed, name) == word, name
    logs = [Listing(Share(url)) for url in urls[:2]]
    assert all(log.refresh() for log in logs)
    for name, expected in EXPECTED.items():
        alive = newest_alive([log.entries[name] for log in logs if name in log.entries])
        assert said(alive or "absent") == expected.replace("unusable", "absent"), name


async def test_what_a_node_removed_itself(urls: list[str], tmp_path: Path) -> None:
    """A node's tombstone takes a name away up to its time, and no directory that others keep."""
    store = open_store(tmp_path / "store")
    for name, removed in (("directory", NEW), ("only first", NEW), ("newer on second", OLD)):
        names.put_gone(store, parse_name(name), GoneRecord(parse_time(removed)))
    async with AsyncExitStack() as stack:
        peers = [Peer(await stack.enter_async_context(opened(url))) for url in urls[:2]]
        service = SyncService(store, peers, LoadSettings(), 0)
        assert isinstance(await service.lookup(parse_name("directory")), Present)
        assert isinstance(await service.lookup(parse_name("only first")), Absent)
        assert isinstance(await service.lookup(parse_name("newer on second")), Present)
        listed = await service.listing(ROOT)
    assert {"directory", "newer on second"} <= listed.keys()
    assert "only first" not in listed
    store.close()
