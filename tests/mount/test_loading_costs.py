"""What a missing blob costs: counted, so that speed cannot be lost unnoticed."""

import hashlib
import os
import subprocess

from tests.mount.conftest import StartNode
from tests.mount.probes import MIB, put
from tests.servers.nginx import Nginx

BLOB = 64 * MIB
READ_AT_ONCE = 128 * 1024
"""What the kernel asks for at least while a file is read in order; 1 MiB where it may be told so."""


def test_a_missing_blob_that_is_read_in_order(start_node: StartNode):
    """Each byte comes once, in few requests; a MiB costs the daemon less than a hop to a thread."""
    content = os.urandom(BLOB)
    a = start_node("a")
    blob = put(a, "big", content)
    with Nginx(a.share) as nginx:
        b = start_node("b", shares=[nginx.url])
        before = b.status()["thread_hops"]
        found = subprocess.run(["sha256sum", b.path("big")], stdout=subprocess.PIPE, check=True, timeout=40)
        hops = b.status()["thread_hops"] - before
        requests = nginx.requests()
    assert found.stdout.split()[0].decode() == hashlib.sha256(content).hexdigest()
    bodies = [request for request in requests if request.uri.endswith(f"/blobs/{blob}")]
    assert sum(request.body_bytes_sent for request in bodies) == BLOB
    assert len(bodies) <= BLOB // MIB // 2
    assert len(requests) <= len(bodies) + 8
    assert b.operations("read") <= BLOB // READ_AT_ONCE + 8
    assert hops <= BLOB // MIB
