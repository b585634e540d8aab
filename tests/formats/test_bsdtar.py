"""A stock bsdtar reads manifests as section 13.6 of docs/formats.md says: the same tree comes out."""

import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from blobfs.manifest import FIRST_SECOND, LAST_SECOND, Directory, Entry, File, Link, Nested, render_manifest
from blobfs.model import EMPTY_BLOB, BlobId
from tests.formats.values import tree_of

SECOND = 1_000_000_000
TAR_SECONDS = 20
CONTENT = b"hello, blobs\n"
BLOB = BlobId(tree_of(CONTENT)[0])
OTHER = b"\0" * 20_000
OTHER_BLOB = BlobId(tree_of(OTHER)[0])

ODD = (
    *(b"a b", b"line\nfeed", b"tab\t", b"\r", b" ", b"ends with a blank ", b"back\\slash", b"\\040", b"\\"),
    *(b"#", b"#mtree", b"=", b"type=dir", b"*", b"?[a]", b"-dash", b"--version", b"@file", b"~", b"$HOME"),
    *("é ü 日本".encode(), "e\u0301".encode(), b"\xff\xfe", b"half \xc3", b"\x7f", b"\x01", b"..."),
    *(b"n" * 255, b"\xff" * 255),
)
"""Names that a parser of mtree, a shell or a locale may stumble over."""

BYTES = ("--format=pax", "--options", "hdrcharset=BINARY")
"""What the page says to use."""


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    """Files named by their ids, as below MOUNT/.blobfs/blobs."""
    assert shutil.which("bsdtar"), "bsdtar is missing: apt-get install libarchive-tools (tools/test does)"
    directory = tmp_path / "blobs"
    directory.mkdir()
    for content in (b"", CONTENT, OTHER):
        (directory / tree_of(content)[0]).write_bytes(content)
    return directory


def export(blobs: Path, entries: list[Entry], *options: str, locale: str = "C.UTF-8", code: int = 0) -> str:
    """Makes blobs/../out.tar; returns what bsdtar says."""
    raw = render_manifest(entries)
    package = tree_of(raw)[0]
    (blobs / package).write_bytes(raw)
    done = subprocess.run(
        ["bsdtar", "-cf", "../out.tar", *options, f"@{package}"],
        cwd=blobs,
        env={**os.environ, "LC_ALL": locale, "TZ": "Asia/Kathmandu"},
        capture_output=True,
        timeout=TAR_SECONDS,
        check=False,
    )
    said = done.stderr.decode(errors="replace")
    assert done.returncode == code, said
    return said


def unpacked(blobs: Path, locale: str = "C.UTF-8") -> list[Entry]:
    """The entries of what comes out of the archive, as the file system has them."""
    target = blobs.parent / "out"
    target.mkdir()
    subprocess.run(
        ["bsdtar", "-xpf", "../out.tar"],
        cwd=target,
        env={**os.environ, "LC_ALL": locale},
        timeout=TAR_SECONDS,
        check=True,
    )
    return sorted(entries_below(os.fsencode(target)), key=lambda entry: entry.path)


def entries_below(root: bytes) -> list[Entry]:
    found: list[Entry] = []
    for directory, directories, files in os.walk(root):
        for name in directories + files:
            path = os.path.join(directory, name)
            relative, status = os.path.relpath(path, root), os.lstat(path)
            mode = stat.S_IMODE(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                found.append(Link(relative, os.readlink(path)))
            elif stat.S_ISDIR(status.st_mode):
                found.append(Directory(relative, mode))
            else:
                content = Path(os.fsdecode(path)).read_bytes()
                blob = BlobId(tree_of(content)[0])
                found.append(File(relative, mode, len(content), status.st_mtime_ns, blob))
    return found


def in_order(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: entry.path)


def headers(blobs: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(blobs.parent / "out.tar", encoding="utf-8", errors="surrogateescape") as archive:
        return {member.name: member for member in archive}


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_tree_comes_out_as_it_was(blobs: Path, locale: str) -> None:
    """Names of any bytes, modes, times, targets, content and empty directories, in any locale."""
    entries: list[Entry] = [Directory(b"d", 0o755), Directory(b"d/empty", 0o500), Directory(b"links", 0o777)]
    for number, name in enumerate(ODD):
        ns = 1_700_000_000_000_000_000 + number
        entries += [
            File(b"d/" + name, 0o400 + number, len(CONTENT), ns, BLOB),
            File(name, 0o755, len(OTHER), number * SECOND, OTHER_BLOB),
            Link(b"links/" + name, name),
        ]
    entries += [
        File(b"none", 0o644, 0, 5, EMPTY_BLOB),
        Link(b"absolute", b"/a/../b"),
        Link(b"up", b"../../x"),
    ]
    assert export(blobs, entries, *BYTES, locale=locale) == ""
    assert unpacked(blobs, locale) == in_order(entries)


@pytest.mark.parametrize(("locale", "warnings"), [("C", 4), ("C.UTF-8", 2)])
def test_names_without_the_option(blobs: Path, locale: str, warnings: int) -> None:
    """The names in the archive are the same bytes; bsdtar warns of those that are none in its locale."""
    names = [b"ascii", "é".encode(), "e\u0301".encode(), b"\xff", b"half \xc3"]
    said = export(blobs, [File(name, 0o644, len(CONTENT), 0, BLOB) for name in names], locale=locale)
    assert said.count("Can't translate pathname") == warnings
    assert {os.fsencode(name) for name in headers(blobs)} == {b"./" + name for name in names}


def test_every_byte(blobs: Path) -> None:
    """Each byte a name or a target can hold, escaped or not, is the same byte to bsdtar; nothing is said."""
    names = [bytes([byte]) for byte in range(1, 256) if byte not in b"/."]
    entries: list[Entry] = [Directory(b"links", 0o755)]
    for name in names:
        entries += [File(name, 0o644, len(CONTENT), 0, BLOB), Link(b"links/" + name, name)]
    assert export(blobs, entries, *BYTES) == ""
    assert unpacked(blobs) == in_order(entries)


@pytest.mark.parametrize(
    "ns", [0, 1, -1, -500_000_000, -SECOND, -1_500_000_000, -2_000_000_001, 1_700_000_000_123_456_789]
)
def test_times(blobs: Path, ns: int) -> None:
    """Fractions and times before the epoch are read as they are meant: the file has that very time."""
    entries: list[Entry] = [File(b"f", 0o644, len(CONTENT), ns, BLOB)]
    export(blobs, entries, *BYTES)
    assert unpacked(blobs) == entries


@pytest.mark.parametrize("second", [FIRST_SECOND, LAST_SECOND, 1 << 35, -(1 << 35)])
def test_times_no_file_system_has(blobs: Path, second: int) -> None:
    """The first and the last second of all stand in the archive."""
    export(blobs, [File(b"f", 0o644, len(CONTENT), second * SECOND, BLOB)], *BYTES)
    assert headers(blobs)["./f"].pax_headers["mtime"] == str(second)


def test_long_paths_and_targets(blobs: Path) -> None:
    """The longest path and the longest target, all of it escaped, come through."""
    parents = [b"/".join([b"\xff" * 255] * depth) for depth in range(1, 16)]
    path = parents[-1] + b"/" + b"\xfe" * 255
    entries: list[Entry] = [Directory(parent, 0o755) for parent in parents]
    entries += [File(path, 0o644, len(CONTENT), 0, BLOB), Link(b"l", b"\xff" * 4095)]
    export(blobs, entries, *BYTES)
    found = headers(blobs)
    assert os.fsencode(found["./l"].linkname) == b"\xff" * 4095
    assert os.fsencode(max(found, key=len)) == b"./" + path
    assert len(found) == len(entries)


def test_without_pax_whole_seconds(blobs: Path) -> None:
    """Without --format=pax fractions of seconds are lost."""
    export(blobs, [File(b"f", 0o644, len(CONTENT), 1_500_000_000_999_999_999, BLOB)])
    assert headers(blobs)["./f"].mtime == 1_500_000_000


def test_a_nested_package_ends_the_export(blobs: Path) -> None:
    """bsdtar finds a file where a directory is meant: it says so, and all that follows is missing."""
    (blobs / tree_of(b"#mtree\n")[0]).write_bytes(b"#mtree\n")
    nested = Nested(b"m", BlobId(tree_of(b"#mtree\n")[0]))
    entries: list[Entry] = [Directory(b"a", 0o755), nested, Directory(b"z", 0o755)]
    assert "mtree specification has different type" in export(blobs, entries, code=1)
    assert list(headers(blobs)) == ["./a"]


def test_a_missing_blob_ends_the_export(blobs: Path) -> None:
    """So does a blob that cannot be opened; nothing is put in its place."""
    entries: list[Entry] = [Directory(b"a", 0o755), File(b"m", 0o644, 1, 0, BlobId("a" * 64))]
    assert "Can't open" in export(blobs, [*entries, Directory(b"z", 0o755)], code=1)
    assert list(headers(blobs)) == ["./a"]


def test_a_directory_named_like_a_blob_ends_the_export(blobs: Path) -> None:
    """Directories are looked for where the blobs are."""
    entries: list[Entry] = [Directory(BLOB.encode(), 0o755), Directory(b"z", 0o755)]
    assert "different type" in export(blobs, entries, code=1)


def test_a_directory_with_too_long_a_path_ends_the_export(blobs: Path) -> None:
    """It is looked for as well: over 4,093 bytes that fails otherwise than with ENOENT."""
    deep = b"/".join([b"d" * 255] * 16)
    entries: list[Entry] = [Directory(deep[: 256 * depth - 1], 0o755) for depth in range(1, 16)]
    export(blobs, [*entries, Directory(deep[:4093], 0o755)])
    assert "Can't open" in export(blobs, [*entries, Directory(deep[:4094], 0o755)], code=1)


def test_what_a_manifest_does_not_say(blobs: Path) -> None:
    """Owners are those of the blobs' files; directories and links have the epoch as their time."""
    os.chown(blobs / BLOB, 1234, 5678)
    file = File(b"f", 0o644, len(CONTENT), 7 * SECOND, BLOB)
    export(blobs, [Directory(b"d", 0o755), file, Link(b"l", b"f")])
    found = headers(blobs)
    assert (found["./f"].uid, found["./f"].gid) == (1234, 5678)
    assert [found[name].mtime for name in ("./d", "./f", "./l")] == [0, 7, 0]


def test_hard_links_of_blobs_become_hard_links(blobs: Path) -> None:
    """Where a blob has two links, the second file of it is a hard link; with one link each is a file."""
    entries: list[Entry] = [
        File(name, mode, len(CONTENT), time * SECOND, BLOB)
        for name, mode, time in ((b"a", 0o755, 1), (b"b", 0o644, 2))
    ]
    export(blobs, entries)
    assert [(each.isreg(), each.mtime) for each in headers(blobs).values()] == [(True, 1), (True, 2)]
    os.link(blobs / BLOB, blobs / "second")
    export(blobs, entries)
    assert headers(blobs)["./b"].islnk()


def test_the_size_is_that_of_the_blob(blobs: Path) -> None:
    """A manifest that lies about a size cannot make bsdtar cut or fill a file."""
    export(blobs, [File(b"f", 0o644, 5, 0, BLOB)])
    assert headers(blobs)["./f"].size == len(CONTENT)


def test_an_empty_package_is_an_empty_archive(blobs: Path) -> None:
    """A package without entries is no error."""
    export(blobs, [])
    assert headers(blobs) == {}
