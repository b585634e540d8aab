"""Tokens and passwords: from their files to the share's own origin, and nowhere else."""

import base64
import logging
from pathlib import Path

import pytest

from blobfs.errors import ConfigRefused
from blobfs.model import Invalid, Kind
from blobfs.shares.address import Access
from tests.servers.scripted import ScriptedServer, ok, redirect, scripted_server, status
from tests.shares.shared_names import (
    BLOB,
    BODY,
    NAME,
    RECORD,
    RECORD_PATH,
    RECORD_TEXT,
    attempt_of,
    opened,
    read,
)

SECRET = "hush-hush.42_~+/="


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.touch(0o600)
    path.write_text(SECRET + "\n")
    return path


@pytest.mark.parametrize("kind", ["token", "password", "URL"])
async def test_are_sent_with_every_request(scripted: ScriptedServer, secret_file: Path, kind: str) -> None:
    """A bearer token as RFC 6750 has it, a user as RFC 7617 has it; the file's line feed is no part of it."""
    scripted.route(RECORD_PATH, ok(RECORD_TEXT))
    url, access, expected = scripted.url, Access(), "Basic " + _base64(f"jürgen:{SECRET}")
    if kind == "token":
        access, expected = Access(token_file=secret_file), f"Bearer {SECRET}"
    elif kind == "password":
        access = Access(user="jürgen", password_file=secret_file)
    else:
        url = url.replace("://", f"://j%C3%BCrgen:{SECRET.replace('/', '%2F')}@")
    async with opened(url, access=access) as share:
        assert await share.record(NAME) == RECORD
        assert await share.blob_size(BLOB) is None
        assert SECRET not in repr(share)
    assert [request.headers["authorization"] for request in scripted.requests] == [expected] * 2


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def test_are_read_when_the_share_is_opened(scripted: ScriptedServer, secret_file: Path) -> None:
    """Once; a new secret counts from the next opening on."""
    scripted.route(RECORD_PATH, ok(RECORD_TEXT))
    async with opened(scripted.url, access=Access(token_file=secret_file)) as share:
        secret_file.write_text("new")
        await share.record(NAME)
        await share.aclose()
        await share.aopen()
        await share.record(NAME)
    assert [request.headers["authorization"][-3:] for request in scripted.requests] == [SECRET[-3:], "new"]


async def test_stay_at_home(scripted: ScriptedServer, secret_file: Path) -> None:
    """Another origin is asked without them, also in the middle of a way that leads back."""
    async with scripted_server() as other:
        scripted.route(RECORD_PATH, redirect(f"{other.url}there"))
        other.route("/there", redirect(f"{scripted.url}back"))
        scripted.route("/back", ok(RECORD_TEXT))
        async with opened(scripted.url, access=Access(token_file=secret_file), redirects=True) as share:
            assert await share.record(NAME) == RECORD
        assert "authorization" not in other.requests[0].headers
    assert ["authorization" in request.headers for request in scripted.requests] == [True, True]


@pytest.mark.parametrize(
    ("code", "access", "words"),
    [
        (401, "none", "HTTP 401: it wants a token or a password"),
        (401, "token", "HTTP 401: its token is not accepted"),
        (401, "password", "HTTP 401: its password is not accepted"),
        (403, "none", "HTTP 403"),
        (403, "token", "HTTP 403: its token gives no right to it"),
    ],
)
async def test_that_are_wrong_are_called_so(
    scripted: ScriptedServer, secret_file: Path, code: int, access: str, words: str
) -> None:
    """What was shown is in the words, the secret is not; the connection can be used again."""
    kinds = {"none": Access(), "token": Access(token_file=secret_file)}
    shown = kinds.get(access) or Access(user="u", password_file=secret_file)
    async with opened(scripted.url, access=shown) as share:
        scripted.route(RECORD_PATH, status(code))
        scripted.route(f"/.blobfs/blobs/{BLOB}", status(code))
        attempt = await attempt_of(share.record(NAME))
        assert (attempt.kind, attempt.status, attempt.detail) == (Kind.REFUSED, code, words)
        assert (await attempt_of(read(share.blob(BLOB, len(BODY), 0, 10)))).detail == words
        assert share.statistics().connections_opened == 1


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        (None, 0, "No such file or directory"),
        ("", 0o600, "the file is empty"),
        ("two\nlines", 0o600, "a secret is one line of printable text"),
        (f"{SECRET} x", 0o600, "a token has no spaces and is plain ASCII"),
        (f"{SECRET}ü", 0o600, "a token has no spaces and is plain ASCII"),
        (SECRET, 0o644, "every user of this machine can get at it"),
    ],
)
async def test_a_file_that_holds_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | None, mode: int, words: str
) -> None:
    """One line names the share, without its credentials, and the file, and shows nothing of what is in it."""
    path = tmp_path / "token"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigRefused) as refused:
        async with opened("http://share.invalid/a", access=Access(token_file=path)):
            raise AssertionError("it is open")
    line = str(refused.value)
    assert line.startswith(f"http://share.invalid/a/: {path}: {words}")
    assert "\n" not in line
    assert SECRET not in line + caplog.text


@pytest.mark.parametrize(
    "access",
    [
        {"user": "u"},
        {"password_file": Path("p")},
        {"user": "a:b", "password_file": Path("p")},
        {"user": "u", "password_file": Path("p"), "token_file": Path("t")},
        {"client_key": Path("k")},
    ],
)
def test_what_does_not_go_together(access: dict) -> None:
    """Whoever sets it, and however."""
    with pytest.raises(Invalid):
        Access(**access)
