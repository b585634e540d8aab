"""blobfs.model: what is a blob id, what is a name, and how a name looks in a URL."""

import contextlib
from urllib.parse import unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from blobfs.model import (
    EMPTY_BLOB,
    MAX_COMPONENT_BYTES,
    MAX_NAME_BYTES,
    ROOT,
    Invalid,
    Name,
    TooLong,
    join,
    parse_blob_id,
    parse_component,
    parse_name,
    split,
    url_path,
)

components = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=60).filter(
    lambda text: text not in (".", "..") and not text.startswith(".blobfs")
)
names = st.lists(components, min_size=1, max_size=4).map("/".join)

ORDINARY = [
    "a",
    " ",
    "...",
    ".b",
    ".blobf",
    "a.blobfs",
    "%2e%2e",
    "%2F",
    "a\\b",
    "a\nb",
    "\x7f",
    "é",
    "🦀",
    "-",
    "~",
]


@pytest.mark.parametrize("text", ["0" * 64, "0123456789abcdef" * 4, EMPTY_BLOB])
def test_blob_ids(text: str) -> None:
    """64 lowercase hex digits are a blob id."""
    assert parse_blob_id(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "0" * 64 + "\n", " " + "0" * 64, "0x" + "0" * 62, "٠" * 64],
)
def test_no_blob_ids(text: str) -> None:
    """Anything else is not: upper case, white space, other digits."""
    with pytest.raises(Invalid, match="not a blob id"):
        parse_blob_id(text)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_components(text: str) -> None:
    """A component is taken as it is; no escape, backslash or control character means anything."""
    assert parse_component(text.encode()) == text
    assert parse_name(text) == text


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b".",
        b"..",
        b"a/b",
        b"/",
        b"a\0",
        b"\0",
        b".blobfs",
        b".blobfs-log",
        b".blobfsx",
        b"\xff",
        b"a\xc3",
        b"\xc0\xae",  # an overlong dot
        b"\xed\xa0\x80",  # an encoded surrogate
        b"\xf5\x80\x80\x80",  # beyond Unicode
    ],
)
def test_no_components(raw: bytes) -> None:
    """Nothing that leads elsewhere, is reserved, ends a C string or is not UTF-8."""
    with pytest.raises(Invalid):
        parse_component(raw)


def test_the_longest_component() -> None:
    """255 bytes, however many characters they are."""
    assert parse_component(b"x" * MAX_COMPONENT_BYTES)
    assert parse_component("é".encode() * 127 + b"x")
    with pytest.raises(TooLong):
        parse_component(b"x" * (MAX_COMPONENT_BYTES + 1))
    with pytest.raises(TooLong):
        parse_name("a/" + "é" * 128)


def test_the_longest_name() -> None:
    """1,024 bytes, however they are divided."""
    longest = "/".join(["w" * 255, "x" * 255, "y" * 255, "z" * 254, "v"])
    assert len(longest) == MAX_NAME_BYTES
    assert parse_name(longest) == longest
    with pytest.raises(TooLong, match="1025 bytes"):
        parse_name(longest + "v")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        "./a",
        "a/.",
        "a/../b",
        "..",
        "a/.blobfs/b",
        "a\0b",
        "\ud800",
        "a/\udcff",
        "\udcc3\udca9",
    ],
)
def test_no_names(text: str) -> None:
    """No empty component, nothing absolute, no way out, no surrogates even if they spell UTF-8."""
    with pytest.raises(Invalid):
        parse_name(text)


@given(st.text(st.characters(codec=None) | st.sampled_from("/.\0\udcff")), st.binary(max_size=300))
def test_only_invalid_is_raised(text: str, raw: bytes) -> None:
    """Whatever comes in, it is parsed or it is Invalid; and what is parsed can be encoded."""
    with contextlib.suppress(Invalid):
        assert parse_name(text).encode("utf-8")
    with contextlib.suppress(Invalid):
        assert parse_blob_id(text).encode("ascii")
    with contextlib.suppress(Invalid):
        assert parse_component(raw).encode("utf-8") == raw


@given(names)
def test_split_and_join_are_inverse(text: str) -> None:
    """A name is its directory and its last component."""
    assume(len(text.encode()) <= MAX_NAME_BYTES)
    name = parse_name(text)
    directory, component = split(name)
    assert join(directory, component) == name
    assert parse_component(component.encode()) == component
    assert directory == ROOT or parse_name(directory) == directory


def test_join_at_the_root_and_below() -> None:
    """The root adds no slash."""
    assert join(ROOT, "a") == "a"
    assert join(Name("a"), "b") == "a/b"
    assert split(Name("a")) == (ROOT, "a")


def test_join_refuses_what_is_too_long() -> None:
    """The limit on a whole name holds however it is put together."""
    directory = parse_name("/".join(["x" * 255, "y" * 255, "z" * 255]))
    assert len(join(directory, "w" * 254)) == 1022
    with pytest.raises(TooLong):
        join(join(directory, "w" * 254), "vv")


@given(names)
def test_url_path_is_pure_ascii_and_reversible(text: str) -> None:
    """Only RFC 3986's unreserved characters and the slash stand for themselves."""
    path = url_path(text)
    assert unquote(path, errors="strict") == text
    assert set(path) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/%")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("models/a.gguf", "models/a.gguf"),
        ("~a-b_c.d", "~a-b_c.d"),
        ("a b+c?d#e&f:g@h", "a%20b%2Bc%3Fd%23e%26f%3Ag%40h"),
        ("%2e%2e", "%252e%252e"),
        ("a\\b\n", "a%5Cb%0A"),
        ("é", "%C3%A9"),
        ("", ""),
    ],
)
def test_url_paths(name: str, path: str) -> None:
    """Every other byte is percent-encoded, the percent sign too."""
    assert url_path(name) == path
