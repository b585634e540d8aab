"""Which paths mean a file of the share, without a server."""

from pathlib import PurePosixPath
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from blobfs.model import MAX_NAME_BYTES, Invalid, parse_name, url_path
from blobfs.shares.share_paths import Kind, Refused, SharePath, parse_path, strip_origin

ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("target", "kind", "components"),
    [
        ("/a", Kind.NAMED, ["a"]),
        ("/models/a.gguf", Kind.NAMED, ["models", "a.gguf"]),
        ("/a%20b%0A%5C", Kind.NAMED, ["a b\n\\"]),
        ("/a\\b", Kind.NAMED, ["a\\b"]),
        ("/%252e%252e", Kind.NAMED, ["%2e%2e"]),
        ("/%C3%A9", Kind.NAMED, ["é"]),
        ("/...", Kind.NAMED, ["..."]),
        (f"/.blobfs/blobs/{ID}", Kind.BLOB, [".blobfs", "blobs", ID]),
        (f"/.blobfs/trees/{ID}", Kind.TREE, [".blobfs", "trees", ID]),
        (f"/.blobfs/bundles/{ID}", Kind.BUNDLE, [".blobfs", "bundles", ID]),
        ("/.blobfs/names/a/b", Kind.RECORD, [".blobfs", "names", "a", "b"]),
        ("/.blobfs/names/.blobfs-log", Kind.LOG, [".blobfs", "names", ".blobfs-log"]),
        ("/.blobfs/names/a/.blobfs-log", Kind.LOG, [".blobfs", "names", "a", ".blobfs-log"]),
    ],
)
def test_what_is_served(target: str, kind: Kind, components: list[str]) -> None:
    """Names, blobs, trees, bundles, records and logs; decoded once."""
    expected = SharePath(tuple(part.encode() for part in components), kind)
    assert parse_path(target.encode("ascii")) == expected


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/", 404),
        ("//", 404),
        ("//a", 404),
        ("/a//b", 404),
        ("/a/", 404),
        ("/.", 404),
        ("/..", 404),
        ("/../../etc/passwd", 404),
        ("/%2e%2e/etc/passwd", 404),
        ("/a/%2E%2e/b", 404),
        ("/a%2Fb", 404),
        ("/..%2f..%2fetc", 404),
        ("/a%00", 404),
        ("/%FF", 400),
        ("/%ED%A0%80", 400),
        ("/%C0%AE%C0%AE/x", 400),
        ("/%zz", 400),
        ("/%2", 400),
        ("*", 400),
        ("a:1", 400),
        ("", 400),
        ("/.blobfs", 404),
        ("/.blobfs/", 404),
        ("/.blobfs/names", 404),
        ("/.blobfs/blobs", 404),
        ("/.blobfs/blobs/x", 404),
        (f"/.blobfs/blobs/{ID.upper()}", 404),
        (f"/.blobfs/blobs/{ID}%0A", 404),
        (f"/.blobfs/blobs/{ID}/x", 404),
        ("/.blobfs/bundles", 404),
        ("/.blobfs/bundles/x", 404),
        (f"/.blobfs/bundles/{ID}/x", 404),
        ("/.blobfs/lock", 404),
        ("/.blobfs/../lock", 404),
        ("/.blobfs/blobs/../../../format", 404),
        ("/.blobfs-x", 404),
        ("/a/.blobfs/b", 404),
        ("/.blobfs/names/.blobfs-logs", 404),
        ("/.blobfs/names/.blobfs-log/x", 404),
        ("/%2eblobfs/lock", 404),
        ("/" + "a/" * 700 + "a", 404),
    ],
)
def test_what_is_refused(target: str, status: int) -> None:
    """Nothing outside the layout, nothing that could leave the share, nothing that is not text."""
    with pytest.raises(Refused) as refused:
        parse_path(target.encode("ascii"))
    assert refused.value.status == status


@given(st.binary(min_size=1, max_size=40))
@example(b"../x")
@example(b".blobfs/lock")
def test_served_paths_stay_inside(raw: bytes) -> None:
    """However it is written, a path that is served has only plain components, the ones that were meant."""
    try:
        path = parse_path(b"/" + quote_from_bytes(raw, safe="/%").encode("ascii"))
    except Refused:
        return
    joined = b"/".join(path.components)
    assert not {b"", b".", b".."} & set(joined.split(b"/"))
    assert len(PurePosixPath(joined.decode()).parts) == len(path.components)


@given(st.text(min_size=1, max_size=60))
@example("a" * MAX_NAME_BYTES)
def test_every_name_can_be_asked_for(text: str) -> None:
    """A name as `url_path` writes it means that name, its record and its log."""
    try:
        name = parse_name(text)
    except Invalid:
        return
    assert b"/".join(parse_path(f"/{url_path(name)}".encode()).components) == name.encode()
    assert parse_path(f"/.blobfs/names/{url_path(name)}".encode()).kind is Kind.RECORD
    assert parse_path(f"/.blobfs/names/{url_path(name)}/.blobfs-log".encode()).kind is Kind.LOG


def test_longest_name_has_a_log() -> None:
    """The limit on a path leaves room for the longest name below names/ and its log."""
    name = "/".join("d" * length for length in (255, 255, 255, 254, 1))
    assert len(name) == MAX_NAME_BYTES
    assert parse_path(f"/.blobfs/names/{name}/.blobfs-log".encode()).kind is Kind.LOG


def test_whole_url_as_target() -> None:
    """A request target may be a whole URL; what is served is its path."""
    assert strip_origin(b"http://host:80/a/b") == b"/a/b"
    assert strip_origin(b"HTTPS://host/a") == b"/a"
    assert strip_origin(b"/http://host/a") == b"/http://host/a"
    assert strip_origin(b"http://host") == b"/"
