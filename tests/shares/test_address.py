"""A share's URL: what is accepted, how it is normalised, and that credentials are never shown."""

import pytest

from blobfs.model import Invalid
from blobfs.shares.address import parse_share_url, shown_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://host", "http://host/"),
        ("HTTP://Host:80/a/b", "http://host/a/b/"),
        ("https://host:443/", "https://host/"),
        ("http://host:8080/a%20b/", "http://host:8080/a%20b/"),
        ("http://[::1]:8000", "http://[::1]:8000/"),
        ("http://me:secret@host/x", "http://me:secret@host/x/"),
        ("http://bücher.example", "http://xn--bcher-kva.example/"),
    ],
)
def test_is_normalised(text: str, url: str) -> None:
    """A URL ends in a slash and has one spelling only."""
    assert parse_share_url(text) == url
    assert parse_share_url(url) == url


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ftp://host/", "http:// or https://"),
        ("host:8000", "http:// or https://"),
        ("/srv/share", "http:// or https://"),
        ("", "http:// or https://"),
        ("http:/host", "without a host"),
        ("http:host", "without a host"),
        ("http:///path", "without a host"),
        ("http://:80/", "without a host"),
        ("http://host/?q=1", "no query"),
        ("http://host/#top", "no query"),
        ("http://host:port/", "not a share's URL"),
        ("http://host:99999/", "not a share's URL"),
        ("http://host:0/", "port 0"),
        ("http://host/a b", "a space"),
        ("http://host/\n", "control character"),
        ("http://host\\path", "backslash"),
        ("http://[::1", "not a share's URL"),
    ],
)
def test_refuses_with_one_clear_line(text: str, reason: str) -> None:
    """What is no share's URL is refused with a line that says why."""
    with pytest.raises(Invalid) as refusal:
        parse_share_url(text)
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "text", ["ftp://me:secret@host/", "http://me:secret@host:0/", "http://me:se@cret@/?"]
)
def test_never_shows_credentials(text: str) -> None:
    """Neither a refusal nor the shown URL holds the user or the password."""
    with pytest.raises(Invalid) as refusal:
        parse_share_url(text)
    assert "secret" not in str(refusal.value)
    assert "cret@" not in str(refusal.value)
    assert shown_url("https://me:secret@host:8443/x/") == "https://host:8443/x/"
