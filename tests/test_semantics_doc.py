"""docs/semantics.md and its tests: every paragraph is quoted by a test, and every quote has its paragraph."""

import ast
import re
from collections.abc import Iterator

from tests.structure import ROOT

PARAGRAPH = re.compile(r"^\*\*\[(S\d+)\] [^*]+\.\*\* \S", re.MULTILINE)
QUOTE = re.compile(r"\[(S\d+)\]")

PAGE = (ROOT / "docs/semantics.md").read_text(encoding="utf-8")


def quotes() -> Iterator[str]:
    """The numbers in the docstrings of all tests of mounts."""
    for path in sorted((ROOT / "tests/mount").glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield from QUOTE.findall(ast.get_docstring(node) or "")


def test_every_paragraph_has_its_test() -> None:
    """What the page says is tested, and a test quotes only what the page says."""
    assert set(PARAGRAPH.findall(PAGE)) == set(quotes())


def test_paragraphs_are_counted() -> None:
    """The numbers are 1, 2, 3 and so on, each once, and stand at the beginning of a paragraph only."""
    numbers = PARAGRAPH.findall(PAGE)
    assert numbers == [f"S{number}" for number in range(1, len(numbers) + 1)]
    assert sorted(QUOTE.findall(PAGE)) == sorted(numbers)


def test_lines_have_one_length() -> None:
    """Prose is wrapped like the other pages."""
    assert [line for line in PAGE.splitlines() if len(line) > 120] == []
