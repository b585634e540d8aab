"""docs/semantics.md, other nodes' names: listing directories of many names, and of shares that are away.

The share is made by hand and served by nginx, which tells what was asked of it.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blobfs.model import BlobId
from blobfs.record import BlobRecord, DirRecord, LogEntry, encode_log_entry, encode_log_header
from tests.mount.node import BlobfsNode
from tests.mount.probes import attribute, last_error
from tests.servers.nginx import Nginx, Request

NAMES = 3000
TTL = 0.05
"""Seconds for which a listing is believed: what changes is seen when this is over."""


class HandMade:
    """A share of nothing but logs."""

    def __init__(self, root: Path) -> None:
        self.names = root / ".blobfs/names"
        self.names.mkdir(parents=True)
        self.rewrite("", [], made=1)

    def log(self, directory: str) -> Path:
        return self.names / directory / ".blobfs-log"

    def rewrite(self, directory: str, numbers: range | list[int], made: int) -> None:
        """A log of a new generation."""
        self.log(directory).parent.mkdir(exist_ok=True)
        header = encode_log_header(f"{directory} {made}", made)
        self.log(directory).write_bytes(header + lines(numbers))

    def make(self, directory: str, numbers: range) -> None:
        """A directory with its line in the root's log."""
        self.rewrite(directory, numbers, made=2)
        with self.log("").open("ab") as file:
            file.write(encode_log_entry(LogEntry(directory, DirRecord(1, 1))))

    def append(self, directory: str, numbers: range) -> None:
        with self.log(directory).open("ab") as file:
            file.write(lines(numbers))


def lines(numbers: range | list[int]) -> bytes:
    entries = (LogEntry(f"{n:05}", BlobRecord(BlobId(f"{n:064x}"), n + 1, 0o444, n, 10)) for n in numbers)
    return b"".join(map(encode_log_entry, entries))


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HandMade, Nginx]]:
    root = tmp_path_factory.mktemp("share")
    made = HandMade(root)
    with Nginx(root) as nginx:
        yield made, nginx


@pytest.fixture(scope="module")
def b(share: tuple[HandMade, Nginx], tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlobfsNode]:
    options = ("fill=never", f"listing_ttl={TTL}", "lookup_timeout=2")
    with BlobfsNode(tmp_path_factory.mktemp("b"), "b", shares=[share[1].url], options=options) as node:
        yield node


def listed(path: Path) -> dict[str, int]:
    """As `ls -l` does: every name, and its size."""
    time.sleep(2 * TTL)  # what was read before is not fresh any more
    with os.scandir(path) as entries:
        return {entry.name: entry.stat().st_size for entry in entries}


def asked(nginx: Nginx, directory: str) -> list[Request]:
    """The requests for a directory's log since this was asked last."""
    found = [request for request in nginx.requests() if f"/{directory}/.blobfs-log" in request.uri]
    nginx.forget_requests()
    return found


def listing(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(attribute(path, "listing"))
    return found


def test_many_names_cost_one_request(share: tuple[HandMade, Nginx], b: BlobfsNode) -> None:
    """[S54] The log once; then its last line, and what is new."""
    made, nginx = share
    made.make("many", range(NAMES))
    whole = made.log("many").stat().st_size
    sizes = {f"{n:05}": n + 1 for n in range(NAMES)}
    line = len(lines([0]))
    assert listed(b.path("many")) == sizes
    (first,) = asked(nginx, "many")
    assert (first.status, first.body_bytes_sent) == (200, whole)
    assert listed(b.path("many")) == sizes
    assert all(each.body_bytes_sent <= line + 9 for each in asked(nginx, "many"))
    made.append("many", range(NAMES, NAMES + 10))
    assert len(listed(b.path("many"))) == NAMES + 10
    later = asked(nginx, "many")
    assert {each.status for each in later} == {206}
    assert max(each.body_bytes_sent for each in later) <= 11 * (line + 9)
    assert nginx.requests() == []


def test_how_much_of_a_listing_is_whose(share: tuple[HandMade, Nginx], b: BlobfsNode) -> None:
    """[S55] While all is well."""
    made, nginx = share
    made.make("whose", range(5))
    before = time.time()
    assert len(listed(b.path("whose"))) == 5
    assert os.listxattr(b.path("whose")) == ["user.blobfs.listing"]
    (found,) = listing(b.path("whose"))
    read = found.pop("read")
    assert found == {"url": nginx.url, "fresh": True, "names": 5}
    assert time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(before)) <= read
    assert len(read) == len("2026-01-02T03:04:05.000000006Z")


def test_an_older_copy_hides_nothing(share: tuple[HandMade, Nginx], b: BlobfsNode) -> None:
    """[S57] A cache in between answers with what the log was."""
    made, _ = share
    made.make("cached", range(20))
    current = made.log("cached").read_bytes()
    assert len(listed(b.path("cached"))) == 20
    made.log("cached").write_bytes(current[:-200])  # of the same generation, and shorter
    assert len(listed(b.path("cached"))) == 20
    (attempt,) = last_error(b.path("cached"))
    assert "older" in attempt["detail"]
    assert listing(b.path("cached"))[0]["fresh"] is False


def test_a_log_that_was_made_anew_counts(share: tuple[HandMade, Nginx], b: BlobfsNode) -> None:
    """[S57] Names that a newer log does not have are gone."""
    made, _ = share
    made.make("anew", range(20))
    assert len(listed(b.path("anew"))) == 20
    made.rewrite("anew", range(3), made=3)
    assert sorted(listed(b.path("anew"))) == ["00000", "00001", "00002"]


def test_while_the_share_is_away(share: tuple[HandMade, Nginx], b: BlobfsNode) -> None:
    """[S55] What was known of it is listed, and the directory says why no more; [S56] until a restart."""
    made, nginx = share
    made.make("away", range(7))
    b.expect_log("is down", perhaps=True)
    b.path("own").write_text("of this node")
    b.wait_until_sealed()
    assert len(listed(b.path("away"))) == 7
    nginx.stop()
    for _ in range(2):
        assert len(listed(b.path("away"))) == 7
    assert sorted(os.listxattr(b.path("away"))) == ["user.blobfs.last_error", "user.blobfs.listing"]
    (attempt,) = last_error(b.path("away"))
    assert (attempt["share"], attempt["phase"]) == (nginx.url, "log")
    (found,) = listing(b.path("away"))
    assert (found["fresh"], found["names"]) == (False, 7)
    assert found["read"] is not None
    b.restart()
    assert [*listed(b.path())] == ["own"]
    assert last_error(b.path())[0]["share"] == nginx.url
    assert listing(b.path()) == [{"url": nginx.url, "read": None, "fresh": False, "names": 0}]
    nginx.start()
