"""A node that serves its own share over TLS, to those who bring a token."""

import os
import signal
from errno import EACCES
from pathlib import Path

import pytest

from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import MIB, errno_of, put, until
from tests.servers.authority import Authority

CONTENT = os.urandom(2 * MIB)


def secret(path: Path, text: str) -> Path:
    path.touch(0o600)
    path.write_text(text)
    return path


def share_of(node: BlobfsNode, authority: Authority, token: Path) -> str:
    url = node.url.replace("http:", "https:")
    return f"{url} ca_file={authority.file} token_file={token}"


def test_secure_share(start_node: StartNode, tmp_path: Path):
    """Another node with the token and the authority loads from it. After SIGHUP a new certificate and a new
    token hold; who has the old one is refused, and so says the log of the node."""
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    identity = old.certify(file_name="server")
    token = secret(tmp_path / "token", "first")
    files = {"certificate": identity.certificate, "key": identity.key, "token-file": token}
    a = start_node("a", listen=True, arguments=[f"--serve-{name}={path}" for name, path in files.items()])
    put(a, "x", CONTENT)
    put(a, "y", CONTENT[:MIB])

    first = secret(tmp_path / "first", "first")
    b = start_node("b", shares=[share_of(a, old, first)], arguments=["--read-only"])
    assert b.path("x").read_bytes() == CONTENT

    new.certify(file_name="server")
    token.write_text("second")
    assert a.process is not None
    a.process.send_signal(signal.SIGHUP)
    second = secret(tmp_path / "second", "second")
    c = start_node("c", shares=[share_of(a, new, second)], arguments=["--read-only"])
    c.expect_log("WARNING", perhaps=True)  # until the child has read them
    assert until(lambda: errno_of(c.path("x").stat) == 0, "the new ones hold")
    assert c.path("x").read_bytes() == CONTENT

    d = start_node("d", shares=[share_of(a, new, first)], arguments=["--read-only"])
    a.expect_log(r"WARNING blobfs\.shares\.bearer: turned away 127\.0\.0\.1: a wrong token")
    d.expect_log("WARNING", perhaps=True)
    assert errno_of(d.path("y").stat) == EACCES


def test_a_certificate_that_is_not_there(tmp_path: Path):
    """The node does not start, in one line."""
    node = BlobfsNode(tmp_path, listen=True, arguments=[f"--serve-certificate={tmp_path}/gone"])
    with pytest.raises(AssertionError, match="gone: No such file or directory"):
        node.start()
