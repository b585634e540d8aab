"""The line of every key of a TOML document. `tomllib` says what is in a document, and not where.

Only for a document that `tomllib` has accepted: nothing is checked here, the text is only cut at the right
places. A place in a document is a path: keys, and the numbers of elements, from 0 on. Of a table that is
opened several times the first line counts.
"""

import re
import tomllib
from bisect import bisect
from collections.abc import Mapping

Place = tuple[str | int, ...]

_GAP = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'""")
_STRING = re.compile(
    r'''"""(?:[^\\]|\\.)*?"""{1}"{0,2}'''  # two quotes more at the end belong to it
    r"""|\'\'\'.*?\'\'\''{0,2}"""
    r"""|"(?:[^"\\]|\\.)*"|'[^']*'""",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]+")


def find_lines(text: str) -> Mapping[Place, int]:
    """The line, from 1 on, where each key and each element of a list begins."""
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.read_document()
    return scanner.lines


class _Scanner:
    """Reads on from `_at`. `_counts` is how many tables a list of tables has so far."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Place, int] = {}
        self._text = text
        self._at = 0
        self._ends = [match.start() for match in re.finditer("\n", text)]
        self._counts: dict[Place, int] = {}

    def read_document(self) -> None:
        table: Place = ()
        while following := self._skip(_GAP):
            table = self._read_header() if following == "[" else self._read_pair(table)

    def _read_header(self) -> Place:
        line = self._line()
        is_list = self._text.startswith("[[", self._at)
        self._at += 2 if is_list else 1
        keys = self._read_keys()
        self._at += 2 if is_list else 1
        table: Place = ()
        for number, key in enumerate(keys, 1):
            table = (*table, key)
            self.lines.setdefault(table, line)
            if is_list and number == len(keys):
                self._counts[table] = self._counts.get(table, 0) + 1
            if table in self._counts:
                table = (*table, self._counts[table] - 1)
                self.lines.setdefault(table, line)
        return table

    def _read_pair(self, table: Place) -> Place:
        """Returns the table again."""
        line = self._line()
        place = table
        for key in self._read_keys():
            place = (*place, key)
            self.lines.setdefault(place, line)
        self._at += 1  # the equals sign
        self._skip(_BLANK)
        self._read_value(place)
        return table

    def _read_keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(_BLANK)
            key = self._take(_KEY)
            keys.append(tomllib.loads(f"key = {key}")["key"] if key[0] in "\"'" else key)
            self._skip(_BLANK)
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _read_value(self, place: Place) -> None:
        if self._text[self._at] == "[":
            self._read_list(place)
        elif self._text[self._at] == "{":
            self._read_inline_table(place)
        else:
            self._take(_STRING if self._text[self._at] in "\"'" else _SCALAR)

    def _read_list(self, place: Place) -> None:
        self._at += 1
        number = 0
        while self._skip(_GAP) != "]":
            if self._text[self._at] != ",":
                self.lines[*place, number] = self._line()
                self._read_value((*place, number))
                number += 1
            else:
                self._at += 1
        self._at += 1

    def _read_inline_table(self, place: Place) -> None:
        self._at += 1
        while self._skip(_GAP) != "}":
            if self._text[self._at] != ",":
                self._read_pair(place)
            else:
                self._at += 1
        self._at += 1

    def _line(self) -> int:
        return bisect(self._ends, self._at - 1) + 1

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None, f"not TOML at character {self._at}"
        self._at = match.end()
        return match[0]

    def _skip(self, pattern: re.Pattern[str]) -> str:
        """Returns the character behind it, nothing at the end."""
        self._take(pattern)
        return self._text[self._at : self._at + 1]
