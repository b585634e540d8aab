"""What a faulty share does to each request: faults, and the scripts that choose among them. Pure.

A script is a string. Each request takes the next letter, with the number behind it if there is one; after
the last one it begins again. Seeded, it is chance that can be had again::

    ..s100.f              the third request stalls after 100 bytes, the fifth has a flipped byte
    random:7:p=0.3        three requests in ten meet some fault
    random:7:p=0.3:of=sr  and it is one of these

A plan has a script for each kind of path, in the order in which they are asked: ``blob=..s100;record=e503``.
What it does not name is served as it should be; a plan of one script without a kind is for all of them.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle

RIGHT = "."


class PathKind(StrEnum):
    """What stands under a path of a share (docs/formats.md, 3)."""

    RECORD = "record"
    LOG = "log"
    BLOB = "blob"
    TREE = "tree"
    NAMED = "named"

    @classmethod
    def of(cls, path: str) -> "PathKind":
        if path.endswith("/.blobfs-log"):
            return cls.LOG
        starts = {"/.blobfs/names/": cls.RECORD, "/.blobfs/blobs/": cls.BLOB, "/.blobfs/trees/": cls.TREE}
        return next((kind for start, kind in starts.items() if path.startswith(start)), cls.NAMED)


@dataclass(frozen=True, slots=True)
class Kind:
    """One letter of a script."""

    meaning: str
    default: int = 0
    choices: tuple[int, ...] = (0,)
    """Of the number, for scripts of chance."""


_AFTER = (0, 1, 100, 8_192, 100_000, 131_072, 131_073, 1_000_000)
"""Bytes of a body: nothing, a bit, a leaf, part of a chunk, a chunk, more than one."""

KINDS = {
    RIGHT: Kind("as it should be"),
    "a": Kind("absent: 404"),
    "b": Kind("busy: 429, Retry-After n seconds", 1, (0, 1, 2)),
    "c": Kind("closed after n bytes of the body", 0, _AFTER),
    "d": Kind("dripping: n bytes of the body every tenth of a second", 1_000, (500, 5_000, 50_000, 500_000)),
    "e": Kind("status n", 500, (403, 500, 502, 503)),
    "f": Kind(
        "byte n of the body flipped, counted round and round", 0, (0, 1, 8_191, 70_000, 131_072, 999_999)
    ),
    "g": Kind("garbage, not HTTP"),
    "h": Kind("half a head, then silence"),
    "i": Kind("a byte flipped in every n-th chunk of the file", 10, (1, 3, 10)),
    "k": Kind("as it should be, then closed though it said to keep the connection"),
    "l": Kind("n bytes longer than asked for, and says so", 1, (1, 8_192, 131_072)),
    "m": Kind("moved: redirected elsewhere"),
    "n": Kind("no head: closed at once"),
    "o": Kind("redirected to itself"),
    "r": Kind("reset after n bytes of the body", 0, _AFTER),
    "s": Kind("stalling after n bytes of the body", 0, _AFTER),
    "t": Kind("taken, never answered"),
    "u": Kind("under its size: the file n bytes shorter than it is", 1, (1, 100, 8_192)),
    "v": Kind("200 with everything, whatever the range"),
    "w": Kind("Content-Range n bytes off", 1, (1, 8_192, 131_072)),
    "x": Kind("n more bytes behind the body, and the connection is kept", 1, (1, 50, 5_000)),
    "y": Kind("endless body"),
    "z": Kind("gzip, though identity was asked for"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request."""

    letter: str
    number: int = 0

    def __str__(self) -> str:
        return self.letter if self.number == KINDS[self.letter].default else f"{self.letter}{self.number}"


Script = Iterator[Fault]
Plan = dict[PathKind, Script]

_STEP = re.compile(r"([.a-z])(\d*)")
_RANDOM = re.compile(r"random:(?P<seed>[^:]+):p=(?P<chance>[0-9.]+)(:of=(?P<letters>[a-z]+))?")


def parse_plan(text: str) -> Plan:
    """Raises ValueError for what is no plan."""
    plan: Plan = {kind: cycle([Fault(RIGHT)]) for kind in PathKind}
    for part in filter(None, text.split(";")):
        kind, equals, script = part.partition("=")
        if equals and kind in set(PathKind):
            plan[PathKind(kind)] = parse_script(script)
        else:
            plan.update({kind: parse_script(part, kind) for kind in PathKind})
    return plan


def parse_script(text: str, salt: str = "") -> Script:
    """`salt` makes two scripts of chance with one seed differ."""
    if (match := _RANDOM.fullmatch(text)) is not None:
        letters = match["letters"] or "".join(KINDS)
        return _by_chance(random.Random(match["seed"] + salt), float(match["chance"]), letters)
    steps = _STEP.findall(text)
    if not text or "".join(letter + number for letter, number in steps) != text:
        raise ValueError(f"not a script: {text!r}")
    return cycle([_fault(letter, number) for letter, number in steps])


def _fault(letter: str, number: str) -> Fault:
    if letter not in KINDS:
        raise ValueError(f"no fault is called {letter!r}")
    return Fault(letter, int(number) if number else KINDS[letter].default)


def _by_chance(chance: random.Random, probability: float, letters: str) -> Script:
    wrong = sorted(set(letters) - {RIGHT})
    for letter in wrong:
        _fault(letter, "")
    while True:
        # Always three draws: the next request's fault does not depend on this one's.
        draw, letter, place = chance.random(), chance.choice(wrong), chance.random()
        choices = KINDS[letter].choices
        yield Fault(letter, choices[int(place * len(choices))]) if draw < probability else Fault(RIGHT)
