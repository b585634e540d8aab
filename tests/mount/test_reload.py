"""Settings that are read again while the node runs: ``blobfs reload`` and SIGHUP."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from errno import EACCES, ENOENT
from pathlib import Path

import pytest

from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import blobfs, errno_of, put, scripted, until
from tests.servers.nginx import free_port
from tests.servers.scripted import silent
from tests.structure import ROOT

Write = Callable[..., None]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "node.toml"


@pytest.fixture
def write(config: Path) -> Write:
    """Writes the configuration file: shares, and lines before them."""

    def put_there(*shares: str, load: str = "", more: str = "") -> None:
        listed = "".join(f'[[share]]\nurl = "{url}"\n' for url in shares)
        config.write_text(f"{more}\n[load]\n{load}\n{listed}")

    put_there()
    return put_there


@pytest.fixture
def node(config: Path, write: Write, start_node: StartNode) -> BlobfsNode:
    """It has its settings from the file."""
    return start_node("b", options=(), arguments=[f"--config={config}"])


def reload(node: BlobfsNode) -> dict[str, list[str]]:
    done = blobfs("reload", "--json", node.mountpoint)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_a_share_that_is_added_is_asked(node: BlobfsNode, write: Write, start_node: StartNode) -> None:
    """What nobody had is there as soon as a share that has it is known; without it it is gone again."""
    a = start_node("a", listen=True)
    put(a, "f", b"hello")
    assert errno_of(node.path("f").stat) == ENOENT
    write(a.url)
    assert reload(node) == {"changed": [f"share {a.url}: added"], "needs_restart": []}
    assert node.path("f").read_bytes() == b"hello"
    write()
    assert reload(node)["changed"] == [f"share {a.url}: removed"]
    assert node.path("f").read_bytes() == b"hello"  # it is here
    assert node.status()["shares"] == []


def test_the_first_share_may_know_better(node: BlobfsNode, write: Write, start_node: StartNode) -> None:
    """What this node published while it knew no share, another one may have published anew: the kernel, which
    was told that nobody else could, asks again."""
    put(node, "f", b"ours")
    assert node.path("f").read_bytes() == b"ours"
    a = start_node("a", listen=True)
    put(a, "f", b"a newer one")
    write(a.url)
    reload(node)
    until(lambda: node.path("f").read_bytes() == b"a newer one", "it is heard of")


def test_a_reader_that_waits_gets_its_bytes_from_a_new_share(
    node: BlobfsNode, write: Write, start_node: StartNode, tmp_path: Path
) -> None:
    """[S123] A dead share is replaced while somebody waits for it: he notices nothing."""
    a = start_node("a", listen=True)
    put(a, "f", content := os.urandom(300_000))
    a_url, dead = a.url, f"http://127.0.0.1:{free_port()}/"
    write(a_url)
    reload(node)
    assert node.path("f").stat().st_size == len(content)
    write(dead, load="max_tries = 50\nretry_timeout = 0.2")
    reload(node)
    reader = subprocess.Popen(["cat", node.path("f")], stdout=subprocess.PIPE)
    until(lambda: node.status()["shares"][0]["failures"], "the dead share was asked")
    assert reader.poll() is None
    write(dead, a_url)
    reload(node)
    assert reader.communicate(timeout=20)[0] == content
    assert reader.returncode == 0
    node.expect_log(f"{dead} is down", perhaps=True)


def test_limits_change(node: BlobfsNode, write: Write) -> None:
    """They hold at once: a share that never answers costs a lookup what is set now."""
    with scripted() as server:
        server.route("/.blobfs/names/f", silent())
        write(server.url, load="lookup_timeout = 600\nfirst_byte_timeout = 600")
        reload(node)
        write(server.url, load="lookup_timeout = 0.2")
        assert reload(node)["changed"] == ["load.lookup_timeout", "load.first_byte_timeout"]
        assert errno_of(node.path("f").stat) == ENOENT  # or the test's time is over
        assert node.status()["shares"][0]["last_failure"] is not None
    node.expect_log("is down", perhaps=True)


def test_what_is_refused_changes_nothing(node: BlobfsNode, write: Write, config: Path) -> None:
    """[S123] The mistake is told with its line, by the command and in the log; the old settings stay."""
    write("http://127.0.0.1:9/", load="max_tries = 0")
    done = blobfs("reload", node.mountpoint)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{config}:3: load.max_tries: " in done.stderr
    assert node.status()["shares"] == []
    node.expect_log(f"the settings stay as they are: {config}:3")


def test_what_needs_a_restart_is_told(node: BlobfsNode, write: Write, tmp_path: Path) -> None:
    """The rest changes all the same."""
    write(more=f'log_level = "warning"\nread_only = true\nmountpoint = "{node.mountpoint}"')
    done = blobfs("reload", node.mountpoint)
    assert done.returncode == 0
    assert done.stdout == "changed: log_level\n"
    assert done.stderr == "needs a restart: read_only\n"
    node.path("f").write_text("still writable")
    node.expect_log("these settings hold after a restart only: read_only")
    assert "settings were read again" not in node.log()  # which is less than a warning


def test_a_quota_that_is_set_is_kept(node: BlobfsNode, write: Write, start_node: StartNode) -> None:
    """A store that never was measured is, and what is too much goes."""
    a = start_node("a", listen=True)
    put(a, "f", os.urandom(4 << 20))
    write(a.url)
    reload(node)
    assert len(node.path("f").read_bytes()) == 4 << 20
    until(lambda: node.status()["loading"]["loads"] == 0, "it is kept")
    write(a.url, more='[space]\nquota = "3M"')
    assert reload(node)["changed"] == ["space.quota"]
    until(lambda: node.status()["space"]["evicted"], "it was evicted")


def test_sighup_does_the_same(node: BlobfsNode, write: Write) -> None:
    """For systemd's ExecReload. Settings that are refused keep the node going."""
    assert node.process is not None
    write("http://127.0.0.1:9/")
    node.process.send_signal(signal.SIGHUP)
    until(lambda: len(node.status()["shares"]) == 1, "the share is known")
    write("nonsense")
    node.process.send_signal(signal.SIGHUP)
    until(lambda: "the settings stay as they are" in node.log(), "it was refused")
    node.path("f").write_text("it lives")
    node.expect_log("the settings stay as they are")


def test_reload_of_what_is_not_mounted(tmp_path: Path) -> None:
    """One line, exit code 1."""
    done = blobfs("reload", tmp_path)
    assert (done.returncode, done.stderr) == (1, f"Error: no blobfs is mounted on {tmp_path}\n")


def test_a_token_that_is_changed_on_both_sides(
    node: BlobfsNode, config: Path, start_node: StartNode, tmp_path: Path
) -> None:
    """The files that hold it are read again. What was refused meanwhile is there at once."""
    ours, theirs = tmp_path / "our-token", tmp_path / "their-token"
    for token in (ours, theirs):
        token.touch(mode=0o600)
        token.write_text("the-first")
    a = start_node("a", listen=True, options=(), arguments=[f"--serve-token-file={theirs}"])
    put(a, "f", b"one")
    put(a, "g", b"two")
    config.write_text(f'[load]\nfailure_memory = 600\n[[share]]\nurl = "{a.url}"\ntoken_file = "{ours}"\n')
    reload(node)
    assert node.path("f").read_bytes() == b"one"
    theirs.write_text("the-second")
    reload(a)
    assert errno_of(node.path("g").read_bytes) in (ENOENT, EACCES)
    ours.write_text("the-second")
    assert reload(node)["changed"] == [f"share {a.url}: its files were read again"]
    assert node.path("g").read_bytes() == b"two"
    ours.unlink()
    done = blobfs("reload", node.mountpoint)
    assert done.returncode == 1
    assert f"{ours}: No such file or directory" in done.stderr
    assert node.path("g").read_bytes() == b"two"
    a.expect_log("a wrong token")
    node.expect_log("does not let this node in")
    node.expect_log("the settings stay as they are")


def test_a_terminal_that_is_closed_ends_the_node(tmp_path: Path) -> None:
    """Its SIGHUP is no reload: the node ends as on SIGTERM, and leaves no mount behind."""
    mountpoint, log = tmp_path / "mnt", tmp_path / "log"
    mountpoint.mkdir()
    mine, theirs = os.openpty()
    with log.open("wb") as stderr:
        mounting = ["-P", "-m", "blobfs", "mount", f"--store={tmp_path / 'store'}", str(mountpoint)]
        node = subprocess.Popen(
            ["setsid", "--ctty", sys.executable, *mounting],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=theirs, stdout=stderr, stderr=stderr,
        )  # fmt: skip
    os.close(theirs)
    try:
        until(lambda: ", ready" in log.read_text(), "it is mounted")
        os.close(mine)
        assert node.wait(20) == 0
        assert "ending on SIGTERM" in log.read_text()
        assert str(mountpoint) not in Path("/proc/self/mountinfo").read_text()
    finally:
        node.kill()
        subprocess.run(["fusermount3", "-uz", mountpoint], check=False, capture_output=True, timeout=20)
