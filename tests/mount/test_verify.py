"""docs/semantics.md, "Verification": a store at rest, and a daemon that looks after its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from errno import EIO
from pathlib import Path
from typing import Any

import pytest

from tests.mount.node import BlobfsNode
from tests.mount.probes import MIB, blob_id, errno_of_read, rot, until
from tests.structure import ROOT

RAW = os.urandom(2 * MIB + 5)
SMALL = os.urandom(3_000)
VERIFY_SECONDS = 60
Nodes = tuple[BlobfsNode, BlobfsNode]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A, which shares; B, which has loaded all of it and shares something, too. B may be down."""
    directory = tmp_path_factory.mktemp("verify")
    with BlobfsNode(directory, "a", listen=True) as a:
        a.path("large").write_bytes(RAW)
        a.path("small").write_bytes(SMALL)
        with BlobfsNode(directory, "b", shares=[a.url]) as b:
            b.expect_log("is damaged|are wrong|no share has it", perhaps=True)
            assert b.path("large").read_bytes() == RAW
            assert b.path("small").read_bytes() == SMALL
            b.path("own").write_bytes(RAW[::-1])
            subprocess.run(["sync", b.mountpoint], check=True, timeout=VERIFY_SECONDS)
            yield a, b


@pytest.fixture(autouse=True)
def long_lives(nodes: Nodes) -> None:
    for node in nodes:
        if node.process is not None:
            node.prolong()


def verify(node: BlobfsNode, *options: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the report."""
    done = run(node, "--json", *options)
    return done.returncode, json.loads(done.stdout)


def run(node: BlobfsNode, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "blobfs", "verify", *options, str(node.store)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=VERIFY_SECONDS, env=environment, check=False
    )


def stored(node: BlobfsNode, raw: bytes) -> Path:
    return node.store / "share/.blobfs/blobs" / blob_id(raw)


def test_verify_looks(nodes: Nodes):
    """[S105] A store in use is refused, with the pid; at rest all that is wrong is told, and left."""
    _, b = nodes
    assert b.process is not None
    refused = run(b)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"in use by process {b.process.pid}" in refused.stderr
    b.stop()
    code, report = verify(b)
    assert (code, report["findings"]) == (0, [])
    assert report["bytes"] >= 2 * len(RAW) + len(SMALL)
    rot(stored(b, RAW), MIB)
    content = stored(b, RAW).read_bytes()
    code, report = verify(b)
    (finding,) = report["findings"]
    assert code == 1
    assert (finding["kind"], finding["blob"], finding["done"]) == ("blob", blob_id(RAW), "nothing")
    assert finding["good"] == len(RAW) - 128 * 1024
    assert stored(b, RAW).read_bytes() == content
    told = run(b, "--quiet")
    assert (told.returncode, told.stdout.count("\n")) == (1, 1)
    rot(stored(b, RAW), MIB)
    b.start()


def test_repair_with_a_share(nodes: Nodes):
    """[S106] What a share has is loaded again, only what was wrong of it, and is under its name as before."""
    a, b = nodes
    b.stop()
    rot(stored(b, RAW), 0)
    rot(stored(b, SMALL), 100)
    rot(b.store / "share/.blobfs/trees" / blob_id(RAW[::-1]), 99)
    before = sum(share["received"] for share in a.status()["shares"])
    code, report = verify(b, "--repair", f"--share={a.url}")
    assert code == 0
    done = sorted((finding["kind"], finding["done"]) for finding in report["findings"])
    assert done == [("blob", "loaded again"), ("blob", "loaded again"), ("tree", "rebuilt")]
    assert before == 0
    assert verify(b)[0] == 0
    for name, raw in {"large": RAW, "small": SMALL}.items():
        assert (b.share / name).read_bytes() == raw
        assert os.path.samefile(b.share / name, stored(b, raw))
    b.start()
    assert b.path("large").read_bytes() == RAW


def test_repair_without_a_share(nodes: Nodes):
    """[S107] What cannot be had again leaves the share; what is right of it is read, the rest is EIO
    until a share has it."""
    _, b = nodes
    b.path("alone").write_bytes(RAW[1:])
    subprocess.run(["sync", b.mountpoint], check=True, timeout=VERIFY_SECONDS)
    b.stop()
    rot(stored(b, RAW[1:]), len(RAW) - 2)
    code, report = verify(b, "--repair")
    assert (code, report["left"], report["findings"][0]["done"]) == (1, 1, "demoted")
    assert not stored(b, RAW[1:]).exists()
    assert not (b.share / "alone").exists()
    assert verify(b)[0] == 0
    b.start()
    with b.path("alone").open("rb", buffering=0) as file:
        assert file.read(MIB) == RAW[1:][:MIB]
    assert errno_of_read(b.path("alone")) == EIO
    assert errno_of_read(b.path("large")) == 0


def test_scrubber(nodes: Nodes):
    """[S108] With `-o scrub_rate` a daemon finds by itself what is wrong, and loads it again."""
    _, b = nodes
    b.stop()
    rot(stored(b, RAW), 2 * MIB)
    b.options.append("scrub_rate=1G")
    b.start()
    until(lambda: b.status()["scrub"]["mended"] == 1, "it is mended")
    until(lambda: stored(b, RAW).exists(), "it is here again")
    assert stored(b, RAW).read_bytes() == RAW
    assert b.status()["scrub"]["rate"] == 1 << 30
    assert "1 wrong, 1 of these loaded again" in status_text(b)


def status_text(node: BlobfsNode) -> str:
    command = [sys.executable, "-P", "-m", "blobfs", "status", str(node.mountpoint)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=VERIFY_SECONDS, env=environment, check=True
    )
    return done.stdout


def test_damaged_names(nodes: Nodes):
    """[S109] A record or a log that is not what was written misleads nobody; a repair restores it."""
    _, b = nodes
    b.path("dir").mkdir()
    for name in ("f1", "f2"):
        b.path(f"dir/{name}").write_text(f"this is {name}")
    b.stop()
    names = b.store / "share/.blobfs/names/dir"
    log = (names / ".blobfs-log").read_bytes()
    flip_to(names / ".blobfs-log", log, log.replace(b'"f1"', b'"f2"'))
    b.start()
    assert {path.name: path.read_text() for path in b.path("dir").iterdir()} == {
        "f1": "this is f1",
        "f2": "this is f2",
    }
    b.stop()
    record = (names / "f2").read_bytes()
    flip_to(names / "f2", record, record.replace(b'"0444"', b'"0555"'))
    code, report = verify(b, "--repair")
    assert code == 0
    assert {finding["kind"] for finding in report["findings"]} == {"log", "record"}
    assert (names / "f2").read_bytes() == record
    b.start()
    assert b.path("dir/f2").stat().st_mode & 0o777 == 0o444


def flip_to(path: Path, before: bytes, after: bytes) -> None:
    assert before != after
    with open(os.open(path, os.O_RDWR), "r+b") as file:
        file.write(after)
