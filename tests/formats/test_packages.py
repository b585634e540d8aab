"""Sections 13 and 14 of docs/formats.md: the page, blobfs and a second implementation agree on packages.

What bsdtar makes of a manifest is in tests/formats/test_bsdtar.py.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobfs.bundle import bundle_members
from blobfs.manifest import Directory, Entry, File, Link, Nested, parse_manifest, render_manifest
from blobfs.model import EMPTY_BLOB, BlobId, Invalid
from tests.formats import packages, page, values
from tests.formats.page import LARGE, SMALL
from tests.formats.trees import trees
from tests.structure import ROOT


def as_stranger(entry: Entry) -> packages.Line:
    """An entry of blobfs' in the second implementation's terms."""
    match entry:
        case File(path, mode, size, ns, blob):
            time = f"{ns // 10**9}.{ns % 10**9:09d}"
            words = {"mode": f"{mode:04o}", "size": str(size), "time": time, "contents": str(blob)}
            return packages.Line(path, "file", words)
        case Directory(path, mode):
            return packages.Line(path, "dir", {"mode": f"{mode:04o}"})
        case Nested(path, package):
            return packages.Line(path, "dir", {"contents": package})
        case Link(path, target):
            escaped = "".join(spelled(byte) for byte in target)
            return packages.Line(path, "link", {"mode": "0777", "link": escaped})


def spelled(byte: int) -> str:
    is_plain = 0x21 <= byte <= 0x7E and byte not in b"#=\\"
    return chr(byte) if is_plain else f"\\{byte:03o}"


def read_by_both(raw: bytes) -> list[packages.Line] | None:
    """What both make of it, and it is the same; None: both refuse it."""
    try:
        lines = packages.parse(raw)
    except values.Refused:
        with pytest.raises(Invalid):
            parse_manifest(raw)
        return None
    assert [as_stranger(entry) for entry in parse_manifest(raw).entries] == lines
    return lines


def test_manifest_example() -> None:
    """The example is a manifest to both; its ids, its length and its blobs are what the page says."""
    raw = page.example("manifest")
    assert read_by_both(raw)
    empty, package = values.tree_of(b"#mtree\n")[0], values.tree_of(raw)[0]
    assert f"the seven bytes `#mtree` and LF; its id is\n`{empty}`" in page.PAGE
    assert f"{len(raw)} bytes; the package's id is `{package}`" in page.PAGE
    manifest = parse_manifest(raw)
    assert list(manifest.blobs().items()) == [
        (values.tree_of(SMALL)[0], len(SMALL)),
        (values.tree_of(LARGE)[0], len(LARGE)),
        (EMPTY_BLOB, 0),
    ]
    assert manifest.packages() == [empty]
    assert render_manifest(manifest.entries) == raw


@pytest.mark.parametrize("line", page.example_lines("accepted-entries"))
def test_accepted_entries(line: str) -> None:
    """What the page says a reader takes."""
    assert read_by_both(f"#mtree\n{line}\n".encode()) is not None


@pytest.mark.parametrize("line", page.example_lines("refused-entries"))
def test_refused_entries(line: str) -> None:
    """What the page says a reader refuses."""
    assert read_by_both(f"#mtree\n{line}\n".encode()) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"#mtree",
        b"#mtree\n\n",
        b"#mtree\n./a type=dir mode=0755",
        b"#mtree\r\n./a type=dir mode=0755\r\n",
        b"#mtree\n#\n",
        b"#mtree\n/set mode=0755\n",
        b"#mtree\n./b type=dir mode=0755\n./a type=dir mode=0755\n",
        b"#mtree\n./a type=dir mode=0755\n./a type=dir mode=0755\n",
        b"#mtree\n./a type=link mode=0777 link=b\n./a/b type=dir mode=0755\n",
        b"#mtree\n./a type=dir contents=" + EMPTY_BLOB.encode() + b"\n./a/b type=dir mode=0755\n",
    ],
)
def test_refused_texts(raw: bytes) -> None:
    """What breaks the rules for the whole."""
    assert read_by_both(raw) is None


def test_order_of_the_page() -> None:
    """The page's example of the order, and that it is the only one."""
    assert "`a`, `a b`, `a.d`, `a/b`" in page.PAGE
    lines = [b"./%b type=dir mode=0755\n" % path for path in (b"a", b"a\\040b", b"a.d", b"a/b")]
    assert read_by_both(b"#mtree\n" + b"".join(lines))
    for at in range(3):
        swapped = [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]
        assert read_by_both(b"#mtree\n" + b"".join(swapped)) is None


def test_one_size_for_a_blob() -> None:
    """Two files of one blob say the same size; a package that is content as well says none."""
    blob = "a" * 64
    line = "./%s type=file mode=0644 size=%d time=0.000000000 contents=" + blob + "\n"
    nested = f"./b type=dir contents={blob}\n"
    assert read_by_both(("#mtree\n" + line % ("a", 5) + nested + line % ("c", 5)).encode())
    assert read_by_both(("#mtree\n" + line % ("a", 5) + nested + line % ("c", 6)).encode()) is None


@given(trees(), st.data())
def test_both_take_and_refuse_the_same(entries: tuple[Entry, ...], data: st.DataObject) -> None:
    """What one renders the other reads alike, and of what is broken both refuse the same."""
    raw = render_manifest(entries)
    assert read_by_both(raw) is not None
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 4)))
    odd = st.sampled_from([b"", b"\n", b" ", b"/", b"\\", b"\\134", b"0", b"-", b"=", b"./", b"a"])
    read_by_both(raw[:start] + data.draw(odd | st.binary(max_size=2)) + raw[end:])


def test_bundle_example() -> None:
    """The example's bundle is what the manifest says, to both, and its blobs are those of the files."""
    raw, bundle = page.example("bundled-manifest"), page.example("bundle")
    members = page.example_json("bundle-members")
    assert f"The package `{values.tree_of(raw)[0]}`:" in page.PAGE
    assert f"The {len(bundle)} bytes of the bundle" in page.PAGE
    lines = read_by_both(raw)
    assert lines is not None
    offsets = packages.bundle_offsets(lines)
    assert {
        f"./{line.path.decode()}": [*offsets[line.words["contents"]]]
        for line in lines
        if line.words["contents"] in offsets
    } == members
    found = bundle_members(parse_manifest(raw))
    assert {member.blob: (member.offset, member.size) for member in found} == offsets
    for member in found:
        assert values.tree_of(bundle[member.offset :][: member.size])[0] == member.blob
    assert sum(member.size for member in found) == len(bundle)
    assert packages.EMPTY == EMPTY_BLOB
    assert values.tree_of(bytes(131_073))[0] == lines[-1].words["contents"]


@given(st.lists(st.integers(0, 40), max_size=40))
def test_both_find_the_same_bundle(numbers: list[int]) -> None:
    """Where each small blob stands is the same to both, whatever the package; the largest are not small."""
    raw = render_manifest(
        File(b"%d" % place, 0o444, 1 + 5_000 * number, 0, BlobId(f"{number:064x}"))
        for place, number in enumerate(numbers)
    )
    offsets = packages.bundle_offsets(packages.parse(raw))
    assert {each.blob: (each.offset, each.size) for each in bundle_members(parse_manifest(raw))} == offsets
    assert bool(offsets) == (len({number for number in numbers if 5_000 * number < 131_072}) >= 8)


def test_the_second_implementation_stands_alone() -> None:
    """It knows nothing of blobfs: else it would prove nothing."""
    text = (ROOT / "tests/formats/packages.py").read_text(encoding="utf-8")
    assert "import blobfs" not in text
    assert "from blobfs" not in text
