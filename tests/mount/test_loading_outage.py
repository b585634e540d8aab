"""Shares that come and go: what is said meanwhile, and that it ends when they are back."""

import hashlib
import os
import subprocess
from errno import EHOSTUNREACH, ENOENT, ETIMEDOUT
from signal import SIGINT, SIGKILL

import pytest

from tests.mount.conftest import StartNode
from tests.mount.probes import (
    MIB,
    attribute,
    errno_of,
    errno_of_read,
    last_error,
    put,
    scripted,
    stored,
    until,
)
from tests.servers import scripted as answers
from tests.servers.nginx import Nginx

READ_SECONDS = 3
"""`read_timeout` where a reader waits it out."""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["--read-only"], EHOSTUNREACH), ([], ENOENT)],
    ids=["read-only", "writable"],
)
def test_a_dead_share_is_not_an_absent_name(start_node: StartNode, arguments: list[str], expected: int):
    """P4: what cannot be asked for is EHOSTUNREACH, on a writable mount ENOENT; when the share is back
    the name is found within seconds."""
    a = start_node("a")
    put(a, "d/f", b"here")
    nginx = Nginx(a.share)
    b = start_node("b", shares=[nginx.url], arguments=arguments)
    assert errno_of_read(b.path("d/f")) == expected
    assert errno_of(lambda: b.path("other").stat()) == expected
    with nginx:
        until(lambda: errno_of_read(b.path("d/f")) == 0, "the share is asked again")
        assert b.path("d/f").read_bytes() == b"here"
        assert errno_of(lambda: b.path("other").stat()) == ENOENT


def test_writing_works_offline(start_node: StartNode):
    """P4: with its shares dead a writable node takes files, and shares them."""
    nginx = Nginx(start_node("a").share)
    b = start_node("b", shares=[nginx.url])
    b.path("d").mkdir()
    b.path("d/f").write_bytes(b"mine")
    assert b.path("d/f").read_bytes() == b"mine"
    assert attribute(b.path("d/f"), "id") in stored(b.share)
    os.rename(b.path("d/f"), b.path("g"))
    assert os.listdir(b.path("")) == ["d", "g"]


def test_a_known_blob_whose_share_died(start_node: StartNode):
    """P3: a listed file whose share is gone is EHOSTUNREACH after the tries, its attempts are told, and it is
    read when the share is back."""
    content = os.urandom(2 * MIB)
    a = start_node("a")
    put(a, "f", content)
    with Nginx(a.share) as nginx:
        b = start_node("b", shares=[nginx.url], options=["fill=never", f"read_timeout={READ_SECONDS}"])
        b.expect_log("no share that may have it can be reached")
        with b.path("f").open("rb") as file:
            nginx.stop()
            assert errno_of(file.read) == EHOSTUNREACH
            attempts = last_error(b.path("f"))
            assert {(each["share"], each["outcome"]) for each in attempts} == {(nginx.url, "unreachable")}
            assert "connection refused" in {each["detail"] for each in attempts}
            nginx.start()
            until(lambda: errno_of(lambda: os.pread(file.fileno(), 10, 0)) == 0, "the share is back")
            assert os.pread(file.fileno(), len(content), 0) == content


def test_a_share_that_falls_silent(start_node: StartNode):
    """P3: a read that no share answers ends with ETIMEDOUT, at its deadline; others are served meanwhile."""
    a = start_node("a", listen=True)
    content = os.urandom(2 * MIB)
    blob = put(a, "f", content)
    record = (a.share / ".blobfs/names/f").read_bytes()
    with scripted() as server:
        server.route("/.blobfs/names/f", answers.ok(record))
        server.route(f"/.blobfs/trees/{blob}", answers.silent())
        server.route(f"/.blobfs/blobs/{blob}", answers.silent())
        options = ["fill=never", f"read_timeout={READ_SECONDS}"]
        b = start_node("b", shares=[server.url], options=options)
        b.path("here").write_bytes(b"here")
        reader = subprocess.Popen(["cat", b.path("f")], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        until(lambda: b.status()["loading"]["in_flight"], "it waits")
        assert b.path("here").read_bytes() == b"here"
        assert reader.poll() is None
        _, complaint = reader.communicate(timeout=READ_SECONDS + 10)
        b.expect_log("not here after", perhaps=True)
        assert os.strerror(ETIMEDOUT) in complaint.decode()
        assert last_error(b.path("f"))[0]["share"] == server.url


@pytest.mark.parametrize("number", [SIGINT, SIGKILL])
def test_a_waiting_reader_can_be_ended(start_node: StartNode, number: int):
    """P3: a program that waits for a load dies of Ctrl-C and of SIGKILL at once, not at the deadline."""
    a = start_node("a")
    blob = put(a, "f", os.urandom(2 * MIB))
    record = (a.share / ".blobfs/names/f").read_bytes()
    with scripted() as server:
        server.route("/.blobfs/names/f", answers.ok(record))
        server.route(f"/.blobfs/trees/{blob}", answers.silent())
        server.route(f"/.blobfs/blobs/{blob}", answers.silent())
        b = start_node("b", shares=[server.url], options=["fill=never", "read_timeout=40"])
        b.expect_log("no share that may have it", perhaps=True)  # the load goes on without its reader
        b.expect_log("fuse_reply_.* failed with No such file", perhaps=True)  # pyfuse3 answers nobody
        reader = subprocess.Popen(["cat", b.path("f")], stdout=subprocess.DEVNULL)
        until(lambda: b.status()["loading"]["in_flight"], "it waits")
        reader.send_signal(number)
        assert reader.wait(10) == -number


def test_what_is_here_needs_no_network(start_node: StartNode):
    """P6: loaded and written blobs are served by name, by id and in listings while every share is dead, also
    right after a start."""
    content = os.urandom(3 * MIB)
    a = start_node("a")
    ids = [put(a, "d/loaded", content), put(a, "small", b"small")]
    with Nginx(a.share) as nginx, scripted() as server:
        for path in ("/.blobfs/names/.blobfs-log", "/.blobfs/names/d/.blobfs-log"):
            server.route(path, answers.silent())
        b = start_node("b", shares=[nginx.url, server.url], options=["fill=never", "lookup_timeout=2"])
        ids.append(put(b, "d/written", b"written"))
        assert b.path("d/loaded").read_bytes() == content
        assert b.path("small").read_bytes() == b"small"
        until(lambda: set(ids) <= set(stored(b.share)), "all is whole")
        until(lambda: (b.share / "d/loaded").exists() and (b.share / "small").exists(), "and shared")
        b.stop()
        nginx.stop()
        asked = len(server.requests)
        b.start()
        for name, expected in (("d/loaded", content), ("d/written", b"written"), ("small", b"small")):
            assert b.path(name).read_bytes() == expected
        assert [b.blob(blob).stat().st_size for blob in ids] == [len(content), 5, 7]
        logs_only = {request.path.rpartition("/")[2] for request in server.requests[asked:]}
        assert logs_only <= {".blobfs-log"}  # read behind the reader's back: is there a newer one?
        assert sorted(os.listdir(b.path("d"))) == ["loaded", "written"]


def test_an_outage_in_the_middle(start_node: StartNode):
    """A share that dies while a file is copied and comes back at once is not noticed by the copy."""
    content = os.urandom(48 * MIB)
    a = start_node("a")
    put(a, "f", content)
    with Nginx(a.share, "limit_rate 8m;") as nginx:
        b = start_node("b", shares=[nginx.url], options=["fill=never", "retry_timeout=1"])
        b.expect_log("", perhaps=True)
        reader = subprocess.Popen(["sha256sum", b.path("f")], stdout=subprocess.PIPE, text=True)
        until(lambda: int(attribute(b.path("f"), "present")) > MIB, "it loads")
        nginx.stop()
        assert reader.poll() is None
        nginx.start()
        assert reader.communicate(timeout=30)[0].split()[0] == hashlib.sha256(content).hexdigest()


def test_a_name_that_was_seen_before_the_outage(start_node: StartNode):
    """[S51] P4: what a listing showed, and what is here in part, is there while its share is away: what is
    here of it is read, the rest is EHOSTUNREACH and not ENOENT. What nobody saw cannot be known."""
    a = start_node("a")
    content = os.urandom(4 * MIB)
    for name in ("listed", "begun", "unseen/f"):
        put(a, name, content + name.encode())
    with Nginx(a.share) as nginx:
        b = start_node("b", shares=[nginx.url], options=["fill=never", "lookup_timeout=1", "listing_ttl=0"])
        b.expect_log("no share that may have it can be reached|is down", perhaps=True)
        with b.path("begun").open("rb", buffering=0) as file:
            assert file.read(4096) == content[:4096]
        assert set(os.listdir(b.path(""))) == {"listed", "begun", "unseen"}
        nginx.stop()
        for name in ("listed", "begun"):
            assert b.path(name).stat().st_size == len(content) + len(name)
        with b.path("begun").open("rb", buffering=0) as file:
            assert file.read(4096) == content[:4096]
            assert errno_of(lambda: os.pread(file.fileno(), 10, 3 * MIB)) == EHOSTUNREACH
        assert errno_of(lambda: b.path("listed").read_bytes()) == EHOSTUNREACH
        assert errno_of(lambda: b.path("unseen/f").stat()) == ENOENT
