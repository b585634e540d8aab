"""Whom a server answers: what its files say, a token, a line in the log for those it turns away."""

import logging
import os
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from blobfs.config.settings import ServeSettings
from blobfs.errors import ConfigRefused, StartRefused
from blobfs.shares.admission import Admission, read_terms
from blobfs.shares.bearer import is_bearer
from blobfs.shares.inherited import take_listener
from blobfs.shares.listening import SHARED_MODE, bind_listener, bind_share_listener, shown_address
from blobfs.shares.refusals import QUIET_SECONDS, Refusals
from blobfs.shares.server import serve_share
from blobfs.shares.server_process import FILES
from tests.servers.authority import Authority
from tests.shares.asking import ask

ID = "0123456789abcdef" * 4
TOKEN = "0123456789abcdef"


def secret(path: Path, text: str) -> Path:
    path.touch(0o600)
    path.write_text(text)
    return path


@pytest.fixture
def settings(tmp_path: Path) -> ServeSettings:
    """Everything that can be set."""
    authority = Authority(tmp_path)
    identity = authority.certify(file_name="server")
    token = secret(tmp_path / "token", f"{TOKEN}\n")
    return ServeSettings(
        certificate=identity.certificate, key=identity.key, client_ca=authority.file, token_file=token
    )


def changed(settings: ServeSettings, name: str, file: Path) -> ServeSettings:
    return ServeSettings(**{**asdict(settings), name: file})


def refusal(settings: ServeSettings) -> str:
    with pytest.raises(ConfigRefused) as refused:
        read_terms(settings)
    text = str(refused.value)
    assert "\n" not in text
    return text


def test_nothing_set() -> None:
    """Without files everybody is answered, over plain HTTP."""
    terms = read_terms(ServeSettings())
    assert (terms.tls, terms.token) == (None, None)


def test_secrets_are_not_shown(settings: ServeSettings) -> None:
    """No repr holds the token, so no traceback and no log does."""
    admission = Admission(settings)
    assert admission.terms.token == TOKEN.encode()
    assert TOKEN not in f"{admission!r} {admission.terms!r} {vars(admission)!r}"


def test_key_with_the_certificate(settings: ServeSettings, tmp_path: Path) -> None:
    """One file may hold both."""
    assert settings.certificate is not None
    assert settings.key is not None
    both = secret(tmp_path / "both", settings.certificate.read_text() + settings.key.read_text())
    assert read_terms(ServeSettings(certificate=both)).tls is not None


def test_credentials(settings: ServeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``credential:NAME`` is what systemd passed."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    named = ServeSettings(
        certificate=Path("credential:server.pem"),
        key=Path("credential:server.key"),
        client_ca=Path("credential:authority.pem"),
        token_file=Path("credential:token"),
    )
    terms = read_terms(named)
    assert (terms.tls is not None, terms.token) == (True, TOKEN.encode())


def test_mistakes(settings: ServeSettings, tmp_path: Path) -> None:
    """Each wrong file is told by name, with what is wrong, in one line; nothing waits for a terminal."""
    other = Authority(tmp_path, "other").certify().key
    text = secret(tmp_path / "text", "no PEM")
    broken = secret(tmp_path / "broken", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    locked = secret(tmp_path / "locked", "")
    lock = ["openssl", "pkey", "-aes128", "-passout", "pass:x", "-in", str(settings.key), "-out", str(locked)]
    subprocess.run(lock, check=True, capture_output=True, timeout=20)
    certificate, gone = settings.certificate, tmp_path / "gone"
    cases = [
        (replace(settings, key=other), f"{certificate} and {other}: the key is not the certificate's"),
        (replace(settings, key=None), f"{certificate}: there is no key in it, and no serve.key is set"),
        (replace(settings, key=certificate), f"{certificate}: there is no key in it"),
        *((changed(settings, name, gone), f"{gone}: No such file or directory") for name in FILES),
        *((changed(settings, name, text), f"{text}: not a PEM file") for name in ("certificate", "key")),
        (replace(settings, client_ca=text), f"{text}: there is no certificate in it"),
        (replace(settings, key=locked), f"{locked}: the key has a password, and nobody is here to type it"),
        (replace(settings, certificate=None), "serve.key is for TLS, which needs serve.certificate, too"),
        (replace(settings, certificate=None, key=None),
         "serve.client_ca is for TLS, which needs serve.certificate, too"),
    ]  # fmt: skip
    assert [refusal(wrong) for wrong, _ in cases] == [line for _, line in cases]
    assert str(broken) in refusal(replace(settings, certificate=broken))


def test_reload_is_all_or_nothing(settings: ServeSettings) -> None:
    """A new token beside a certificate that is broken is not taken."""
    admission = Admission(settings)
    before = admission.terms
    assert settings.token_file is not None
    assert settings.certificate is not None
    settings.token_file.write_text("new")
    kept = settings.certificate.read_bytes()
    settings.certificate.write_bytes(b"")
    with pytest.raises(ConfigRefused):
        admission.reload()
    assert admission.terms is before
    settings.certificate.write_bytes(kept)
    admission.reload()
    assert admission.terms.token == b"new"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"Bearer abc", True),
        (b"bearer  abc ", True),
        (b"Bearer abd", False),
        (b"Bearer ab", False),
        (b"Bearer abcd", False),
        (b"Bearer ", False),
        (b"Bearer", False),
        (b"Basic abc", False),
        (b"abc", False),
        (b"", False),
        (b"Bearer \xff\xfe", False),
    ],
)
def test_bearer(header: bytes, expected: bool) -> None:
    """The scheme in any case, the token exactly."""
    assert is_bearer(header, b"abc") is expected


async def test_token(tmp_path: Path, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture) -> None:
    """Without the token nobody learns anything, not even what is absent; the log has a line for each kind."""
    (tmp_path / "share/.blobfs/blobs").mkdir(parents=True)
    for name in ("name", f".blobfs/blobs/{ID}"):
        (tmp_path / "share" / name).write_bytes(b"content")
    file = secret(tmp_path / "token", TOKEN)
    admission = Admission(ServeSettings(token_file=file))
    address = await nursery.start(serve_share, tmp_path / "share", bind_listener("127.0.0.1:0"), admission)

    right = {"Authorization": f"Bearer {TOKEN}"}
    reply = await ask(address, "/name", **right)
    assert (reply.status, reply.body) == (200, b"content")
    blob = await ask(address, f"/.blobfs/blobs/{ID}", **right)
    assert blob.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert (await ask(address, "/absent", **right)).status == 404
    for target in ("/name", "/absent", "/", "/../x", "/%zz"):
        for method in ("GET", "HEAD", "POST"):
            missing = await ask(address, target, method)
            wrong = await ask(address, target, method, Authorization="Bearer wrong")
            assert (missing.status, wrong.status) == (401, 401)
            assert missing.headers["www-authenticate"] == 'Bearer realm="blobfs"'
            assert wrong.headers["www-authenticate"] == 'Bearer realm="blobfs", error="invalid_token"'
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "turned away 127.0.0.1: no token"),
        ("WARNING", "turned away 127.0.0.1: a wrong token"),
    ]
    assert 'wrong"' not in caplog.text
    file.write_text("another")
    admission.reload()
    assert (await ask(address, "/name", **right)).status == 401
    assert (await ask(address, "/name", Authorization="Bearer another")).status == 200


async def test_refusals_are_counted(caplog: pytest.LogCaptureFixture, mock_clock: MockClock) -> None:
    """The first of a kind is told at once, the next line tells how many came meanwhile."""
    caplog.set_level(logging.INFO)
    refusals = Refusals(logging.getLogger("test"))
    for _ in range(5):
        refusals.note(logging.INFO, "no token", ("192.0.2.1", 5))
    refusals.note(logging.INFO, "other", None)
    mock_clock.jump(QUIET_SECONDS)
    refusals.note(logging.INFO, "no token", ("192.0.2.2", 5))
    assert [record.getMessage() for record in caplog.records] == [
        "turned away 192.0.2.1: no token",
        "turned away a client: other",
        "turned away 192.0.2.2 and 4 others: no token",
    ]


def test_socket_for_a_web_server(tmp_path: Path) -> None:
    """A share's unix socket is for its group, and in a set-gid directory for the directory's."""
    directory = tmp_path / "run"
    directory.mkdir()
    os.chown(directory, -1, 12345)
    directory.chmod(0o2750)
    with bind_share_listener(f"unix:{directory}/http") as listener:
        found = (directory / "http").stat()
        assert (found.st_mode & 0o777, found.st_gid) == (SHARED_MODE, 12345)
        assert shown_address(listener) == f"unix:{directory}/http"


def test_no_socket_was_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's variables, none, and nonsense are refused alike."""
    for process, count in ((os.getpid(), "x"), (os.getpid(), "0"), (os.getpid() + 1, "1")):
        monkeypatch.setenv("LISTEN_PID", str(process))
        monkeypatch.setenv("LISTEN_FDS", count)
        with pytest.raises(StartRefused, match="has passed no listening socket"):
            take_listener()
