"""Redirects, and who gets the credentials."""

import base64

import pytest

from blobfs.model import Outcome
from tests.servers.scripted import ScriptedServer, ok, redirect, scripted_server
from tests.shares.shared_names import (
    BLOB,
    BLOB_PATH,
    NAME,
    RECORD,
    RECORD_PATH,
    RECORD_TEXT,
    attempt_of,
    opened,
)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/elsewhere", "../../../elsewhere", "{url}elsewhere"])
async def test_within_one_origin(scripted: ScriptedServer, code: int, location: str) -> None:
    """A share may move things around on its own host."""
    scripted.route(RECORD_PATH, redirect(location.format(url=scripted.url), code))
    scripted.route("/elsewhere", ok(RECORD_TEXT))
    async with opened(scripted.url) as share:
        assert await share.record(NAME) == RECORD
        assert share.statistics().requests == {"record": 2}
    assert scripted.connections == 1


async def test_to_another_origin_is_refused(scripted: ScriptedServer) -> None:
    """Another port is another origin; nothing is sent there unless the share is configured so."""
    async with scripted_server() as other:
        other.route("/there", ok(RECORD_TEXT))
        scripted.route(RECORD_PATH, redirect(f"{other.url}there"))
        async with opened(scripted.url) as share:
            attempt = await attempt_of(share.record(NAME))
        assert other.requests == []
        assert (attempt.outcome, attempt.detail) == (Outcome.UNREACHABLE, f"redirects to {other.url}there")
        async with opened(scripted.url, redirects=True) as share:
            assert await share.record(NAME) == RECORD


async def test_credentials_stay_at_home(scripted: ScriptedServer) -> None:
    """The URL's credentials go to the share's own origin, redirected or not, and nowhere else."""
    async with scripted_server() as other:
        other.route("/there", ok(RECORD_TEXT))
        scripted.route(RECORD_PATH, redirect("/here"))
        scripted.route("/here", redirect(f"{other.url}there"))
        url = scripted.url.replace("://", "://me:s%40cret@")
        async with opened(url, redirects=True) as share:
            assert await share.record(NAME) == RECORD
            assert share.shown == scripted.url
            assert "cret" not in repr(share)
        expected = "Basic " + base64.b64encode(b"me:s@cret").decode()
        assert [request.headers["authorization"] for request in scripted.requests] == [expected, expected]
        assert "authorization" not in other.requests[0].headers


async def test_a_loop_ends(scripted: ScriptedServer) -> None:
    """Five redirects are followed, not more."""
    scripted.route(RECORD_PATH, redirect("/x"))
    scripted.route("/x", redirect(RECORD_PATH))
    async with opened(scripted.url) as share:
        attempt = await attempt_of(share.record(NAME))
    assert (attempt.outcome, attempt.detail) == (Outcome.UNREACHABLE, "too many redirects")
    assert len(scripted.requests) == 6


@pytest.mark.parametrize(
    "location", ["ftp://127.0.0.1/x", "mailto:me", "http://127.0.0.1:99999/", "http://[::zz]/"]
)
async def test_to_nowhere(scripted: ScriptedServer, location: str) -> None:
    """A Location that is no HTTP URL is a failure, also where redirects are allowed."""
    scripted.route(RECORD_PATH, redirect(location))
    async with opened(scripted.url, redirects=True) as share:
        attempt = await attempt_of(share.record(NAME))
        assert share.statistics().in_flight == 0
    assert attempt.outcome is Outcome.UNREACHABLE
    assert attempt.detail.startswith("redirects to ")


async def test_a_signature_is_not_shown(scripted: ScriptedServer) -> None:
    """Object stores are asked by URLs that let in whoever has them; what is told of a share is for many."""
    scripted.route(RECORD_PATH, redirect("http://user:pw@bucket.invalid/x?X-Amz-Signature=5ec7e7#a"))
    async with opened(scripted.url) as share:
        attempt = await attempt_of(share.record(NAME))
    assert attempt.detail == "redirects to http://bucket.invalid/x"


async def test_a_blob_that_is_a_directory(scripted: ScriptedServer) -> None:
    """Only names may be directories."""
    scripted.route(BLOB_PATH, redirect(BLOB_PATH + "/"))
    async with opened(scripted.url) as share:
        attempt = await attempt_of(share.blob_size(BLOB))
    assert (attempt.outcome, attempt.detail) == (Outcome.UNREACHABLE, "HTTP 302")
