"""Loading: how much is asked of the shares, and by whom what was loaded can be loaded in turn."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import MIB, assert_sound, attribute, put, read_at, stored, until
from tests.servers.nginx import Nginx, free_port

SMALL_ANSWERS = 64 * 1024
"""Bytes of records, listings and error pages beside what was asked for."""


def test_many_readers_cause_one_download(start_node: StartNode):
    """P7: sixteen programs that read one missing blob at once cause one download."""
    content = os.urandom(64 * MIB)
    a = start_node("a")
    blob = put(a, "big", content)
    with Nginx(a.share) as nginx:
        b = start_node("b", shares=[nginx.url])
        readers = [
            subprocess.Popen(["sha256sum", b.path("big")], stdout=subprocess.PIPE, text=True)
            for _ in range(16)
        ]
        sums = {reader.communicate(timeout=40)[0].split()[0] for reader in readers}
        sent = sum(request.body_bytes_sent for request in nginx.requests())
    assert sums == {hashlib.sha256(content).hexdigest()}
    tree_size = (a.share / ".blobfs/trees" / blob).stat().st_size
    assert sent <= len(content) + tree_size + SMALL_ANSWERS


@pytest.mark.parametrize("options", [["fill=never"], []], ids=["never", "idle"])
def test_the_tail_of_a_missing_blob_costs_little(start_node: StartNode, options: list[str]):
    """Reading the last 4 KiB of a missing 1 GiB blob moves at most 1 MiB in at most five requests, also with
    the fill, which begins only when the mount is idle."""
    tail = os.urandom(4096)
    a = start_node("a")
    with a.path("huge").open("wb") as file:
        file.truncate((1 << 30) - len(tail))
        file.seek(0, os.SEEK_END)
        file.write(tail)
    attribute(a.path("huge"), "id")
    with Nginx(a.share) as nginx:
        b = start_node("b", shares=[nginx.url], options=options)
        assert read_at(b.path("huge"), (1 << 30) - len(tail), len(tail)) == tail
        requests = nginx.requests()
        assert len(requests) <= 5, requests
        assert sum(request.body_bytes_sent for request in requests) <= MIB
        assert attribute(b.path("huge"), "state") == "partial"


def test_the_fill_completes_what_was_begun(start_node: StartNode):
    """What was read in part is loaded to its end while the mount is idle, and shared in turn."""
    a = start_node("a", listen=True)
    content = os.urandom(20 * MIB)
    blob = put(a, "f", content)
    b = start_node("b", shares=[a.url], options=["fill_after=0.2"])
    assert read_at(b.path("f"), 7 * MIB, 10) == content[7 * MIB : 7 * MIB + 10]
    until(lambda: blob in stored(b.share), "the blob is whole")
    until(lambda: attribute(b.path("f"), "state") == "whole", "the mount says so")
    assert stored(b.share)[blob] == content


def test_without_the_fill_nothing_is_loaded_that_nobody_reads(start_node: StartNode):
    """`fill=never`: what was read in part stays so; a restart goes on with what is here."""
    a = start_node("a")
    content = os.urandom(20 * MIB)
    put(a, "f", content)
    with Nginx(a.share) as nginx:
        b = start_node("b", shares=[nginx.url], options=["fill=never", "fill_after=0.2"])
        assert read_at(b.path("f"), 7 * MIB, 10) == content[7 * MIB : 7 * MIB + 10]
        until(lambda: not b.status()["loading"]["in_flight"], "the kernel's read-ahead is served too")
        present = int(attribute(b.path("f"), "present"))
        assert 0 < present <= 2 * MIB
        b.restart()
        nginx.forget_requests()
        assert read_at(b.path("f"), 7 * MIB, 10) == content[7 * MIB : 7 * MIB + 10]
        assert int(attribute(b.path("f"), "present")) == present
        assert not [request for request in nginx.requests() if "/blobs/" in request.uri]


def test_a_dead_share_beside_a_good_one(start_node: StartNode):
    """P5: a share that nobody listens on costs its connection attempts, not the answer."""
    a = start_node("a", listen=True)
    put(a, "d/f", b"right")
    dead = f"http://127.0.0.1:{free_port()}/"
    b = start_node("b", shares=[dead, a.url], arguments=["--read-only"])
    assert b.path("d/f").read_bytes() == b"right"
    assert os.listdir(b.path("d")) == ["f"]
    down = {share["url"]: share["health"]["consecutive_failures"] for share in b.status()["shares"]}
    assert down[dead] > 0
    assert down[a.url] == 0


def test_what_was_loaded_is_shared_in_turn(two_nodes: tuple[BlobfsNode, BlobfsNode], start_node: StartNode):
    """C, which knows only B, gets what B has loaded from A: file, directory, mode, time and symlink."""
    a, b = two_nodes
    content = os.urandom(3 * MIB)
    put(a, "d/tool", content)
    a.path("d/tool").chmod(0o755)
    os.utime(a.path("d/tool"), ns=(0, 1_234_567_890_000_000_123))
    os.symlink("d/tool", a.path("link"))
    until(lambda: b.path("link").is_symlink(), "B sees the symlink")
    assert b.path("link").read_bytes() == content
    until(lambda: (b.share / "d/tool").exists(), "B has shared it in turn")
    a.stop()
    c = start_node("c", shares=[b.url])
    assert os.readlink(c.path("link")) == "d/tool"
    assert c.path("link").read_bytes() == content
    assert sorted(os.listdir(c.path(""))) == ["d", "link"]
    seen = c.path("d/tool").stat()
    assert (seen.st_mode & 0o777, seen.st_mtime_ns) == (0o555, 1_234_567_890_000_000_123)
    assert_sound(b.share)


def test_any_web_server_exports_a_share(start_node: StartNode):
    """P10: nginx over the share directory serves names to curl, and records, ids and listings to nodes."""
    a = start_node("a")
    names = {"a b/c%d": b"odd", "ü/ö": b"more", "plain": os.urandom(300_000), "empty": b""}
    ids = {name: put(a, name, content) for name, content in names.items()}
    with Nginx(a.share) as nginx:
        fetched = subprocess.run(
            ["curl", "-sSf", f"{nginx.url}plain"], check=True, capture_output=True, timeout=20
        )
        assert fetched.stdout == names["plain"]
        b = start_node("b", shares=[nginx.url])
        assert sorted(os.listdir(b.path(""))) == ["a b", "empty", "plain", "ü"]
        for name, content in names.items():
            assert b.path(name).read_bytes() == content
        c = start_node("c", shares=[nginx.url])
        for name, content in names.items():
            assert c.blob(ids[name]).read_bytes() == content


def test_a_listing_costs_one_request_and_a_file_of_it_none_for_its_name(start_node: StartNode):
    """`ls -l` of a directory of others loads no content; a name that was listed is not asked for again."""
    a = start_node("a")
    for number in range(50):
        a.path(f"f{number}").write_bytes(b"x" * number)
    attribute(a.path("f49"), "id")
    a.wait_until_sealed()
    with Nginx(a.share) as nginx:
        b = start_node("b", shares=[nginx.url])
        sizes = {entry.name: entry.stat().st_size for entry in os.scandir(b.path(""))}
        assert sizes == {f"f{number}": number for number in range(50)}
        assert [Path(request.uri).name for request in nginx.requests()] == [".blobfs-log"]
