"""Bundles of real shares: another node's own server, and nginx."""

from pathlib import Path

import pytest
import trio

from blobfs.shares.address import ShareOptions, parse_share_url
from blobfs.shares.client import Share
from blobfs.shares.listening import bind_listener
from blobfs.shares.server import serve_share
from blobfs.store.opening import Store
from blobfs.sync.bundles.windows import LARGEST
from blobfs.sync.disk import DiskThreads
from tests.servers.nginx import Nginx
from tests.sync.bundles.bundled import FEW, MANY, PACKAGE, bundling, sample

LARGE = sample([120_000] * 100)
"""12 MB."""


def exported(root: Path, bundle: bytes | None) -> Path:
    """What a share's server serves."""
    (root / ".blobfs/bundles").mkdir(parents=True)
    if bundle is not None:
        (root / ".blobfs/bundles" / PACKAGE).write_bytes(bundle)
    return root


def share_at(url: str) -> Share:
    return Share(ShareOptions(parse_share_url(url)))


async def test_one_by_one_from_nginx(store: Store, tmp_path: Path) -> None:
    """A reader that goes on causes as many requests as there are windows, each twice as long as the last."""
    with Nginx(exported(tmp_path / "share", MANY.bundle)) as nginx:
        async with share_at(nginx.url) as share, bundling(store, share, disk=DiskThreads()) as node:
            for number, raw in enumerate(MANY.raws):
                assert await node.read(MANY, number) == raw
            await node.settled()
            assert node.kept(MANY) == [*range(len(MANY.members))]
            assert sorted(node.told) == sorted(MANY.blobs)
        requests = nginx.requests()
    assert {request.status for request in requests} == {206}
    assert sum(request.body_bytes_sent for request in requests) == len(MANY.bundle)
    assert len(requests) == 6
    assert len({request.connection for request in requests}) <= 2


async def test_all_at_once_from_two_servers(store: Store, tmp_path: Path, nursery: trio.Nursery) -> None:
    """Each member comes once, whoever brings it."""
    own = exported(tmp_path / "own", LARGE.bundle)
    address = await nursery.start(serve_share, own, bind_listener("127.0.0.1:0"))
    with Nginx(exported(tmp_path / "share", LARGE.bundle)) as nginx:
        async with (
            share_at(nginx.url) as one,
            share_at(f"http://{address}/") as two,
            bundling(store, one, two, disk=DiskThreads()) as node,
        ):
            assert await node.bring_all(LARGE) == (set(), len(LARGE.members), len(LARGE.bundle))
            assert node.kept(LARGE) == [*range(len(LARGE.members))]
            found = node.bundles.statistics()
            assert (found.requests, found.members, found.waiting) == (
                -(-len(LARGE.bundle) // LARGEST),
                len(LARGE.members),
                0,
            )


@pytest.mark.parametrize("is_lying", [True, False])
async def test_one_server_has_another_bundle_or_none(store: Store, tmp_path: Path, is_lying: bool) -> None:
    """P1, P5: the right one is used, in either case, and nothing else is kept."""
    wrong = bytearray(FEW.bundle)
    wrong[FEW.members[3].offset + 77] ^= 1
    with (
        Nginx(exported(tmp_path / "one", bytes(wrong) if is_lying else None)) as first,
        Nginx(exported(tmp_path / "two", FEW.bundle)) as second,
    ):
        async with (
            share_at(first.url) as one,
            share_at(second.url) as two,
            bundling(store, one, two, disk=DiskThreads()) as node,
        ):
            assert await node.bring(FEW, 3) == FEW.raws[3]
            assert await node.bring_all(FEW) == (set(), len(FEW.members), len(FEW.bundle))
            assert node.kept(FEW) == [*range(len(FEW.members))]
            assert [peer.is_struck for peer in node.peers] == [is_lying, False]
        assert len(first.requests()) == 1


async def test_nobody_has_one(store: Store, tmp_path: Path) -> None:
    """One request says so, for all that follows."""
    with Nginx(exported(tmp_path / "share", None)) as nginx:
        async with share_at(nginx.url) as share, bundling(store, share, disk=DiskThreads()) as node:
            for number in range(10):
                assert await node.bring(FEW, number) is None
            assert await node.bring_all(FEW) == (set(FEW.blobs), 0, 0)
        assert [request.status for request in nginx.requests()] == [404]
