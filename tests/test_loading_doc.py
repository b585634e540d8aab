"""docs/loading.md says what can be set and what each kind of failure leads to, and nothing else."""

import re
from dataclasses import fields

from blobfs.config.settings import LoadSettings
from blobfs.model import Kind
from blobfs.shares.retry_rules import RULES, Again
from tests.structure import ROOT

PAGE = (ROOT / "docs/loading.md").read_text()


def rows(heading: str) -> dict[str, list[str]]:
    """The cells of a section's table by its first one."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {cells[0].strip().strip("`"): [cell.strip() for cell in cells[1:]] for cells in table}


def shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "no" if value is False else str(value)


def test_every_setting_is_on_the_page_with_its_default() -> None:
    """What ``-o`` takes."""
    found = rows("What can be set")
    assert list(found) == [field.name for field in fields(LoadSettings)]
    for name, (default, meaning) in found.items():
        assert default == shown(getattr(LoadSettings(), name))
        assert meaning


def test_every_kind_of_failure_is_on_the_page_with_its_rule() -> None:
    """As the code has them."""
    found = rows("When a share fails")
    assert set(found) == set(Kind)
    for kind, rule in RULES.items():
        again, counts, *_ = found[kind]
        assert again == ("yes" if rule.ask_again is Again.LATER else "no")
        assert counts == ("yes" if rule.counts_against_share else "no")


def test_what_the_page_calls_a_setting_is_one() -> None:
    """In its text."""
    words = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)(?:=\w+)?`", PAGE))
    assert words - {"last_error"} <= {field.name for field in fields(LoadSettings)}
