"""What stands in docs/formats.md for machines: the fenced examples, the tables, the links."""

import json
import re
from typing import Any

from tests.structure import ROOT

PAGE = (ROOT / "docs/formats.md").read_text(encoding="utf-8")

_EXAMPLE = re.compile(r"^```\w+ example=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)

SMALL = b"hello, blobs\n"
LARGE = (bytes(range(251)) * 8400)[: 2 * 1024 * 1024 + 8193]
"""The blobs of the examples."""

EXAMPLES: dict[str, str] = dict(_EXAMPLE.findall(PAGE))


def example(name: str) -> bytes:
    """As it stands there, with the LF of its last line."""
    return EXAMPLES[name].encode()


def example_json(name: str) -> Any:
    return json.loads(EXAMPLES[name])


def example_hex(name: str) -> bytes:
    return bytes.fromhex(EXAMPLES[name])


def example_lines(name: str) -> list[str]:
    """Without the comments."""
    return [line for line in EXAMPLES[name].splitlines() if not line.startswith("#")]


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head; code spans without their marks."""
    section = PAGE.split(f"\n{heading}\n", 1)[1]
    first = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert first is not None
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in first[0].splitlines()[2:]]
    return [[cell.strip().strip("`") for cell in row] for row in rows]


def links(text: str) -> list[str]:
    """The targets of the links that lead to no other site."""
    return [target for target in _LINK.findall(text) if "://" not in target]


def anchors(text: str) -> set[str]:
    """What the headings of a page are called in links, as GitHub makes it."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(text)}
