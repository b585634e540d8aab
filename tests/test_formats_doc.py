"""docs/formats.md is true: its examples and tables, blobfs and a second implementation agree.

tests/formats/values.py and node.py are that implementation, written from the page alone. What each reads of
what the other one writes, in a store and over HTTP, is tested in tests/formats/.
"""

import importlib
from hashlib import sha256
from typing import Any

import pytest

from blobfs import merkle, model, record
from blobfs.shares import answer_rules, log_tail
from blobfs.shares.packed import unpack
from blobfs.shares.retry_rules import RULES
from blobfs.store import marks
from tests.formats import page, values
from tests.formats.page import LARGE, SMALL
from tests.structure import ROOT


def blobfs_tree(content: bytes) -> merkle.Tree:
    hasher = merkle.StreamHasher()
    hasher.append(content)
    return hasher.finish()


def blob_id(content: bytes) -> str:
    return blobfs_tree(content).root


def is_taken_by_blobfs(line: str) -> bool:
    try:
        record.decode_record(line.encode("utf-8", "surrogatepass"))
    except model.Invalid:
        return False
    return True


def is_taken_by_stranger(line: str) -> bool:
    try:
        values.parse_record(line.encode("utf-8", "surrogatepass"))
    except values.Refused:
        return False
    return True


# 1. Blob id and tree file


@pytest.mark.parametrize(
    ("content", "size", "blob"), page.table("### 1.4 Vectors"), ids=lambda cell: cell[:8]
)
def test_vectors(content: str, size: str, blob: str) -> None:
    """The ids in the table are those of the definition, and blobfs' own."""
    raw = b"" if content == "none" else bytes.fromhex(content) * int(size)
    assert values.tree_of(raw)[0] == blob_id(raw) == blob


def test_small_example() -> None:
    """The bytes in the page are what is hashed for the small blob."""
    hashed = page.example_hex("small-leaf")
    assert hashed == values.node_prefix(0, 0, len(SMALL)) + SMALL
    assert values.tree_of(SMALL)[0] in page.PAGE
    assert blob_id(SMALL) == values.tree_of(SMALL)[0]


def test_large_example() -> None:
    """Sizes, offsets and hashes of the two-level tree."""
    example = page.example_json("large-tree")
    blob, tree = values.tree_of(LARGE)
    assert (len(LARGE), blob, len(tree)) == (example["size"], example["blob"], example["tree_size"])
    assert sha256(tree).hexdigest() == example["tree_sha256"]
    assert [tuple(level[key] for key in ("level", "offset", "length")) for level in example["levels"]] == (
        values.levels_of(len(LARGE))
    )
    for each in example["hashes"]:
        assert tree[each["offset"] :][:32].hex() == each["hash"], each
    assert blobfs_tree(LARGE) == merkle.Tree(model.BlobId(blob), len(LARGE), tree)
    assert [
        {"level": found.number, "hashes": found.digests, "nodes": found.nodes, "offset": found.offset}
        | {"length": found.length}
        for found in reversed(merkle.Geometry(len(LARGE)).levels)
    ] == example["levels"]


def test_prefixes_in_the_text() -> None:
    """What the page says is hashed in front of a node's bytes."""
    assert values.node_prefix(0, 257 * 8192, 1).hex(" ") == "00 20 20 00 00 00 00 00 01 00 00 00"
    assert values.node_prefix(2, 0, 64).hex(" ") == "02 00 00 00 00 00 00 00 00 20 00 00"
    for part in ("`00 20 20 00 00 00 00 00`, `01 00 00 00`", "`02 00 00 00 00 00 00 00`, `00 20 00 00`"):
        assert part in page.PAGE


def test_range_example() -> None:
    """The example's bytes need exactly the nodes and leaves that the page names, and are verified by them."""
    example = page.example_json("large-range")
    blob, tree = values.tree_of(LARGE)
    asked: dict[str, list[list[int]]] = {"tree": [], "blob": []}

    def fetch(what: str, source: bytes) -> values.Fetch:
        def fetched(offset: int, length: int) -> bytes:
            asked[what].append([offset, length])
            return source[offset : offset + length]

        return fetched

    offset, length = example["offset"], example["length"]
    found = values.read_range(blob, len(LARGE), offset, length, fetch("tree", tree), fetch("blob", LARGE))
    assert found == LARGE[offset : offset + length]
    assert asked == {"tree": example["tree"], "blob": [example["blob"]]}


@pytest.mark.parametrize("where", [0, 40, 64, 8256, 8319])
def test_a_wrong_node_is_refused(where: int) -> None:
    """Whatever byte of the tree is wrong, a range below it cannot be read."""
    blob, tree = values.tree_of(LARGE)
    wrong = bytearray(tree)
    wrong[where] ^= 1
    with pytest.raises(values.Refused):
        values.read_range(
            *(blob, len(LARGE), 0, len(LARGE)),
            lambda offset, length: bytes(wrong[offset : offset + length]),
            lambda offset, length: LARGE[offset : offset + length],
        )


# 2. Names


def test_names() -> None:
    """The page's names are valid and written in URLs as it says; the others are refused."""
    example = page.example_json("names")
    for name, url in example["valid"].items():
        values.check_name(name)
        assert model.parse_name(name) == name
        assert values.url_path(name) == model.url_path(name) == url
    for name in example["refused"]:
        with pytest.raises(values.Refused):
            values.check_name(name)
        with pytest.raises(model.Invalid):
            model.parse_name(name)


@pytest.mark.parametrize(
    ("name", "is_valid"),
    [("x" * 255, True), ("é" * 128, False), ("x/" * 511 + "xy", True), ("x/" * 512 + "x", False)],
)
def test_lengths_of_names(name: str, is_valid: bool) -> None:
    """255 bytes a component, 1,024 in all: bytes, not characters."""
    for check, refusal in ((values.check_name, values.Refused), (model.parse_name, model.Invalid)):
        try:
            check(name)
        except refusal:
            assert not is_valid
        else:
            assert is_valid


# 4. and 5. Records and logs


def test_record_example() -> None:
    """The example is what blobfs writes, byte for byte, and what it means."""
    raw = page.example("record")
    found = record.BlobRecord(
        *(model.BlobId(blob_id(SMALL)), len(SMALL), 0o444, 1700000000000000000, 1767323045000000006)
    )
    assert len(raw) == 205 + 1
    assert record.encode_record(found) == raw
    assert record.decode_record(raw) == found
    assert values.ns_of(values.parse_record(raw)["published"]) == found.published_ns
    assert values.ns_of(values.parse_record(raw)["mtime"]) == found.mtime_ns


@pytest.mark.parametrize("line", page.example_lines("accepted-records"))
def test_accepted_records(line: str) -> None:
    """What the page says a reader takes."""
    assert is_taken_by_blobfs(line)
    assert is_taken_by_stranger(line)


@pytest.mark.parametrize("line", page.example_lines("refused-records"))
def test_refused_records(line: str) -> None:
    """What the page says a reader refuses."""
    assert not is_taken_by_blobfs(line)
    assert not is_taken_by_stranger(line)


def test_times() -> None:
    """Both read times alike, from the first day to the last."""
    for text in ("0001-01-01T00:00:00Z", "1969-12-31T23:59:59.9Z", "9999-12-31T23:59:59.999999999+00:00"):
        assert values.ns_of(text) == record.parse_time(text)


def test_log_example() -> None:
    """Read at once or in two steps, the log says what the page says, to blobfs and to the second reader."""
    raw, example = page.example("log"), page.example_json("log-steps")
    steps, at_once = log_tail.LogReading(), log_tail.LogReading()
    for reading, text in ((steps, raw[: example["end"]]), (at_once, raw)):
        reading.begin_whole()
        assert reading.feed(text)
        assert reading.finish()
    assert (steps.offset, len(steps.entries)) == (example["end"], 2)
    assert example["range"] == f"bytes={steps.resume_offset}-"
    steps.begin_tail()
    assert steps.feed(raw[steps.resume_offset :])
    assert steps.finish()
    for reading in (steps, at_once):
        last = {name: type(unpack(packed)).__name__ for name, packed in reading.entries.items()}
        assert {name: kind.removesuffix("Record").lower() for name, kind in last.items()} == example["then"]
    header, *lines = raw.splitlines()
    assert steps.known is not None
    assert values.parse_header(header) == steps.known.generation
    stranger = dict(values.parse_lines(lines, 0))
    assert {name: entry["kind"] for name, entry in stranger.items()} == example["then"]


# 6. HTTP


def test_statuses() -> None:
    """The table's statuses are counted as it says."""
    rows = page.table("### 6.3 How an answer is read")
    redirects = next(row[0] for row in rows if row[1] == "followed")
    outcomes = {
        int(status): outcome
        for statuses, outcome, _ in rows
        if outcome not in ("followed", "below")
        for status in statuses.split(", ")
        if status.isdigit()
    }
    for status, outcome in outcomes.items():
        assert RULES[answer_rules.kind_of_status(status)].outcome.value == outcome
    assert set(answer_rules.ABSENT_STATUS | answer_rules.REFUSED_STATUS | answer_rules.BUSY_STATUS) == (
        outcomes.keys()
    )
    assert redirects.removesuffix(" with Location") == ", ".join(
        map(str, sorted(answer_rules.REDIRECT_STATUS))
    )


# 11. Constants, and the page itself


@pytest.mark.parametrize(("name", "module", "text", "meaning"), page.table("## 11. Constants"))
def test_constants(name: str, module: str, text: str, meaning: str) -> None:
    """The table says what the code does."""
    value: Any = getattr(importlib.import_module(module), name)
    if isinstance(value, bytes):
        assert value == text.encode().decode("unicode_escape").encode()
    else:
        assert value == (text if isinstance(value, str) else int(text, 0))


def test_marks() -> None:
    """The table names the attributes that blobfs uses, and no others."""
    named = {row[0] for row in page.table("### 10.3 Extended attributes")} - {""}
    values = vars(marks).values()
    used = {value for value in values if isinstance(value, str) and value.startswith("user.blobfs.")}
    assert named == used


def test_the_second_implementation_stands_alone() -> None:
    """It knows nothing of blobfs: else it would prove nothing."""
    for name in ("values", "node"):
        text = (ROOT / f"tests/formats/{name}.py").read_text(encoding="utf-8")
        assert "import blobfs" not in text
        assert "from blobfs" not in text


@pytest.mark.parametrize("path", ["README.md", "docs/formats.md"])
def test_links_lead_somewhere(path: str) -> None:
    """Files that are linked are there, and sections have the names that links give them."""
    text = (ROOT / path).read_text(encoding="utf-8")
    assert page.links(text)
    for link in page.links(text):
        target, _, anchor = link.partition("#")
        linked = (ROOT / path).parent / target if target else ROOT / path
        assert linked.exists(), link
        assert not anchor or anchor in page.anchors(linked.read_text(encoding="utf-8")), link
