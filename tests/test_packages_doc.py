"""docs/packages.md says what the table of a transaction says, and nothing else."""

import errno
import re

from blobfs.bundle import BUNDLE_FROM
from blobfs.config.settings import LoadSettings
from blobfs.manifest import MAX_NESTING
from blobfs.sync.packages.transition import TABLE, Event, Rule, State
from tests.structure import ROOT

PAGE = (ROOT / "docs/packages.md").read_text()
WORDS = {8: "eight", 13: "thirteen", 16: "16", 6: "six"}

FROM_THE_DISK = {"OUT_OF_SPACE", "UNSPECIFIED_IO", "INTERNAL"}
"""Words for what is no event of a transaction."""


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def shown(state: State, rule: Rule) -> str:
    """What comes of an event, as a cell has it."""
    words = []
    if rule.error is not None:
        words.append(errno.errorcode[rule.error.errno])
    if rule.state is not state:
        words.append(f"**{rule.state}**")
    return ", ".join(words) or "–"


def table() -> list[str]:
    """The table on the page: a row for each event, a column for each state."""
    rows = ["| | " + " | ".join(State) + " |", "|---|" + "---|" * len(State)]
    for event in Event:
        cells = [shown(state, TABLE[state, event]) for state in State]
        rows.append(f"| {event} | " + " | ".join(cells) + " |")
    return rows


def test_the_page_has_every_transition() -> None:
    """Line by line as the code has them."""
    lines = section("Every transition").splitlines()
    assert [line for line in lines if line.startswith("|")] == table()


def test_the_page_counts_them() -> None:
    """Six states, thirteen events, and how many transitions lead elsewhere."""
    moves = sum(rule.state is not state for (state, _), rule in TABLE.items())
    words = " ".join(section("Every transition").split())
    assert (
        f"one of {WORDS[len(State)]} states, and {WORDS[len(Event)]} things can happen to it: "
        f"{len(TABLE)} transitions, of which {WORDS[moves]} lead to another state"
    ) in words


def test_the_page_has_every_status() -> None:
    """Each word of the protocol stands with the errno that its callers get."""
    said: dict[str, set[str]] = {}
    for line in section("Every call").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and (word := re.fullmatch(r"`([A-Z_]+)`", cells[3])):
            said.setdefault(word[1], set()).update(re.findall(r"E[A-Z]+", cells[2]))
    known = {rule.status for rule in TABLE.values()} - {"OK"}
    assert set(said) == known | FROM_THE_DISK
    for rule in TABLE.values():
        if rule.error is not None:
            assert errno.errorcode[rule.error.errno] in said[rule.status]


def test_the_numbers_on_the_page() -> None:
    """Nesting, bundles, expiry."""
    words = " ".join(PAGE.split())
    assert f"nested more than {MAX_NESTING} deep" in words
    assert f"at least {WORDS[BUNDLE_FROM]} of them" in words
    assert f"A package with {WORDS[BUNDLE_FROM]} small blobs or more" in words
    assert LoadSettings().abandoned_after == 24 * 3600
    assert "`abandoned_after` (a day;" in words


def test_lines_have_one_length() -> None:
    """Prose is wrapped like the other pages; tables and commands are not prose."""
    prose = [line for line in PAGE.splitlines() if not line.startswith(("|", " ", "blobfs "))]
    assert [line for line in prose if len(line) > 120] == []
