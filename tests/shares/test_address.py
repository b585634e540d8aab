"""A share's URL: what is accepted, how it is normalised, and that credentials are never shown."""

import pytest

from blobfs.config.kinds import shown
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


@pytest.mark.parametrize(
    "text",
    [
        "http://user:s3c/ret@host/",
        "user:s3cret@host/",
        "http:/user:s3cret@host/",
        "http:\\\\user:s3cret@host/",
        "http://user:s3c?ret@host/",
        "http://user:s3c ret@host/",
        "http://user:s3c@ret@host:99999/",
        "http://user:s3c\nret@host/",
        "http://user:s3cret@ho\u2100st/",
        "http://user:s3c]ret@host/",
    ],
)
def test_a_refused_url_shows_no_credentials(text: str) -> None:
    """Whatever is wrong with a URL, and though nobody can tell where its credentials end, nothing of them
    is shown: not by the share, and not by the configuration."""
    with pytest.raises(Invalid) as refused:
        parse_share_url(text)
    told = [str(refused.value), shown(text) if "://" in text else ""]
    assert not [word for word in told if "s3c" in word or "ret" in word]


def test_a_refused_url_shows_the_rest() -> None:
    """What is not secret helps to find the mistake."""
    with pytest.raises(Invalid, match=r"'host/a'"):
        parse_share_url("user:s3cret@host/a")
    with pytest.raises(Invalid, match=r"port 0: 'http://host:0/'"):
        parse_share_url("http://user:s3cret@host:0/")
    with pytest.raises(Invalid, match=r"'ftp://host/a'"):
        parse_share_url("ftp://host/a")
