"""Why a name cannot be read: ``blobfs why``, the status of the shares, and what stands in the log."""

import json
import os
import subprocess
from errno import EBADMSG, EHOSTUNREACH, ENOENT
from functools import partial
from typing import Any

import pytest

from blobfs.control.client import fetch_explanation
from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode, log_records
from tests.mount.probes import (
    MIB,
    assert_one_line,
    attribute,
    blobfs,
    copy_of,
    errno_of,
    errno_of_read,
    flip,
    put,
    read_at,
    scripted,
    until,
)
from tests.servers import scripted as answers
from tests.servers.nginx import Nginx, free_port

LOOKUPS = 500
A_HANDFUL = 5


def why(node: BlobfsNode, name: str) -> dict[str, Any]:
    """As the command asks for it."""
    return fetch_explanation(node.store, name)


def shown(node: BlobfsNode, name: str) -> str:
    """What the command says, in words."""
    done = blobfs("why", node.mountpoint, name)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"), [(["--read-only"], EHOSTUNREACH), ([], ENOENT)], ids=["read-only", "writable"]
)
def test_a_name_that_could_not_be_looked_up(start_node: StartNode, arguments: list[str], expected: int):
    """[S75] P4: on a writable mount the caller is told ENOENT; the command says that the share was dead, and
    what the caller got."""
    b = start_node("b", shares=[f"http://127.0.0.1:{free_port()}/"], arguments=arguments)
    assert errno_of(lambda: b.path("d").stat()) == expected
    found = why(b, "d/f")
    assert found["lookup"]["errno"] == "EHOSTUNREACH"
    assert found["lookup"]["conclusion"] == "EHOSTUNREACH: no share that may have it can be reached"
    assert {each["kind"] for each in found["lookup"]["attempts"]} == {"connect-refused"}
    words = shown(b, "d/f")
    assert "connection refused" in words
    assert ("its caller was told ENOENT" in words) == (expected == ENOENT)


def test_a_name_that_no_share_has(start_node: StartNode):
    """[S75] Absent is not unknown, and what nobody asked for is neither; nothing is asked for it now."""
    with scripted() as server:
        server.route("/.blobfs/names/.blobfs-log", answers.ok(b'{"log":1,"generation":"x"}\n'))
        b = start_node("b", shares=[server.url])
        assert errno_of(lambda: b.path("f").stat()) == ENOENT
        asked = len(server.requests)
        assert "no share has it: all of them said so" in shown(b, "f")
        assert "nothing is known of it; no share was asked" in shown(b, "never")
        assert why(b, "never")["is_known"] is False
        assert len(server.requests) == asked


def test_a_file_and_its_states(start_node: StartNode):
    """[S75] By name, by path and by id: own, foreign, missing, partial, whole, being written."""
    a = start_node("a", listen=True)
    blob = put(a, "d/f", os.urandom(5 * MIB))
    b = start_node("b", shares=[a.url])
    assert os.listdir(b.path("d")) == ["f"]
    assert [why(b, "d/f")[key] for key in ("state", "origin", "size")] == ["missing", "shares", 5 * MIB]
    read_at(b.path("d/f"), 0, 1000)
    for name in ("d/f", str(b.path("d/f")), blob, f".blobfs/blobs/{blob}"):
        assert "partial: " in shown(b, name)
    b.path("d/f").read_bytes()
    until(lambda: why(b, "d/f")["origin"] == "loaded", "it is shared in turn")
    assert (why(b, "d/f")["state"], why(b, blob_path(blob))["state"]) == ("whole", "whole")
    assert [why(a, "d/f")[key] for key in ("state", "origin", "blob")] == ["sealed", "own", blob]
    with b.path("w").open("wb", buffering=0) as file:
        file.write(b"123")
        assert [why(b, "w")[key] for key in ("state", "present")] == ["writing", 3]
    assert attribute(b.path("w"), "id") == why(b, "w")["blob"]
    b.path("w").unlink()
    assert why(b, "w")["kind"] == "removed"


def blob_path(blob: str) -> str:
    return f".blobfs/blobs/{blob}"


def test_a_stuck_mount(start_node: StartNode):
    """[S75] While readers wait for a silent share, it says for which bytes, of whom and for how long."""
    a = start_node("a")
    blob = put(a, "f", os.urandom(2 * MIB))
    record = (a.share / ".blobfs/names/f").read_bytes()
    with scripted() as server:
        server.route("/.blobfs/names/f", answers.ok(record))
        server.route(f"/.blobfs/trees/{blob}", answers.silent())
        server.route(f"/.blobfs/blobs/{blob}", answers.silent())
        b = start_node("b", shares=[server.url], options=["fill=never", "read_timeout=40"])
        b.expect_log("no share that may have it", perhaps=True)
        b.expect_log("fuse_reply_.* failed with No such file", perhaps=True)
        readers = [subprocess.Popen(["cat", b.path("f")], stdout=subprocess.DEVNULL) for _ in range(4)]
        until(lambda: b.status()["loading"]["in_flight"], "they wait")
        request = until(lambda: why(b, "f")["load"]["requests"], "it is asked for")[0]
        assert (request["share"], request["received"], request["urgency"]) == (server.url, 0, "reader")
        assert "silent for " in shown(b, "f")
        assert server.url in shown(b, blob)
        for reader in readers:
            reader.kill()
            reader.wait(10)


def test_shares_that_fail_each_in_its_way(start_node: StartNode):
    """[S75] A dead share, one that has not got it, one that sends wrong bytes: each is named."""
    a = start_node("a")
    content = os.urandom(2 * MIB)
    blob = put(a, "f", content)
    bad = copy_of(a.share, a.share.parent / "bad")
    flip(bad / ".blobfs/blobs" / blob, 10)
    empty = copy_of(a.share, a.share.parent / "empty")
    (empty / ".blobfs/blobs" / blob).unlink()
    (empty / "f").unlink()
    dead = Nginx(a.share)
    with Nginx(bad) as wrong, Nginx(empty) as absent, dead:
        b = start_node("b", shares=[dead.url, absent.url, wrong.url], options=["fill=never", "max_tries=1"])
        b.expect_log("wrong bytes|no share")
        b.expect_log("is down", perhaps=True)
        b.path("f").stat()
        dead.stop()
        assert errno_of_read(b.path("f")) in (EBADMSG, EHOSTUNREACH)
        found = why(b, "f")
        shares = {share["url"]: share for share in found["shares"]}
        outcomes = {each["share"]: each["kind"] for each in found["last_error"]["attempts"]}
        words = shown(b, "f")
        dead.start()
    assert outcomes[dead.url] == "connect-refused"
    assert outcomes[absent.url] == "absent"
    assert outcomes[wrong.url] == "wrong-bytes"
    assert shares[wrong.url]["struck_for"].startswith(blob)
    assert shares[absent.url]["verdict"]["kind"] == "absent"
    assert shares[dead.url]["circuit"] in ("open", "half-open")
    assert "sent wrong bytes: " in words
    assert found["last_error"]["conclusion"].startswith(found["last_error"]["errno"] + ": ")


def test_many_lookups_over_a_dead_share_are_few_lines(start_node: StartNode):
    """[S76] The share is named once and one name with it; each other name can be asked about."""
    a = start_node("a")
    put(a, "f", b"here")
    nginx = Nginx(a.share)
    b = start_node("b", shares=[nginx.url])
    b.expect_log("is down")
    b.expect_log("answers again; [0-9]+ more names could not be looked up", perhaps=True)
    for number in range(LOOKUPS):
        assert errno_of(b.path(f"n{number}").stat) == ENOENT
    while "is down" not in b.log():  # a failure counts when the pause after the last one is over
        until(lambda: b.status()["shares"][0]["circuit"] != "open", "it may be tried again")
        assert errno_of(b.path("f").stat) == ENOENT
    about = [record for record in log_records(b.log()) if "looked up" in record or "is down" in record]
    assert len(about) <= A_HANDFUL
    assert why(b, "n77")["lookup"]["errno"] == "EHOSTUNREACH"
    with nginx:
        until(lambda: errno_of_read(b.path("f")) == 0, "the share is back")
    about = [record for record in log_records(b.log()) if "looked up" in record or "down" in record]
    assert len(about) <= A_HANDFUL


def test_many_failing_reads_are_few_lines(start_node: StartNode):
    """[S76] A load that fails again and again is told once until something arrives."""
    a = start_node("a")
    put(a, "f", os.urandom(20 * MIB))
    with Nginx(a.share) as nginx:
        b = start_node("b", shares=[nginx.url], options=["fill=never", "max_tries=1", "failure_memory=0.1"])
        b.expect_log("no share that may have it can be reached")
        b.expect_log("is down", perhaps=True)
        with b.path("f").open("rb", buffering=0) as file:
            nginx.stop()
            for number in range(50):
                assert errno_of(partial(os.pread, file.fileno(), 10, number % 20 * MIB)) == EHOSTUNREACH
        warnings = [record for record in log_records(b.log()) if " WARNING " in record]
        assert len(warnings) <= A_HANDFUL


def test_what_is_no_name_and_what_is_no_mount(start_node: StartNode):
    """[S75] Exit code 2 for what cannot be a name here, 1 when there is nobody to ask."""
    b = start_node("b")
    for name in ("../f", "a//b", "/etc/passwd", ".blobfs-x", ".blobfs/blobs/nonsense", b"\xff"):
        done = blobfs("why", b.mountpoint, os.fsdecode(name))
        assert (done.returncode, done.stdout) == (2, "")
        assert "Traceback" not in done.stderr
    assert blobfs("why", b.mountpoint).returncode == 2
    done = blobfs("why", b.mountpoint.parent, "f")
    assert_one_line(done)
    assert done.returncode == 1
    b.kill9()
    done = blobfs("why", b.mountpoint, "f")
    assert_one_line(done)
    assert done.returncode == 1


def test_the_status(start_node: StartNode):
    """Tasks, threads, loading and each share are in it, for programs and in words."""
    a = start_node("a", listen=True)
    put(a, "f", os.urandom(3 * MIB))
    dead = f"http://127.0.0.1:{free_port()}/"
    b = start_node("b", shares=[a.url, dead])
    b.expect_log("is down", perhaps=True)
    assert len(b.path("f").read_bytes()) == 3 * MIB
    (found,) = [json.loads(blobfs("status", "--json", b.mountpoint).stdout)]
    up, down = found["shares"]
    assert min(found["tasks"], found["threads"], found["loading"]["kept"], up["latency_ms"]) > 0
    assert (up["circuit"], up["failures"], up["in_flight"], up["struck_for"]) == ("closed", {}, 0, None)
    assert up["requests"]["blob"] >= 1
    assert up["received"] >= 3 * MIB
    assert down["failures"].keys() == {"connect-refused"}
    assert down["last_failure"]["detail"] == "connection refused"
    assert down["failed_ago"] >= 0
    words = blobfs("status", b.mountpoint).stdout.splitlines()
    about = [index for index, line in enumerate(words) if line.startswith("  share ")]
    assert len(about) == 2
    assert len(words) - about[0] <= 4
    assert "failures: " in words[-1]
    assert found["packages"]["transactions"] == {"open": 0, "completed": 0, "aborted": 0, "expired": 0}
    assert any(line.startswith("  packages  0 transactions open") for line in words)
