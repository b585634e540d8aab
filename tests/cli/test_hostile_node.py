"""Nodes that were taken over, or are none: anybody can mount what calls itself blobfs, and root asks it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from blobfs.cli import status as command
from blobfs.cli.main import main
from blobfs.cli.watch_poll import Seen
from blobfs.cli.watch_view import view
from blobfs.errors import StartRefused
from tests.cli.statuses import bucket, dead_share, failure, share, status, transfer

EVIL = "\x1b[31m\r\n\x07\u202e"

WORDS = frozenset(["circuit", "kind", "phase"])
"""What is not told as it is."""


def hostile(found: Any, key: str = "") -> Any:
    """The same answer, with every text longer by what a terminal obeys, and the keys that are told."""
    match found:
        case str():
            return found if key in WORDS else found + EVIL
        case list():
            return [hostile(one) for one in found]
        case dict():
            told = key in ("errors", "failures", "requests")
            return {name + EVIL if told else name: hostile(value, name) for name, value in found.items()}
    return found


BUSY = status(
    operations={"read": 5, "errors": {"EIO": 3}},
    transfers=[transfer("a"), transfer(None), transfer("b", last_error="it hangs")],
    shares=[share("http://a/", history=[bucket(3.0, 9)], struck_for="b"), dead_share()],
    failures=[failure("a/b")],
)


def control_characters(text: str) -> set[str]:
    return {char for char in text if not char.isprintable()} - {"\n"}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Seen]:
    """What `status` finds."""
    nodes = {"one": Seen("one", hostile(BUSY)), "two" + EVIL: Seen("two" + EVIL, trouble="no" + EVIL)}

    def look(mountpoint: str | None, before: Mapping[str, Seen]) -> dict[str, Seen]:
        return nodes

    monkeypatch.setattr(command, "look", look)
    return nodes


def test_status_is_text(seen: dict[str, Seen]) -> None:
    """No answer makes a terminal do anything, and no line of it is more than one."""
    found = CliRunner().invoke(command.status, [])
    assert r"/mnt/models\x1b[31m\r\n\x07\u202e  ready" in found.output
    assert r"Error: no\x1b[31m" in found.output
    assert control_characters(found.output) == set()


def test_watching_is_text(seen: dict[str, Seen]) -> None:
    """The same, where it is drawn."""
    console = Console(width=250, height=200, color_system=None, force_terminal=True)
    with console.capture() as captured:
        console.print(view(list(seen.values()), 0.0, 250, None))
    assert r"ready\x1b[31m" in captured.get()
    assert control_characters(captured.get()) == set()


def test_a_refusal_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a node says when it refuses, too. Its lines stay lines: a configuration has several mistakes."""

    def refuse(*_: object) -> None:
        raise click.ClickException(str(StartRefused("first: \x1b[31mred\nsecond")))

    monkeypatch.setattr(command, "look", refuse)
    found = CliRunner().invoke(main, ["status"])
    assert found.output == "Error: first: \\x1b[31mred\nsecond\n"


def test_a_name_that_was_typed_is_text(tmp_path: Path) -> None:
    """Names are found by completion and by wildcards, so who types them does not know them."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "blobfs", "status", f"{tmp_path}/\x1b[31m"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == f"Error: no blobfs is mounted on {tmp_path}/\\x1b[31m\n"
