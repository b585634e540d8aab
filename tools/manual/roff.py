"""Text as manual pages have it: man(7). Pure."""

import re
from collections.abc import Iterable, Iterator

_ESCAPES = {"\\": r"\e", "-": r"\-", "~": r"\(ti", "^": r"\(ha", "'": r"\(aq", "`": r"\(ga"}
_CODE = re.compile(r"`([^`]+)`")
_WORD = re.compile(r"[^\s,/|\[\]]+")

Row = tuple[str, str]


def escape(text: str) -> str:
    """So that it is shown as it stands, also at the beginning of a line."""
    shown = "".join(_ESCAPES.get(char, char) for char in text)
    return rf"\&{shown}" if shown.startswith(".") else shown


def bold(text: str) -> str:
    return rf"\fB{escape(text)}\fP"


def italic(text: str) -> str:
    return rf"\fI{escape(text)}\fP"


def prose(text: str) -> str:
    """One paragraph; what stands in backquotes is typed, so it is bold."""
    parts = _CODE.split(" ".join(text.split()))
    return "".join(bold(part) if place % 2 else escape(part) for place, part in enumerate(parts))


def paragraphs(text: str) -> Iterator[str]:
    """Lines of a text whose paragraphs are apart. One that begins with a backspace stays as it is set."""
    for number, paragraph in enumerate(text.strip().split("\n\n")):
        if number:
            yield ".PP"
        if paragraph.startswith("\b"):
            yield from (".nf", *map(escape, paragraph.removeprefix("\b").strip("\n").splitlines()), ".fi")
        else:
            yield prose(paragraph)


def usage(words: str) -> str:
    """Of a command or an option: what is typed as it stands is bold, what it stands for is italic."""
    return _WORD.sub(lambda match: bold(match[0]) if match[0].startswith("-") else italic(match[0]), words)


def definitions(rows: Iterable[Row]) -> Iterator[str]:
    """A list of words, and what each means."""
    for term, meaning in rows:
        yield ".TP"
        yield term
        yield prose(meaning)
