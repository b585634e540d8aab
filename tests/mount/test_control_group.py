"""Who may ask a node: its user, the members of a group if one is set, everybody on an address for it."""

import grp
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from blobfs.control.client import fetch_status
from tests.mount.node import BlobfsNode
from tests.servers.nginx import free_port
from tests.structure import ROOT

GROUP = "games"
NOBODY = 65534


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody can go through, which pytest's are not."""
    path = Path(tempfile.mkdtemp(prefix="blobfs-group-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


def ask(node: BlobfsNode, group: int) -> subprocess.CompletedProcess[str]:
    """As a user who is nobody but a member of the group."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "blobfs", "status", "--json", node.mountpoint],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        user=NOBODY, group=group, extra_groups=[],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip


def test_members_of_the_group_may_ask(place: Path) -> None:
    """[S126] They, and nobody else: to the others it is one line."""
    number = grp.getgrnam(GROUP).gr_gid
    with BlobfsNode(place, arguments=[f"--control-group={GROUP}"]) as node:
        member = ask(node, number)
        assert json.loads(member.stdout)["pid"] == fetch_status(node.store)["pid"]
        stranger = ask(node, NOBODY)
        assert (stranger.returncode, stranger.stdout) == (1, "")
        assert stranger.stderr == (
            f"Error: the daemon of {node.store} does not answer: "
            "its control socket is for its user, and for the group in control.group\n"
        )


def test_a_group_that_there_is_none_of(tmp_path: Path) -> None:
    """The node does not start, and says why."""
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "blobfs", "mount", f"--store={tmp_path / 'store'}",
         "--control-group=no-such-group", mountpoint],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert "no group" in done.stderr
    assert "'no-such-group'" in done.stderr


def test_an_address_where_one_can_look(tmp_path: Path) -> None:
    """[S126] The status, the page and the metrics are there for whoever connects; nothing can be changed."""
    port = free_port()
    with BlobfsNode(tmp_path, arguments=[f"--control-listen=127.0.0.1:{port}"]) as node:

        def asked(method: str, path: str, **headers: str) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request(method, path, headers=headers)
                return connection.getresponse().status
            finally:
                connection.close()

        node.path("f").write_text("mine")
        assert [asked("GET", path) for path in ("/", "/status", "/metrics", "/why?name=f")] == [200] * 4
        for path in ("/evict", "/pin", "/load", "/reload"):
            assert asked("POST", path) == 403
        assert asked("GET", "/status", Host="somewhere.example") == 403
