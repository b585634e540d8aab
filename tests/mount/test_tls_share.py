"""A share over TLS that wants a token or a certificate: who has it reads, everybody else is told why not."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from errno import EACCES, EHOSTUNREACH, ENOENT
from pathlib import Path

import pytest

from blobfs.cli.explained import describe
from blobfs.control.client import fetch_explanation, reload
from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode, log_records
from tests.mount.probes import attribute, errno_of, errno_of_read, last_error, put, until
from tests.servers.authority import Authority, Identity
from tests.servers.nginx import Nginx, free_port

CONTENT = b"a token and a certificate\n" * 40_000
TOKEN = "right.token"
PAST = datetime(2026, 1, 1, tzinfo=UTC)
OPTIONS = ["fill=never", "lookup_timeout=10", "read_timeout=10", "failure_memory=0.1"]
A_HANDFUL = 12
"""Requests, or connections, for one name that is asked for a few times."""


@dataclass(frozen=True)
class Realm:
    """What the tests of this module share: what is exported, who vouches for it, and the files of secrets."""

    directory: Path
    share: Path
    authority: Authority

    @property
    def configuration(self) -> Path:
        return self.directory / "reader.toml"

    def secret(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.touch(0o600)
        path.write_text(text + "\n")
        return path


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Realm:
    directory = tmp_path_factory.mktemp("realm")
    with BlobfsNode(directory, "publisher") as publisher:
        put(publisher, "f", CONTENT)
        put(publisher, "g", CONTENT[::-1])
    return Realm(directory, publisher.share, Authority(directory))


class TlsNginx(Nginx):
    """nginx with this certificate on another port; every request there needs the token."""

    def __init__(self, realm: Realm, identity: Identity, *, more: str = "") -> None:
        self._tls_port = free_port()
        self.token = TOKEN
        self._more = more
        super().__init__(realm.share)
        self.set_up(identity)

    def set_up(self, identity: Identity) -> None:
        """For the next start."""
        self._extra = (
            f"listen 127.0.0.1:{self._tls_port} ssl; ssl_certificate {identity.certificate};"
            f' ssl_certificate_key {identity.key}; if ($http_authorization != "Bearer {self.token}")'
            f" {{ return 401; }} {self._more}"
        )

    @property
    def tls_url(self) -> str:
        return f"https://127.0.0.1:{self._tls_port}/"


def share_of(nginx: TlsNginx, realm: Realm, **settings: object) -> str:
    """As ``--share`` takes it."""
    usual: dict[str, object] = {
        "ca_file": realm.authority.file,
        "token_file": realm.secret("token", TOKEN),
    }
    given = {key: value for key, value in (usual | settings).items() if value is not None}
    return " ".join([nginx.tls_url, *(f"{key}={value}" for key, value in given.items())])


def why(node: BlobfsNode, name: str) -> str:
    """What the command says, in words, without a process of its own."""
    return "\n".join(describe(fetch_explanation(node.store, name)))


def warnings_about(node: BlobfsNode, words: str) -> list[str]:
    return [record for record in log_records(node.log()) if " WARNING " in record and words in record]


def test_who_has_the_token_reads(start_node: StartNode, realm: Realm):
    """[S121] Everything works as over a share that is for all, in as few connections; status and log are
    clean, and show no secret."""
    with TlsNginx(realm, realm.authority.certify()) as nginx:
        b = start_node("b", shares=[share_of(nginx, realm)], options=OPTIONS)
        assert b.path("f").read_bytes() == CONTENT
        assert b.path("g").read_bytes() == CONTENT[::-1]
        (share,) = b.status()["shares"]
        requests = nginx.requests()
    assert share["url"] == nginx.tls_url
    assert share["failures"] == {}
    assert {request.status for request in requests} <= {200, 206, 404}
    assert share["connections_opened"] == len({request.connection for request in requests}) <= 4
    shown = b.log() + str(b.status()) + why(b, "f")
    assert TOKEN not in shown


CASES = {
    "no token": (EACCES, "HTTP 401: it wants a token or a password"),
    "wrong token": (EACCES, "HTTP 401: its token is not accepted"),
    "expired": (EHOSTUNREACH, "TLS: certificate expired on 2026-01-01"),
    "other host": (EHOSTUNREACH, "TLS: certificate is for a.example, not 127.0.0.1"),
    "unknown authority": (EHOSTUNREACH, "TLS: certificate is issued by authority, Testing CA #"),
    "no client certificate": (EHOSTUNREACH, "TLS: it demands a client certificate (HTTP 400)"),
    "other client certificate": (EHOSTUNREACH, "TLS: it does not accept the client certificate (HTTP 400)"),
    "no TLS": (EHOSTUNREACH, "TLS: the server does not speak it"),
}
"""The errno of a reader, and what `why` and the log say."""

IN_LOG = {EACCES: "does not let this node in", EHOSTUNREACH: "cannot be asked"}


@pytest.fixture(scope="module")
def reader(realm: Realm) -> Iterator[BlobfsNode]:
    """A read-only node whose shares are the ones of `set_share`; one for all cases."""
    realm.configuration.write_text("")
    arguments = [f"--config={realm.configuration}", "--read-only"]
    with BlobfsNode(realm.directory, "reader", options=OPTIONS, arguments=arguments) as node:
        node.expect_log("WARNING", perhaps=True)
        yield node


def set_share(node: BlobfsNode, realm: Realm, share: str) -> None:
    """Written as ``--share`` takes it; without a new mount."""
    url, *settings = share.split(" ")
    pairs = (setting.partition("=") for setting in [f"url={url}", *settings])
    lines = [f'{key} = "{value}"' for key, _, value in pairs]
    realm.configuration.write_text("\n".join(["[[share]]", *lines, ""]))
    reload(node.store)


def case(name: str, realm: Realm) -> tuple[TlsNginx, str]:
    """The server, not started yet, and the share that is set for it."""
    authority = realm.authority
    identity, more = authority.certify(file_name="server"), ""
    settings: dict[str, object] = {}
    demand = f"ssl_client_certificate {authority.file}; ssl_verify_client on;"
    stranger = Authority(realm.directory, "stranger")
    match name:
        case "no token":
            settings = {"token_file": None}
        case "wrong token":
            settings = {"token_file": realm.secret("wrong", "wrong.token")}
        case "expired":
            identity = authority.certify(file_name="expired", not_after=PAST)
        case "other host":
            identity = authority.certify("a.example", "elsewhere")
        case "unknown authority":
            settings = {"ca_file": stranger.file}
        case "no client certificate":
            more = demand
        case "other client certificate":
            mine = stranger.certify("me.example", "me")
            more, settings = demand, {"client_certificate": mine.certificate, "client_key": mine.key}
    nginx = TlsNginx(realm, identity, more=more)
    share = share_of(nginx, realm, **settings)
    if name == "no TLS":
        share = share.replace(nginx.tls_url, f"https://127.0.0.1:{nginx.port}/")
    return nginx, share


@pytest.mark.parametrize("name", CASES)
def test_who_may_not_read_is_told_why(reader: BlobfsNode, realm: Realm, name: str):
    """[S121] An errno, the share and the reason in `blobfs why`, and in the log at once, and once. The share
    is not bothered. P4: nothing seems to be absent."""
    reader.prolong()
    expected, reason = CASES[name]
    nginx, share = case(name, realm)
    url, path = share.split(" ")[0], reader.path(f"{name}.bin")
    with nginx:
        set_share(reader, realm, share)
        found = {errno_of_read(path) for _ in range(5)}
        told = why(reader, path.name)
        connections = reader.status()["shares"][0]["connections_opened"]
        assert len(nginx.requests()) <= A_HANDFUL
    assert found == {expected}
    assert f"{url} record: {reason}" in told
    assert len(warnings_about(reader, f"{url} {IN_LOG[expected]}: {reason}")) == 1
    assert connections <= A_HANDFUL
    assert "Traceback" not in reader.log()


def test_on_a_writable_mount_nothing_is_in_the_way(start_node: StartNode, realm: Realm):
    """[S121] A name that cannot be looked up can be written (ENOENT, as the mount is writable); `why` says
    what it was."""
    nginx, share = case("wrong token", realm)
    with nginx:
        b = start_node("b", shares=[share], options=OPTIONS)
        b.expect_log("does not let this node in")
        b.expect_log("WARNING", perhaps=True)
        assert errno_of(b.path("new").stat) == ENOENT
        b.path("new").write_bytes(b"mine")
        assert b.path("new").read_bytes() == b"mine"
        assert errno_of(b.path("f").stat) == ENOENT
        assert "its token is not accepted" in why(b, "f")


def test_another_share_has_it(start_node: StartNode, realm: Realm):
    """[S121] P5: shares that shut their doors cost the readers nothing while one is open."""
    expired, bad = case("expired", realm)
    wrong, worse = case("wrong token", realm)
    with expired, wrong, Nginx(realm.share) as good:
        b = start_node("b", shares=[bad, worse, good.url], options=OPTIONS)
        b.expect_log("cannot be asked")
        b.expect_log("does not let this node in")
        b.expect_log("is down", perhaps=True)
        assert b.path("f").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("change", "expected", "reason"),
    [
        ("token", EACCES, "HTTP 401: its token is not accepted"),
        ("certificate", EHOSTUNREACH, "TLS: certificate expired on 2026-01-01"),
    ],
)
def test_a_door_that_was_open(start_node: StartNode, realm: Realm, change: str, expected: int, reason: str):
    """[S121] A token that is no longer good, a certificate that has run out: the reader's errno, and every
    attempt in `user.blobfs.last_error`. With the right one, and a reload, reading goes on."""
    nginx = TlsNginx(realm, realm.authority.certify(file_name="server"))
    token = realm.secret("own-token", TOKEN)
    with nginx:
        b = start_node("b", shares=[share_of(nginx, realm, token_file=token)], options=OPTIONS)
        b.expect_log("cannot be asked|does not let this node in")
        b.expect_log("WARNING", perhaps=True)
        assert b.path("f").stat().st_size == len(CONTENT)
        nginx.stop()
        identity = realm.authority.certify(file_name="server")
        if change == "token":
            nginx.token = "new.token"
        else:
            identity = realm.authority.certify(file_name="expired", not_after=PAST)
        nginx.set_up(identity)
        nginx.start()
        assert {errno_of_read(b.path("f")) for _ in range(5)} == {expected}
        attempts = last_error(b.path("f"))
        assert {(each["share"], each["detail"]) for each in attempts} == {(nginx.tls_url, reason)}
        assert reason in why(b, "f")
        assert attribute(b.path("f"), "state") == "missing"
        if change == "token":
            realm.secret("own-token", nginx.token)
        else:
            nginx.stop()
            nginx.set_up(realm.authority.certify(file_name="server"))
            nginx.start()
        reload(b.store)
        assert b.status()["shares"][0]["circuit"] == "closed"
        until(lambda: errno_of_read(b.path("f")) == 0, "it is asked again")
        assert b.path("f").read_bytes() == CONTENT


def test_who_shows_a_certificate_reads(start_node: StartNode, realm: Realm):
    """[S121] The client certificate, beside the token."""
    mine = realm.authority.certify("me.example", "me")
    demand = f"ssl_client_certificate {realm.authority.file}; ssl_verify_client on;"
    with TlsNginx(realm, realm.authority.certify(), more=demand) as nginx:
        share = share_of(nginx, realm, client_certificate=mine.certificate, client_key=mine.key)
        b = start_node("b", shares=[share], options=OPTIONS, arguments=["--read-only"])
        assert b.path("f").read_bytes() == CONTENT


def test_a_proxy_is_in_the_way(start_node: StartNode, realm: Realm, monkeypatch: pytest.MonkeyPatch):
    """[S121] The environment's proxy holds for the daemon; its failure is told as its own. `no_proxy`, or the
    share's own setting, goes around it."""
    proxy = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("http_proxy", f"http://me:{TOKEN}@{proxy}")
    monkeypatch.setenv("no_proxy", "")
    with Nginx(realm.share) as nginx:
        b = start_node("b", shares=[nginx.url], options=OPTIONS, arguments=["--read-only"])
        b.expect_log("WARNING", perhaps=True)
        assert errno_of_read(b.path("f")) == EHOSTUNREACH
        assert f"{nginx.url} record: proxy {proxy}: connection refused (proxy, " in why(b, "f")
        assert TOKEN not in b.log()
        assert nginx.requests() == []
        c = start_node("c", shares=[f"{nginx.url} proxy=no"], options=OPTIONS)
        assert c.path("f").read_bytes() == CONTENT
