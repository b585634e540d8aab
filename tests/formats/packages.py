"""A second implementation of docs/formats.md, sections 13 and 14, from the page alone. Pure.

Like tests/formats/values.py it imports nothing of blobfs and takes the simplest way.
"""

import re
from dataclasses import dataclass, field

from tests.formats.values import Refused

EMPTY = "15ec7bf0b50732b49f8228e07d24365338f9e3ab994b00af08e5a3bffe55fd8b"


@dataclass
class Line:
    """An entry: its path and what its keywords say."""

    path: bytes
    type: str
    words: dict[str, str] = field(default_factory=dict)

    @property
    def target(self) -> bytes:
        return unescape(self.words["link"])

    @property
    def time_ns(self) -> int:
        second, _, rest = self.words["time"].partition(".")
        return int(second) * 10**9 + int(rest)


KEYWORDS = {
    "dir": (["mode"], ["contents"]),
    "file": (["mode", "size", "time", "contents"],),
    "link": (["mode", "link"],),
}


def parse(raw: bytes) -> list[Line]:
    """13.1 to 13.3."""
    require(len(raw) <= 67_108_864, "length")
    require(raw.isascii(), "a byte that must be escaped")
    head, *rows = raw.decode().split("\n")
    require(head == "#mtree" and rows and rows.pop() == "", "the first line, or the end of the last")
    lines = [parse_line(row) for row in rows]
    check_order(lines)
    check_sizes([line.words for line in lines if line.type == "file"])
    return lines


def require(is_met: object, what: str) -> None:
    if not is_met:
        raise Refused(what)


def parse_line(row: str) -> Line:
    path, *words = row.split(" ")
    pairs = [word.split("=") for word in words]
    require(pairs and all(len(pair) == 2 for pair in pairs) and pairs[0][0] == "type", "keywords")
    found = dict(pairs)
    kind = found.pop("type")
    require(len(pairs) == len(found) + 1 and list(found) in KEYWORDS.get(kind, ()), "keywords")
    require(path.startswith("./"), "path")
    line = Line(unescape(path[2:]), kind, found)
    require(len(line.path) <= 4096, "path")
    for part in line.path.split(b"/"):
        require(1 <= len(part) <= 255 and part not in (b".", b".."), "component")
    check_values(line)
    return line


def check_values(line: Line) -> None:
    words = line.words
    require(re.fullmatch("0[0-7][0-7][0-7]", words.get("mode", "0755")), "mode")
    require(re.fullmatch("[0-9a-f]{64}", words.get("contents", EMPTY)), "contents")
    if line.type == "link":
        require(words["mode"] == "0777" and 1 <= len(line.target) <= 4095, "link")
    if line.type == "file":
        require(is_canonical(words["size"]) and 0 <= int(words["size"]) <= 1 << 44, "size")
        second, _, rest = words["time"].partition(".")
        require(is_canonical(second) and re.fullmatch("[0-9]{9}", rest), "time")
        require(-62135596800 <= int(second) <= 253402300799, "time")


def is_canonical(number: str) -> bool:
    return bool(re.fullmatch("-?[0-9]{1,20}", number)) and str(int(number)) == number


def unescape(text: str) -> bytes:
    """13.2: reads, and writes again what it read."""
    found = bytearray()
    while text:
        length = 4 if text[0] == "\\" else 1
        spelled, text = text[:length], text[length:]
        require(length == 1 or re.fullmatch("[0-3][0-7][0-7]", spelled[1:]), "escape")
        found.append(ord(spelled) if length == 1 else int(spelled[1:], 8))
        plain = 0x21 <= found[-1] <= 0x7E and found[-1] not in b"#=\\"
        require(spelled == (chr(found[-1]) if plain else f"\\{found[-1]:03o}") and found[-1], "escape")
    return bytes(found)


def check_order(lines: list[Line]) -> None:
    paths = [line.path for line in lines]
    require(paths == sorted(set(paths)), "order")
    directories = {line.path for line in lines if line.type == "dir" and "mode" in line.words}
    require(all(b"/" not in path or path[: path.rindex(b"/")] in directories for path in paths), "parent")


def check_sizes(files: list[dict[str, str]]) -> None:
    sizes = {words["contents"]: words["size"] for words in files}
    for words in files:
        require(sizes[words["contents"]] == words["size"], "two sizes")
        require((words["size"] == "0") == (words["contents"] == EMPTY), "size of the empty blob")


def bundle_offsets(lines: list[Line]) -> dict[str, tuple[int, int]]:
    """14: offset and length of each small blob."""
    offsets: dict[str, tuple[int, int]] = {}
    end = 0
    for line in lines:
        if line.type == "file" and 1 <= int(line.words["size"]) <= 131_072:
            size = int(line.words["size"])
            if line.words["contents"] not in offsets:
                offsets[line.words["contents"]] = (end, size)
                end += size
    return offsets if len(offsets) >= 8 else {}
