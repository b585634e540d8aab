"""``blobfs load``, run as somebody runs it."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from blobfs.model import BlobId
from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.packages import is_complete, package_of, publish
from tests.mount.probes import MIB, assert_one_line, attribute, blobfs, children_of, copy_of, put, until
from tests.mount.programs import on_terminal
from tests.servers.nginx import Nginx, free_port
from tests.structure import ROOT
from tests.sync.packages.made import Made

SECONDS = 20
COMMAND = (sys.executable, "-P", "-m", "blobfs", "load")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def content(length: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(length)


SHARED = content(20_000, 1)
INNER = package_of({b"lib/so": content(300_000, 2), b"lib/same": SHARED, b"empty": b""})
OUTER = package_of(
    {
        b"bin/tool": content(50_000, 3),
        b"same": SHARED,
        b"big": content(3 * MIB, 4),
        b"deps/inner": INNER,
        **{b"small/%02d" % number: content(100 + number, 10 + number) for number in range(40)},
    }
)


def sizes_of(package: Made) -> dict[BlobId, int]:
    return {blob: len(raw) for blob, raw in package.blobs.items()} | {package.package: len(package.meta)}


def size_of(package: Made) -> int:
    return sum(sizes_of(package).values())


def load(node: BlobfsNode, *names: str | Path) -> subprocess.CompletedProcess[str]:
    return blobfs("load", node.mountpoint, *names)


def loaded(node: BlobfsNode, *names: str) -> list[dict[str, Any]]:
    """What came of each name, by the command's own word."""
    done = load(node, "--json", *names)
    assert (done.returncode, done.stderr) == (0, "")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@contextmanager
def loading(node: BlobfsNode, *names: str) -> Iterator["subprocess.Popen[str]"]:
    """The command while it runs; it is killed at the end if it still does."""
    command = [*COMMAND, str(node.mountpoint), *names]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        try:
            yield program
        finally:
            program.kill()


def blobs_in(node: BlobfsNode) -> set[str]:
    """Those that are whole in its store."""
    return {path.name for path in (node.share / ".blobfs/blobs").iterdir()}


def body_bytes(nginx: Nginx) -> int:
    return sum(request.body_bytes_sent for request in nginx.requests())


@pytest.fixture
def outer(node: BlobfsNode) -> BlobfsNode:
    """A node that has the package OUTER and serves it."""
    publish(node, OUTER)
    return node


def test_a_package(outer: BlobfsNode, start_node: StartNode) -> None:
    """All of it is here then, with what is nested in it: it can be read when the share is gone."""
    with Nginx(outer.share) as nginx:
        b = start_node("b", shares=[nginx.url])
        (found,) = loaded(b, OUTER.package)
        assert (found["kind"], found["blob"], found["files"]) == ("package", OUTER.package, 46)
        assert (found["bytes"], found["loaded_bytes"]) == (size_of(OUTER), size_of(OUTER))
        assert is_complete(b, OUTER)
    path = b.path(f".blobfs/packages/{OUTER.package}")
    assert (path / "deps/inner/lib/so").read_bytes() == content(300_000, 2)
    assert (path / "small/07").read_bytes() == content(107, 17)
    done = load(b, OUTER.package)
    assert (
        done.stdout
        == f"loaded {OUTER.package}: 46 files, {size_of(OUTER) / MIB:.1f} MiB (all of it was here)\n"
    )


def test_what_it_costs(outer: BlobfsNode, start_node: StartNode) -> None:
    """The small blobs come in one request, and no byte comes twice."""
    with Nginx(outer.share) as nginx:
        b = start_node("b", shares=[nginx.url])
        loaded(b, OUTER.package)
        requests = nginx.requests()
    assert sum("/bundles/" in request.uri for request in requests) <= 2
    asked = {
        blob for blob in OUTER.blobs if any(request.uri.endswith(f"/blobs/{blob}") for request in requests)
    }
    assert len(asked) <= 4  # the large ones, and the manifest of what is nested
    assert sum(request.body_bytes_sent for request in requests) < 1.05 * size_of(OUTER)


def test_ten_thousand_small_blobs(node: BlobfsNode, start_node: StartNode) -> None:
    """About one request for 4 MiB of them."""
    package = package_of({b"%d/%05d" % (n % 100, n): content(1024, n) for n in range(10_000)})
    tree = node.store.parent / "tree"
    for number in range(10_000):
        path = tree / str(number % 100) / f"{number:05}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(1024, number))
    done = blobfs("pack", node.mountpoint, tree)
    (package_id,) = done.stdout.split()
    assert len(package.blobs) == 10_000
    with Nginx(node.share) as nginx:
        b = start_node("b", shares=[nginx.url])
        (found,) = loaded(b, package_id)
        assert (found["files"], found["loaded_blobs"]) == (10_000, 10_001)
        requests = nginx.requests()
    of_bundles = [request for request in requests if "/bundles/" in request.uri]
    assert len(of_bundles) <= 6
    assert len(requests) - len(of_bundles) <= 10  # the manifest, in pieces, and its tree


def test_names_and_ids_and_directories(two_nodes: tuple[BlobfsNode, BlobfsNode], tmp_path: Path) -> None:
    """Whatever somebody calls it, in one command: each has its line."""
    a, b = two_nodes
    publish(a, OUTER)
    one = put(a, "d/one", content(5000, 5))
    put(a, "d/e/two", content(6000, 6))
    put(a, "three", content(7000, 7))
    a.path("tools").mkdir()
    a.path("tools/outer").symlink_to(f"../.blobfs/packages/{OUTER.package}")
    (tmp_path / "link").symlink_to(b.mountpoint.parent)
    elsewhere = tmp_path / "link" / b.mountpoint.name
    done = load(
        b,
        "three",
        one,
        "d",
        "tools/outer",
        str(elsewhere / "d/e"),
        str(b.path(f".blobfs/packages/{INNER.package}")),
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "loaded three: 6.8 KiB (6.8 KiB from shares)"
    assert lines[1].startswith(f"loaded {one}: 4.9 KiB (")
    assert lines[2].startswith("loaded d: 2 files, 10.7 KiB (")
    assert lines[3].startswith(f"loaded tools/outer: 46 files, {size_of(OUTER) / MIB:.1f} MiB (")
    assert lines[4].startswith(f"loaded {elsewhere}/d/e: 1 file, 5.9 KiB (")
    assert lines[5].startswith(f"loaded {b.mountpoint}/.blobfs/packages/{INNER.package}: 3 files, ")
    assert is_complete(b, OUTER)
    assert is_complete(b, INNER)
    a.stop()
    assert b.path("d/e/two").read_bytes() == content(6000, 6)
    assert attribute(b.path("three"), "state") == "whole"


def test_everything(two_nodes: tuple[BlobfsNode, BlobfsNode]) -> None:
    """The mountpoint itself is all names that there are."""
    a, b = two_nodes
    for number in range(20):
        put(a, f"d{number % 3}/{number}", content(1000, number))
    (found,) = loaded(b, str(b.mountpoint))
    assert (found["kind"], found["files"], found["loaded_bytes"]) == ("directory", 20, 20_000)


def test_what_cannot_be_had_does_not_hold_up_the_rest(two_nodes: tuple[BlobfsNode, BlobfsNode]) -> None:
    """Exit code 1, a line for each failure; what can be loaded is."""
    a, b = two_nodes
    put(a, "there", b"there")
    done = load(b, "nothing", "there", "ab" * 32)
    assert done.returncode == 1
    assert done.stdout == "loaded there: 5 bytes (5 bytes from shares)\n"
    assert done.stderr.splitlines() == [
        "Error: nothing: no share has it",
        f"Error: {'ab' * 32}: no share has it",
    ]
    found = load(b, "--json", "nothing", "there")
    assert found.returncode == 1
    assert [(each["name"], each["state"]) for each in json.loads(found.stdout)] == [
        ("nothing", "failed"),
        ("there", "done"),
    ]
    assert json.loads(found.stdout)[0]["errno"] == "ENOENT"


def test_a_blob_that_no_share_has(outer: BlobfsNode, start_node: StartNode, tmp_path: Path) -> None:
    """The error names its file, and the share that was asked; the rest of the package is here."""
    lost = next(blob for blob, raw in OUTER.blobs.items() if len(raw) == 300_000)
    damaged = copy_of(outer.share, tmp_path / "damaged")
    (damaged / ".blobfs/blobs" / lost).unlink()
    with Nginx(damaged) as nginx:
        b = start_node("b", shares=[nginx.url])
        b.expect_log("no share has it")
        done = load(b, OUTER.package)
        assert done.returncode == 1
        assert_one_line(done)
        assert done.stderr.startswith(
            f"Error: {OUTER.package}: deps/inner/lib/so: no share has it ({nginx.url}: "
        )
        assert not is_complete(b, OUTER)
        assert set(sizes_of(OUTER)) - blobs_in(b) == {lost}


def test_one_share_is_down(outer: BlobfsNode, start_node: StartNode) -> None:
    """P5: the other one has it all."""
    with Nginx(outer.share) as nginx:
        b = start_node("b", shares=[f"http://127.0.0.1:{free_port()}/", nginx.url])
        b.expect_log("is down", perhaps=True)
        loaded(b, OUTER.package)
        assert is_complete(b, OUTER)


def test_all_shares_are_down(start_node: StartNode) -> None:
    """The message says what each of them did."""
    url = f"http://127.0.0.1:{free_port()}/"
    b = start_node("b", shares=[url])
    b.expect_log("is down", perhaps=True)
    done = load(b, "name")
    assert done.returncode == 1
    assert_one_line(done)
    assert f"({url}: " in done.stderr


def test_interrupted(outer: BlobfsNode, start_node: StartNode) -> None:
    """Ctrl-C ends the load in the node too; the same command loads the rest, and only that."""
    with Nginx(outer.share, "limit_rate_after 1m; limit_rate 1m;") as nginx:
        b = start_node("b", shares=[nginx.url])
        with loading(b, OUTER.package) as program:
            until(lambda: len(blobs_in(b)) > 20, "the small blobs are here, the large ones are coming")
            program.send_signal(signal.SIGINT)
            out, err = program.communicate(timeout=SECONDS)
        assert (program.returncode, out) == (130, "")
        assert err == "Error: interrupted; what has arrived stays, the same command loads the rest\n"
        loaded(b, OUTER.package)
        assert is_complete(b, OUTER)
        assert body_bytes(nginx) < size_of(OUTER) + 1.5 * MIB


def test_the_node_is_killed(outer: BlobfsNode, start_node: StartNode) -> None:
    """The command says so; the next run of the node loads what has not come to the disk."""
    with Nginx(outer.share, "limit_rate_after 1m; limit_rate 1m;") as nginx:
        b = start_node("b", shares=[nginx.url])
        with loading(b, OUTER.package) as program:
            until(lambda: len(blobs_in(b)) > 20, "the small blobs are here, the large ones are coming")
            b.kill9()
            out, err = program.communicate(timeout=SECONDS)
        assert (program.returncode, out) == (1, "")
        assert "does not answer" in err
        assert len(err.splitlines()) == 1
        here = blobs_in(b)
        nginx.forget_requests()
        b.start()
        (found,) = loaded(b, OUTER.package)
        assert is_complete(b, OUTER)
        missing = sum(size for blob, size in sizes_of(OUTER).items() if blob not in here)
        assert found["loaded_bytes"] <= missing
        assert body_bytes(nginx) < missing + 64 * 1024  # hash trees


def test_a_stuck_share(two_nodes: tuple[BlobfsNode, BlobfsNode], start_node: StartNode) -> None:
    """With readers hanging in the mount the command works: what is here is loaded, what is not can be
    interrupted.
    """
    a, b = two_nodes
    put(a, "here", content(9000, 8))
    put(a, "stuck", content(MIB, 9))
    loaded(b, "here")
    assert a.process is not None
    share = [a.process.pid, *children_of(a.process.pid)]
    b.expect_log("is down|could not be looked up|not here|cannot be reached", perhaps=True)
    for pid in share:
        os.kill(pid, signal.SIGSTOP)
    try:
        with subprocess.Popen(
            ["cat", b.path("stuck")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as cat:
            assert loaded(b, "here")[0]["loaded_bytes"] == 0
            before = b.status()["tasks"]
            with loading(b, "stuck") as program:
                until(lambda: b.status()["tasks"] > before + 1, "the node works on it")
                program.send_signal(signal.SIGINT)
                program.communicate(timeout=SECONDS)
            # To a shell both are 130; the signal itself if it came before the command was all imported.
            assert program.returncode in (130, -signal.SIGINT)
            cat.kill()
    finally:
        for pid in share:
            os.kill(pid, signal.SIGCONT)


def test_a_bar_on_a_terminal(outer: BlobfsNode, start_node: StartNode) -> None:
    """It shows how far it is, up to the end; the result is on stdout."""
    with Nginx(outer.share, "limit_rate 4m;") as nginx:
        b = start_node("b", shares=[nginx.url])
        shown, out = on_terminal(*COMMAND, b.mountpoint, OUTER.package, env=ENVIRONMENT)
    count = len(sizes_of(OUTER))
    assert "loading" in shown
    assert (
        f"{count} of {count} blobs, {size_of(OUTER) / MIB:.1f} MiB of {size_of(OUTER) / MIB:.1f} MiB" in shown
    )
    assert "100%" in shown
    assert out.startswith(f"loaded {OUTER.package}: ")
    shown, out = on_terminal(*COMMAND, "--no-progress", b.mountpoint, OUTER.package, env=ENVIRONMENT)
    assert shown == ""
    assert out.startswith("loaded ")


def test_wrong_usage(node: BlobfsNode, tmp_path: Path) -> None:
    """Exit code 2 for what can be no name there, before anything is loaded; 1 for what is no mount."""
    put(node, "f", b"f")
    for names in (
        (),
        ("f", str(tmp_path / "x")),
        ("f", "a/../.."),
        ("x" * 300,),
        ("a\n/.blobfs",),
        ("--what", "f"),
    ):
        done = load(node, *names)
        assert (done.returncode, done.stdout) == (2, ""), names
        assert "Traceback" not in done.stderr
    for mountpoint in (tmp_path, tmp_path / "nothing"):
        done = blobfs("load", mountpoint, "f")
        assert done.returncode == 1
        assert_one_line(done)
    done = load(node, ".blobfs/incoming/x")
    assert done.returncode == 1
    assert_one_line(done)
