"""A second implementation of docs/formats.md, from the page alone: its bytes. Pure.

It imports nothing of blobfs, and where the page leaves a choice it takes the simplest. Section numbers are
the page's. `Refused` is everything a reader refuses.
"""

import json
import re
import struct
from collections.abc import Callable, Iterator
from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import quote

LEAF = 8192
CHUNK = 16 * LEAF

Record = dict[str, Any]
Fetch = Callable[[int, int], bytes]
"""Offset and length to bytes."""


class Refused(Exception):
    """Not usable by the rules of the page."""


# 1. Blob id and tree file


def node_prefix(level: int, offset: int, length: int) -> bytes:
    return struct.pack("<QI", offset | level, length if level == 0 else LEAF)


def node_hash(level: int, node: int, content: bytes) -> bytes:
    return sha256(node_prefix(level, node * LEAF, len(content)) + content.ljust(LEAF, b"\0")).digest()


def hashes_of_nodes(level: int, content: bytes) -> bytes:
    nodes = (content[at : at + LEAF] for at in range(0, len(content), LEAF))
    return b"".join(node_hash(level, number, node) for number, node in enumerate(nodes))


def tree_of(content: bytes) -> tuple[str, bytes]:
    """The blob id and the tree file."""
    if not content:
        return sha256(bytes(12)).hexdigest(), b""
    level, hashes, tree = 0, hashes_of_nodes(0, content), b""
    while len(hashes) > 32:
        level, tree = level + 1, hashes + tree
        hashes = hashes_of_nodes(level, hashes)
    return hashes.hex(), tree


def levels_of(size: int) -> list[tuple[int, int, int]]:
    """Of each level in the tree file, topmost first: its number, its offset, its length."""
    lengths = []
    count = max(1, -(-size // LEAF))
    while count > 1:
        lengths.append(count * 32)
        count = -(-count // 256)
    return [(n + 1, sum(lengths[n + 1 :]), lengths[n]) for n in reversed(range(len(lengths)))]


def read_range(blob: str, size: int, offset: int, length: int, tree: Fetch, content: Fetch) -> bytes:
    """1.6, for at least one byte."""
    first, last = offset // LEAF, (offset + length - 1) // LEAF
    expected = {0: bytes.fromhex(blob)}
    for level, start, total in levels_of(size):
        below: dict[int, bytes] = {}
        for node in range(first // 256**level, last // 256**level + 1):
            hashes = tree(start + node * LEAF, min(LEAF, total - node * LEAF))
            if node_hash(level, node, hashes) != expected[node] or hashes.endswith(bytes(32)):
                raise Refused(f"node {node} of level {level}")
            below |= {256 * node + i // 32: hashes[i : i + 32] for i in range(0, len(hashes), 32)}
        expected = below
    start = first * LEAF
    leaves = content(start, min((last + 1) * LEAF, size) - start)
    for leaf in range(first, last + 1):
        if node_hash(0, leaf, leaves[leaf * LEAF - start :][:LEAF]) != expected[leaf]:
            raise Refused(f"leaf {leaf}")
    return leaves[offset - start :][:length]


# 2. Names


def check_name(name: str) -> None:
    try:
        parts = [part.encode() for part in name.split("/")]
    except UnicodeEncodeError:
        raise Refused("surrogates") from None
    for part in parts:
        if not 1 <= len(part) <= 255 or part in (b".", b"..") or b"\0" in part or part.startswith(b".blobfs"):
            raise Refused(name)
    if len(b"/".join(parts)) > 1024:
        raise Refused("too long")


def url_path(name: str) -> str:
    return "".join(c if re.match(r"[A-Za-z0-9._~/-]", c) else quote(c, safe="") for c in name)


# 4. and 5. Records and logs


def ns_of(time: object) -> int:
    match = isinstance(time, str) and re.fullmatch(
        r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)", time, re.ASCII
    )
    if not match:
        raise Refused("time")
    try:
        days_and_seconds = datetime.fromisoformat(match[1]) - datetime(1970, 1, 1)
    except ValueError:
        raise Refused("time") from None
    seconds = days_and_seconds.days * 86400 + days_and_seconds.seconds
    return seconds * 10**9 + int((match[2] or "0").ljust(9, "0"))


def parse_object(raw: bytes) -> Record:
    def refuse(word: str) -> None:
        raise Refused(word)

    try:
        found = json.loads(raw.decode(), parse_constant=refuse)
    except ValueError:
        raise Refused("not JSON") from None
    if len(raw) > 32768 or not isinstance(found, dict):
        raise Refused("too long, or no object")
    return found


def parse_record(raw: bytes, depth: int = 1024, in_log: bool = False) -> Record:
    """`depth`: the directories above the name."""
    record = parse_object(raw)
    kind, size, mode = (record.get(key) for key in ("kind", "size", "mode"))
    if type(record.get("v")) is not int or record["v"] != 1:
        raise Refused("v")
    ns_of(record.get("published"))
    if kind in ("symlink", "dir"):
        ns_of(record.setdefault("mtime", record["published"]))
    if kind == "blob":
        ns_of(record.get("mtime"))
        if not re.fullmatch("[0-9a-f]{64}", str(record.get("blob"))):
            raise Refused("blob")
        if type(size) is not int or not 0 <= size <= 1 << 44 or mode not in ("0444", "0555"):
            raise Refused("size or mode")
    elif kind == "symlink":
        check_target(record.get("target"), depth)
    elif kind != "gone" and not (kind == "dir" and in_log):
        raise Refused("kind")
    return record


def check_target(target: object, depth: int) -> None:
    if not isinstance(target, str) or target.startswith("/") or "\0" in target:
        raise Refused("target")
    try:
        long = len(target.encode()) > 4095
    except UnicodeEncodeError:
        raise Refused("target") from None
    parts = [part for part in target.split("/") if part not in ("", ".")]
    climbing = parts.count("..")
    if long or not target or climbing > depth or any(part != ".." for part in parts[:climbing]):
        raise Refused("target")


def parse_header(line: bytes) -> str:
    header = parse_object(line)
    if type(header.get("log")) is not int or header["log"] != 1 or type(header.get("generation")) is not str:
        raise Refused("no header of a log")
    return str(header["generation"])


def parse_lines(lines: list[bytes], depth: int) -> Iterator[tuple[str, Record]]:
    for line in lines:
        try:
            entry = parse_record(line, depth, in_log=True)
            check_name(str(entry.get("name")))
        except Refused:
            continue
        yield entry["name"], entry


# 10. The store


def chunks_in_map(raw: bytes) -> tuple[int, set[int]]:
    """The size of the blob, and which chunks are here."""
    magic, size = struct.unpack_from("<11sQ", raw)
    chunks = -(-size // CHUNK)
    if magic != b"blobfsmap1\n" or len(raw) != 19 + -(-chunks // 8):
        raise Refused("no map")
    return size, {chunk for chunk in range(chunks) if raw[19 + chunk // 8] >> chunk % 8 & 1}
