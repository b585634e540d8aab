"""The lists of ``blobfs status``: what is on its way, what readers were told, what shares did of late."""

import os
import subprocess
from errno import EHOSTUNREACH
from typing import Any

from tests.mount.conftest import StartNode
from tests.mount.probes import MIB, errno_of_read, put, until
from tests.servers.nginx import Nginx, free_port


def moving_of(status: dict[str, Any], blob: str) -> dict[str, Any]:
    """The transfer of a blob, once some of it is here and it has a rate; else nothing."""
    return next((each for each in status["transfers"] if each["key"] == blob and each["rate"]), {})


def test_the_lists(start_node: StartNode):
    """[S120] Transfers with their figures while a reader is at it; failures with their reasons."""
    a = start_node("a")
    size = 8 * MIB
    blob, lost = put(a, "d/slow", os.urandom(size)), put(a, "lost", os.urandom(MIB))
    (a.share / ".blobfs/blobs" / lost).unlink()
    with Nginx(a.share, "limit_rate 200k;") as nginx:
        dead = f"http://127.0.0.1:{free_port()}/"
        b = start_node("b", shares=[nginx.url, dead])
        b.expect_log("is down|can be reached|looked up", perhaps=True)
        assert errno_of_read(b.path("lost")) == EHOSTUNREACH
        reader = subprocess.Popen(["cat", b.path("d/slow")], stdout=subprocess.DEVNULL)
        try:
            moving = until(lambda: moving_of(b.status(), blob), "it comes")
        finally:
            reader.kill()
            reader.wait()
        for _ in range(3):
            assert not b.path("nowhere").exists()
        found = b.status()
    assert (moving["kind"], moving["key"], moving["names"], moving["size"]) == (
        "blob",
        blob,
        ["d/slow"],
        size,
    )
    assert moving["readers"] == 1
    assert 0 < moving["present"] < size
    assert moving["shares"] == {nginx.url: moving["present"]}
    assert moving["eta"] > 0
    lookup, read = found["failures"]
    assert (read["operation"], read["what"], read["errno"]) == ("read", "lost", "EHOSTUNREACH")
    assert read["request"] is not None
    assert {attempt["share"] for attempt in read["attempts"]} == {nginx.url, dead}
    assert (lookup["operation"], lookup["what"], lookup["errno"]) == ("lookup", "nowhere", "ENOENT")
    up, down = found["shares"]
    assert sum(bucket["bytes"] for bucket in up["history"]) >= moving["present"]
    assert sum(bucket["failures"] for bucket in down["history"]) > 0
    assert found["state"] == "ready"
    assert found["started"] <= found["time"]
