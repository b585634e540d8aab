"""blobfs.manifest: one tree has one text, and what is not that text is `Invalid`."""

import random
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobfs.manifest import (
    MAX_MANIFEST_BYTES,
    MAX_PATH_BYTES,
    Directory,
    Entry,
    File,
    Link,
    Manifest,
    Nested,
    parse_manifest,
    render_manifest,
)
from blobfs.model import EMPTY_BLOB, BlobId, Invalid
from blobfs.record import MAX_BLOB_SIZE, MAX_TARGET_BYTES
from tests.formats.trees import FIRST, LAST, SECOND, trees

A, B, C = (BlobId(letter * 64) for letter in "abc")

EXAMPLE = f"""#mtree
./bin type=dir mode=0755
./bin/tool type=file mode=0755 size=1234 time=1700000000.000000000 contents={A}
./lib type=dir contents={B}
./tool type=link mode=0777 link=bin/tool
""".encode()

FILE = f"type=file mode=0644 size=1 time=0.000000000 contents={A}".encode()


def manifest_of(*lines: bytes) -> bytes:
    return b"".join(line + b"\n" for line in (b"#mtree", *lines))


def file_line(path: bytes = b"./a", **values: object) -> bytes:
    fields = {"mode": "0644", "size": 1, "time": "0.000000000", "contents": A} | values
    return b" ".join([path, b"type=file", *(f"{key}={value}".encode() for key, value in fields.items())])


def parsed(*lines: bytes) -> tuple[Entry, ...]:
    """The entries of these lines, which must render as they were."""
    raw = manifest_of(*lines)
    entries = parse_manifest(raw).entries
    assert render_manifest(entries) == raw
    return entries


def refusal(raw: bytes) -> str:
    with pytest.raises(Invalid) as refused:
        parse_manifest(raw)
    return str(refused.value)


def test_the_example() -> None:
    """Each type of line is read as what it says, and rendered as it was."""
    entries = parse_manifest(EXAMPLE).entries
    assert entries == (
        Directory(b"bin", 0o755),
        File(b"bin/tool", 0o755, 1234, 1_700_000_000 * SECOND, A),
        Nested(b"lib", B),
        Link(b"tool", b"bin/tool"),
    )
    assert render_manifest(entries) == EXAMPLE


def test_the_empty_package() -> None:
    """A package without entries has the first line alone."""
    assert parse_manifest(b"#mtree\n") == Manifest(())
    assert render_manifest([]) == b"#mtree\n"


def test_blobs_and_packages() -> None:
    """Each is told once, in the order of the paths; a package may be content too."""
    found = Manifest(
        (
            File(b"a", 0o644, 7, 0, C),
            Nested(b"b", B),
            File(b"c", 0o644, 0, 0, EMPTY_BLOB),
            File(b"d", 0o644, 3, 0, B),
            Nested(b"e", A),
            File(b"f", 0o755, 7, 9, C),
            Nested(b"g", B),
        )
    )
    assert parse_manifest(render_manifest(found.entries)) == found
    assert list(found.blobs().items()) == [(C, 7), (EMPTY_BLOB, 0), (B, 3)]
    assert found.packages() == [B, A]


# What is written reads back


@given(trees(), st.randoms(use_true_random=False))
def test_entries_round_trip(entries: tuple[Entry, ...], shuffler: random.Random) -> None:
    """Any entries, in whatever order they come, have one text, and it reads back as they were."""
    shuffled = list(entries)
    shuffler.shuffle(shuffled)
    raw = render_manifest(shuffled)
    assert raw == render_manifest(entries)
    assert parse_manifest(raw) == Manifest(entries)


PIECES = [
    b"\n",
    b" ",
    b"/",
    b"./",
    b"\\",
    b"\\040",
    b"\\141",
    b"\\000",
    b"-",
    b"0",
    b"=",
    b"#",
    b".",
    b"\xff",
]


@given(trees(max_size=4), st.data())
def test_mutations_render_identically_or_are_refused(entries: tuple[Entry, ...], data: st.DataObject) -> None:
    """Whatever happens to its bytes: Invalid, or what is read renders as the same bytes."""
    raw = render_manifest(entries)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(raw)))
        end = data.draw(st.integers(start, min(len(raw), start + 6)))
        raw = raw[:start] + data.draw(st.sampled_from(PIECES) | st.binary(max_size=3)) + raw[end:]
    check_canonical_or_refused(raw)


@given(trees(), st.data())
def test_lines_in_disorder_render_identically_or_are_refused(
    entries: tuple[Entry, ...], data: st.DataObject
) -> None:
    """Lines that are left out, repeated or moved: refused, or another package."""
    head, *lines = render_manifest(entries).splitlines(keepends=True)
    if lines:
        lines = data.draw(st.lists(st.sampled_from(lines), max_size=8))
    check_canonical_or_refused(b"".join([head, *lines]))


@given(st.binary(max_size=200) | st.binary(max_size=80).map(lambda raw: b"#mtree\n" + raw))
def test_any_bytes_are_refused(raw: bytes) -> None:
    """Bytes that are nothing at all raise Invalid and nothing else."""
    check_canonical_or_refused(raw)


def check_canonical_or_refused(raw: bytes) -> None:
    try:
        found = parse_manifest(raw)
    except Invalid:
        return
    assert render_manifest(found.entries) == raw


@pytest.mark.parametrize("byte", range(256))
def test_a_byte_has_one_spelling(byte: int) -> None:
    """In paths and targets: itself from ! to ~ but for backslash, # and =; else its escape; NUL has none."""
    raw = bytes([byte])
    escape = f"\\{byte:03o}".encode()
    is_plain = 0x21 <= byte <= 0x7E and raw not in b"\\#="
    right, wrong = (raw, escape) if is_plain else (escape, raw)
    directory, link = b"./a%bb type=dir mode=0755", b"./a type=link mode=0777 link="
    for around in (directory, link + b"%b", link + b"x%bx"):
        refusal(manifest_of(around % wrong))
        if byte == 0:
            assert "NUL" in refusal(manifest_of(around % right))
        elif raw != b"/" or around is not directory:
            (entry,) = parsed(around % right)
            assert raw in (entry.target if isinstance(entry, Link) else entry.path)


@pytest.mark.parametrize(
    ("time", "ns"),
    [
        ("0.000000000", 0),
        ("0.000000001", 1),
        ("-1.999999999", -1),
        ("-1.500000000", -500_000_000),
        ("-2.500000000", -1_500_000_000),
        ("-1.000000000", -SECOND),
        ("1700000000.123456789", 1_700_000_000_123_456_789),
        ("-62135596800.000000000", FIRST),
        ("253402300799.999999999", LAST),
    ],
)
def test_times(time: str, ns: int) -> None:
    """The second before a moment and nanoseconds from there, from the year 1 to 9999."""
    (entry,) = parsed(file_line(time=time))
    assert isinstance(entry, File)
    assert entry.mtime_ns == ns


def test_order_is_that_of_the_bytes() -> None:
    """Paths go up byte by byte, unescaped: neither the escapes nor the components count."""
    raw = render_manifest(
        Directory(path, 0o755) for path in (b"a/b", b"a.d", b"a", b"a b", b"~", b"\xff", b"A")
    )
    order = [line.partition(b" ")[0] for line in raw.splitlines()[1:]]
    assert order == [b"./A", b"./a", b"./a\\040b", b"./a.d", b"./a/b", b"./~", b"./\\377"]


def test_limits_are_reached() -> None:
    """The largest of everything is taken: a path, a component, a target, a size, a mode."""
    deep = b"/".join([b"d" * 255] * 16)
    parents = [deep[: 256 * depth - 1] for depth in range(1, 17)]
    assert len(deep) == MAX_PATH_BYTES - 1
    *_, last = parse_manifest(render_manifest(Directory(path, 0o777) for path in parents)).entries
    assert last.path == deep
    long = Link(b"\xff" * 255, b"\xff" * MAX_TARGET_BYTES)
    assert parse_manifest(render_manifest([long])).entries == (long,)
    parsed(file_line(size=MAX_BLOB_SIZE, mode="0000"))


# Refusals


@pytest.mark.parametrize(
    ("raw", "line", "reason"),
    [
        (b"", 1, "not #mtree"),
        (b"#mtree", 1, "not #mtree"),
        (b"#mtree \n", 1, "not #mtree"),
        (b"#mtree\r\n", 1, "not #mtree"),
        (b"#mtree v2.0\n", 1, "not #mtree"),
        (b"\xef\xbb\xbf#mtree\n", 1, "not #mtree"),
        (b"./a type=dir mode=0755\n", 1, "not #mtree"),
        (b"#mtree\n\n", 2, "does not begin with ./"),
        (b"#mtree\n\n./a type=dir mode=0755\n", 2, "does not begin with ./"),
        (b"#mtree\n./a type=dir mode=0755", 2, "no line feed"),
        (b"#mtree\n./a type=dir mode=0755\n./b type=dir", 3, "no line feed"),
        (b"#mtree\n./a type=dir mode=0755\r\n", 2, "no canonical mode="),
        (b"#mtree\n./a type=dir mode=0755\n#mtree\n", 3, "does not begin with ./"),
        (b"#mtree\n# a comment\n", 2, "does not begin with ./"),
        (b"#mtree\n/set type=file\n", 2, "does not begin with ./"),
        (b"#mtree\n..\n", 2, "does not begin with ./"),
        (b"#mtree\n. type=dir mode=0755\n", 2, "does not begin with ./"),
        (b"#mtree\na type=dir mode=0755\n", 2, "does not begin with ./"),
        (b"#mtree\nx/a type=dir mode=0755\n", 2, "does not begin with ./"),
        (b"#mtree\n/a type=dir mode=0755\n", 2, "does not begin with ./"),
        (b"#mtree\n ./a type=dir mode=0755\n", 2, "does not begin with ./"),
    ],
)
def test_refused_texts(raw: bytes, line: int, reason: str) -> None:
    """The first line, the ends of lines, and what is no entry."""
    message = refusal(raw)
    assert message.startswith(f"line {line}: ")
    assert reason in message


WORDS = "keywords other than"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        # paths
        (b"./ type=dir mode=0755", "a path of 0 bytes"),
        (b"./. type=dir mode=0755", "component . or .."),
        (b"./.. type=dir mode=0755", "component . or .."),
        (b"./d/.. type=dir mode=0755", "component . or .."),
        (b"./d/../x type=dir mode=0755", "parent"),
        (b".// type=dir mode=0755", "empty component"),
        (b".//x type=dir mode=0755", "empty component"),
        (b"./x/ type=dir mode=0755", "empty component"),
        (b"./d//x type=dir mode=0755", "empty component"),
        (b"./d type=dir mode=0755", "a path that is there already"),
        (b"./c type=dir mode=0755", "out of order"),
        (b"./x/y type=dir mode=0755", "parent"),
        (b"./d/x/y type=dir mode=0755", "parent"),
        (b"./" + b"x" * 256 + b" type=dir mode=0755", "component of 256 bytes"),
        (b"./" + b"\\377" * 256 + b" type=dir mode=0755", "component of 256 bytes"),
        (b"./" + b"x/" * 2048 + b"x type=dir mode=0755", "a path of 4097 bytes"),
        (b"./" + b"\\377" * 4097 + b" type=dir mode=0755", "limit is 4096 bytes"),
        # escapes
        (b"./x\\000 type=dir mode=0755", "NUL"),
        (b"./x\\ type=dir mode=0755", "without three octal digits"),
        (b"./x\\40 type=dir mode=0755", "without three octal digits"),
        (b"./x\\048 type=dir mode=0755", "without three octal digits"),
        (b"./x\\400 type=dir mode=0755", "without three octal digits"),
        (b"./x\\n type=dir mode=0755", "without three octal digits"),
        (b"./x\\s type=dir mode=0755", "without three octal digits"),
        (b"./x\\x20 type=dir mode=0755", "without three octal digits"),
        (b"./x\\\\ type=dir mode=0755", "without three octal digits"),
        (b"./x\\141 type=dir mode=0755", "needs none"),
        (b"./d\\057x type=dir mode=0755", "needs none"),
        (b"./x#y type=dir mode=0755", "must be escaped"),
        (b"./x=y type=dir mode=0755", "must be escaped"),
        (b"./x\ty type=dir mode=0755", "must be escaped"),
        (b"./x\ry type=dir mode=0755", "must be escaped"),
        (b"./x\x7fy type=dir mode=0755", "must be escaped"),
        ("./é type=dir mode=0755".encode(), "must be escaped"),
        # keywords
        (b"./x", WORDS),
        (b"./x ", WORDS),
        (b"./x mode=0755", WORDS),
        (b"./x type=dir", WORDS),
        (b"./x type=dir mode=0755 ", WORDS),
        (b"./x  type=dir mode=0755", WORDS),
        (b"./x type=dir  mode=0755", WORDS),
        (b"./x\ttype=dir mode=0755", "must be escaped"),
        (b"./x type=dir mode=0755 uid=0", WORDS),
        (b"./x type=dir optional mode=0755", WORDS),
        (b"./x mode=0755 type=dir", WORDS),
        (b"./x type=dir mode=0755 mode=0755", WORDS),
        (f"./x type=dir mode=0755 contents={B}".encode(), WORDS),
        (f"./x type=dir contents={B} mode=0755".encode(), WORDS),
        (b"./x type=dir mode=0755 time=0.000000000", WORDS),
        (b"./x type=DIR mode=0755", WORDS),
        (b"./x type=fifo mode=0755", WORDS),
        (b"./x type=char mode=0755 device=native,1,3", WORDS),
        (b"./x TYPE=dir mode=0755", WORDS),
        (b"./x " + FILE + b" uid=0", WORDS),
        (b"./x " + FILE.replace(b"mode=0644 size=1", b"size=1 mode=0644"), WORDS),
        (b"./x " + FILE.replace(b" size=1", b""), WORDS),
        (b"./x " + FILE.partition(b" contents")[0], WORDS),
        # values
        (b"./x type=dir mode=755", "no canonical mode="),
        (b"./x type=dir mode=00755", "no canonical mode="),
        (b"./x type=dir mode=0758", "no canonical mode="),
        (b"./x type=dir mode=1755", "no canonical mode="),
        (b"./x type=dir mode=u=rwx", "no canonical mode="),
        (b"./x type=dir mode=", "no canonical mode="),
        (b"./x type=dir contents=", "no canonical contents="),
        (f"./x type=dir contents={'A' * 64}".encode(), "no canonical contents="),
        (f"./x type=dir contents={'a' * 63}".encode(), "no canonical contents="),
        (f"./x type=dir contents={'a' * 65}".encode(), "no canonical contents="),
        (f"./x type=dir contents=./{B}".encode(), "no canonical contents="),
        (file_line(b"./x", mode="4755"), "no canonical mode="),
        (file_line(b"./x", mode="2755"), "no canonical mode="),
        (file_line(b"./x", contents="g" * 64), "no canonical contents="),
        (file_line(b"./x", size="01"), "no canonical size="),
        (file_line(b"./x", size="+1"), "no canonical size="),
        (file_line(b"./x", size="-1"), "no canonical size="),
        (file_line(b"./x", size="0x1"), "no canonical size="),
        (file_line(b"./x", size="1_0"), "no canonical size="),
        (file_line(b"./x", size="\u0661"), "no canonical size="),
        (file_line(b"./x", size=""), "no canonical size="),
        (file_line(b"./x", size="1" * 30), "no canonical size="),
        (file_line(b"./x", size=MAX_BLOB_SIZE + 1), "the limit is 17592186044416"),
        (file_line(b"./x", size=0), "a file of 0 bytes cannot"),
        (file_line(b"./x", size=1, contents=EMPTY_BLOB), "a file of 1 bytes cannot"),
        (file_line(b"./x", size=2, contents=C), "this blob has 7 bytes"),
        (file_line(b"./x", time="0"), "no canonical time="),
        (file_line(b"./x", time="0."), "no canonical time="),
        (file_line(b"./x", time=".000000000"), "no canonical time="),
        (file_line(b"./x", time="0.00000000"), "no canonical time="),
        (file_line(b"./x", time="0.0000000000"), "no canonical time="),
        (file_line(b"./x", time="-0.000000000"), "no canonical time="),
        (file_line(b"./x", time="-0.500000000"), "no canonical time="),
        (file_line(b"./x", time="+1.000000000"), "no canonical time="),
        (file_line(b"./x", time="01.000000000"), "no canonical time="),
        (file_line(b"./x", time="-01.000000000"), "no canonical time="),
        (file_line(b"./x", time="1.-00000001"), "no canonical time="),
        (file_line(b"./x", time="1e9.000000000"), "no canonical time="),
        (file_line(b"./x", time="9999999999999.000000000"), "no canonical time="),
        (file_line(b"./x", time="-62135596801.999999999"), "the years 1 to 9999"),
        (file_line(b"./x", time="253402300800.000000000"), "the years 1 to 9999"),
        # links
        (b"./x type=link mode=0755 link=a", "no canonical mode="),
        (b"./x type=link link=a", WORDS),
        (b"./x type=link mode=0777", WORDS),
        (b"./x type=link mode=0777 link=", "a target of 0 bytes"),
        (b"./x type=link mode=0777 link=a b", WORDS),
        (b"./x type=link mode=0777 link=a=b", "must be escaped"),
        (b"./x type=link mode=0777 link=a\\000", "NUL"),
        (b"./x type=link mode=0777 link=" + b"a" * 4096, "a target of 4096 bytes"),
        (b"./x type=link mode=0777 link=" + b"\\001" * 4096, "limit is 4095 bytes"),
    ],
)
def test_refused_lines(line: bytes, reason: str) -> None:
    """Each is the only thing wrong in its manifest; the message has its number, the reason and its begin."""
    before = (file_line(b"./b", size=7, contents=C), b"./d type=dir mode=0755")
    parsed(*before)
    message = refusal(manifest_of(*before, line))
    start, _, shown = message.rpartition(": ")
    assert start.startswith("line 4: ")
    assert reason in start
    assert len(shown) <= 80
    assert shown.isprintable()
    assert shown.isascii()


@pytest.mark.parametrize(
    "parent", [file_line(), b"./a type=link mode=0777 link=/etc", f"./a type=dir contents={B}".encode()]
)
def test_only_plain_directories_have_something_in_them(parent: bytes) -> None:
    """No entry stands in a file, behind a link or in a nested package."""
    parsed(parent)
    message = refusal(manifest_of(parent, b"./a/x type=dir mode=0755"))
    assert message.startswith("line 3: without a line before it that makes its parent a plain directory")


def test_only_the_begin_of_a_line_is_shown() -> None:
    """A message has at most 80 characters of the line, however long it is, and nothing a terminal obeys."""
    assert refusal(manifest_of(b"x" * 81)).endswith(": " + "x" * 77 + "...")
    assert refusal(manifest_of(b"x" * 80)).endswith(": " + "x" * 80)
    assert refusal(manifest_of(b"\x1b[2J\xe9\r")).endswith(": ?[2J??")


def test_a_manifest_over_its_limit() -> None:
    """It is refused by its length, before a line is read."""
    assert f"the limit is {MAX_MANIFEST_BYTES}" in refusal(bytes(MAX_MANIFEST_BYTES + 1))


@pytest.mark.parametrize(
    "entry",
    [
        Directory(b"", 0o755),
        Directory(b"/x", 0o755),
        Directory(b"..", 0o755),
        Directory(b"x\0", 0o755),
        Directory(b"no/parent", 0o755),
        Directory(b"x", 0o1755),
        Directory(b"x", -1),
        File(b"x", 0o644, -1, 0, A),
        File(b"x", 0o644, 0, 0, A),
        File(b"x", 0o644, MAX_BLOB_SIZE + 1, 0, A),
        File(b"x", 0o644, 1, FIRST - 1, A),
        File(b"x", 0o644, 1, LAST + 1, A),
        File(b"x", 0o644, 1, 0, BlobId("A" * 64)),
        File(b"x", 0o644, 1, 0, BlobId("é" * 64)),
        File(b"x", 0o644, 1, 0, BlobId(f"{A}\n./y type=dir mode=0755")),
        Link(b"x", b""),
        Link(b"x", b"a\0b"),
        Link(b"x", b"a" * 4096),
        Nested(b"x", BlobId("")),
    ],
)
def test_what_cannot_be_read_is_not_written(entry: Entry) -> None:
    """render_manifest refuses what parse_manifest would, and values that would become other entries."""
    with pytest.raises(Invalid):
        render_manifest([entry])


@pytest.mark.parametrize(
    "entries",
    [
        [Link(b"x", b"a"), Link(b"x", b"b")],
        [File(b"x", 0o644, 1, 0, A), File(b"y", 0o644, 2, 0, A)],
        [Nested(b"x", A), Link(b"x/y", b"a")],
    ],
)
def test_entries_that_contradict_each_other_are_not_written(entries: list[Entry]) -> None:
    """One path twice, one blob of two sizes, something in a nested package."""
    with pytest.raises(Invalid, match="line 3: "):
        render_manifest(entries)


def test_many_files() -> None:
    """Twenty thousand files in two hundred directories come back as they were."""
    entries: list[Entry] = [Directory(b"d%03d" % d, 0o755) for d in range(200)]
    entries += [
        File(b"d%03d/f %d" % (d, f), 0o644, 1 + f, f, BlobId(sha256(b"%d" % f).hexdigest()))
        for d in range(200)
        for f in range(100)
    ]
    found = parse_manifest(render_manifest(reversed(entries)))
    assert set(found.entries) == set(entries)
    assert len(found.blobs()) == 100
