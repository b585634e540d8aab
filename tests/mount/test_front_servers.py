"""nginx and Caddy in front of a share, as docs/nginx.conf and docs/Caddyfile set them up.

Each serves the files itself, and passes on to ``blobfs serve`` on a unix socket. A node loads through all of
them, over TLS and with a token.
"""

import os
import secrets
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from errno import EACCES, EAGAIN, ENOENT
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import MIB, blob_id, errno_of, put, until
from tests.servers.authority import Authority
from tests.servers.fronts import Front, Place, caddy_front, nginx_front
from tests.structure import ROOT

LIMIT_SECONDS = 20
FRONTS = ["nginx files", "nginx passing", "caddy files", "caddy passing"]
TOKEN = secrets.token_hex(32)
BIG = os.urandom(3 * MIB + 12345)
BLOB = blob_id(BIG)
NAMES = {
    "big": BIG,
    "empty": b"",
    "models/ü a.gguf": b"small",
    "models/100%25 #1?x=1&y+z;'\"\\": b"odd",
    "models/deep/er/x": b"deep",
    "models/page.html": b"<p>a page",
}
FOR_EVER = "private, max-age=31536000, immutable"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Site:
    """One address where the share of `node` is served."""

    url: str
    node: BlobfsNode
    authority: Authority
    token_file: Path

    @property
    def share(self) -> str:
        """As a node is told of it."""
        return f"{self.url} ca_file={self.authority.file} token_file={self.token_file}"

    def ask(self, path: str, method: str = "GET", token: str | None = TOKEN, **headers: str) -> Reply:
        """`path` as it is written; a header's underscores are dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            named["Authorization"] = f"Bearer {token}"
        context = ssl.create_default_context(cafile=self.authority.file)
        connection = HTTPSConnection(urlsplit(self.url).netloc, timeout=LIMIT_SECONDS, context=context)
        try:
            connection.request(method, f"/{path}", headers=named)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()


@dataclass(frozen=True)
class Installation:
    """A node, its ``blobfs serve``, and the two servers in front."""

    node: BlobfsNode
    authority: Authority
    token_file: Path
    fronts: dict[str, Front]

    def site(self, name: str) -> Site:
        server, _, way = name.partition(" ")
        url: str = getattr(self.fronts[server], way)
        return Site(url, self.node, self.authority, self.token_file)


@contextmanager
def blobfs_serve(node: BlobfsNode, socket: Path, token_file: Path) -> Iterator[None]:
    command = [
        sys.executable,
        "-P",
        "-m",
        "blobfs",
        "serve",
        f"--store={node.store}",
        f"--listen=unix:{socket}",
    ]
    command.append(f"--token-file={token_file}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as server:
        assert server.stdout is not None
        assert server.stdout.readline().startswith(b"serving ")
        try:
            yield
        finally:
            server.terminate()
            assert server.wait(LIMIT_SECONDS) == 0


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    directory = tmp_path_factory.mktemp("fronts")
    authority = Authority(directory)
    token_file = directory / "token"
    token_file.touch(0o600)
    token_file.write_text(f"{TOKEN}\n")
    with ExitStack() as stack:
        node = stack.enter_context(BlobfsNode(directory))
        for name, content in NAMES.items():
            node.path(name).parent.mkdir(parents=True, exist_ok=True)
            put(node, name, content)
        place = Place(node.share, directory / "http", TOKEN, authority.certify())
        stack.enter_context(blobfs_serve(node, place.socket, token_file))
        fronts = {}
        for name, front in {"nginx": nginx_front, "caddy": caddy_front}.items():
            (directory / name).mkdir()
            fronts[name] = stack.enter_context(front(directory / name, place))
        yield Installation(node, authority, token_file, fronts)


@pytest.fixture(params=FRONTS)
def site(installation: Installation, request: pytest.FixtureRequest) -> Site:
    installation.node.prolong()
    return installation.site(request.param)


def test_files(site: Site):
    """A file comes whole, in part, and not at all to who has it; so do its record and its directory's log."""
    whole = site.ask("big")
    assert (whole.status, whole.body, whole.headers["accept-ranges"]) == (200, BIG, "bytes")
    assert whole.headers["cache-control"] == "no-cache"
    head = site.ask("big", "HEAD")
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(BIG)), b"")
    part = site.ask("big", Range="bytes=100000-200000")
    assert (part.status, part.body) == (206, BIG[100000:200001])
    assert part.headers["content-range"] == f"bytes 100000-200000/{len(BIG)}"
    assert site.ask("big", Range="bytes=-5").body == BIG[-5:]
    assert site.ask("big", Range=f"bytes={len(BIG)}-").status == 416
    known = site.ask("big", If_None_Match=whole.headers["etag"])
    assert (known.status, known.body) == (304, b"")
    assert site.ask("big", Range="bytes=0-4", If_Range=whole.headers["etag"]).body == BIG[:5]
    assert site.ask("big", Range="bytes=0-4", If_Range='"other"').body == BIG
    assert site.ask("big", Accept_Encoding="gzip").body == BIG
    assert site.ask("models/page.html", Accept_Encoding="gzip").body == b"<p>a page"
    assert site.ask(".blobfs/names/big").body.startswith(b'{"v":1')
    log = site.ask(".blobfs/names/models/.blobfs-log", Range="bytes=0-6")
    assert (log.status, log.body) == (206, b'{"log":')


def test_what_may_be_kept(site: Site):
    """What has its id as its name may be kept for ever by who asked; that it is not there may not."""
    for kind in ("blobs", "trees"):
        reply = site.ask(f".blobfs/{kind}/{BLOB}", Range="bytes=0-9")
        assert (reply.status, reply.headers["cache-control"]) == (206, FOR_EVER)
    absent = site.ask(f".blobfs/blobs/{'0' * 64}")
    assert (absent.status, absent.headers.get("cache-control")) == (404, None)
    assert site.ask(".blobfs/names/big").headers["cache-control"] == "no-cache"


def test_nothing_is_listed(site: Site):
    """A directory is no page, what is above the share cannot be reached, and nothing can be changed."""
    for path in ("models", ".blobfs/names/models"):
        reply = site.ask(path)
        assert reply.status == 301
        assert urlsplit(reply.headers["location"]).path == f"/{path}/"
        assert site.ask(f"{path}/").status in (403, 404)
    for path in ("", ".blobfs/", ".blobfs/blobs/"):
        assert site.ask(path).status in (403, 404)
    for path in (
        "../format",
        "..%2fformat",
        "%2e%2e/format",
        "models/../../format",
        "big/",
        "absent",
        "absent/x",
    ):
        assert site.ask(path).status in (400, 404)
    for method in ("POST", "PUT", "DELETE"):
        assert site.ask("big", method).status == 405
    assert site.node.path("big").exists()


WRONG_TOKENS = {"none": None, "empty": "", "wrong": "wrong", "shorter": TOKEN[:-1], "longer": f"{TOKEN}0"}


@pytest.mark.parametrize("token", WRONG_TOKENS.values(), ids=WRONG_TOKENS)
def test_strangers(site: Site, token: str | None):
    """Who does not bring the token is told so, and not even what there is."""
    for path in ("big", "absent", "models", f".blobfs/blobs/{BLOB}", ".blobfs/names/.blobfs-log"):
        reply = site.ask(path, token=token)
        assert reply.status == 401
        assert reply.headers["www-authenticate"].startswith("Bearer")
        assert len(reply.body) < 1000


def test_a_node_loads(site: Site, start_node: StartNode):
    """Listings, reads of all and of a part, blobs by id, what is not there, and what comes to it later."""
    b = start_node("b", shares=[site.share], arguments=["--read-only"])
    assert tree_of(b) == tree_of(site.node) >= set(NAMES)
    with b.path("big").open("rb") as file:
        file.seek(2 * MIB)
        assert file.read(1000) == BIG[2 * MIB : 2 * MIB + 1000]
    for name, content in NAMES.items():
        assert b.path(name).read_bytes() == content
    assert b.blob(BLOB).read_bytes() == BIG
    for name in ("absent", "models/absent", "absent/absent"):
        assert errno_of(b.path(name).stat) == ENOENT
    later = f"later/{b.mountpoint.parent.name}"
    site.node.path("later").mkdir(exist_ok=True)
    put(site.node, later, b"later")
    assert b.path(later).read_bytes() == b"later"
    assert until(lambda: tree_of(b) == tree_of(site.node), "the listing has it, too")


def tree_of(node: BlobfsNode) -> set[str]:
    """The names of all its files."""
    found = (Path(directory, name) for directory, _, names in os.walk(node.mountpoint) for name in names)
    return {str(path.relative_to(node.mountpoint)) for path in found}


def test_a_disk_that_is_not_there(installation: Installation, start_node: StartNode):
    """P4: a share whose directory is gone says that it cannot say, not that there is nothing."""
    installation.node.prolong()
    away = installation.node.share.with_name("away")
    installation.node.share.rename(away)
    try:
        for name in FRONTS:
            assert installation.site(name).ask("big").status == 503
        b = start_node("b", shares=[installation.site("nginx files").share], arguments=["--read-only"])
        assert errno_of(b.path("big").stat) == EAGAIN
    finally:
        away.rename(installation.node.share)


def test_a_node_with_a_wrong_token(installation: Installation, start_node: StartNode, tmp_path: Path):
    """All of them refuse it: EACCES."""
    installation.node.prolong()
    wrong = tmp_path / "wrong"
    wrong.touch(0o600)
    wrong.write_text("wrong")
    sites = [replace(installation.site(name), token_file=wrong) for name in FRONTS]
    b = start_node("b", shares=[site.share for site in sites], arguments=["--read-only"])
    b.expect_log("WARNING", perhaps=True)
    assert errno_of(b.path("big").stat) == EACCES
