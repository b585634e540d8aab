"""docs/configuration.md is true: its example, its reference, and the line that each mistake leads to."""

import re
import shlex
from pathlib import Path

import pytest

from blobfs.config.sources import read_sources
from blobfs.errors import ConfigRefused
from tests.config.reference import reference
from tests.structure import ROOT

PAGE = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
MISTAKES = re.findall(r"^\| (`.*`) \| `(.*)` \|$", PAGE.split("\n## Mistakes\n")[1], re.MULTILINE)
HOME = "/etc/blobfs"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """As the page says of /etc/blobfs."""
    for name, text, mode in (
        ("token", "secret", 0o600),
        ("models.token", "secret", 0o600),
        ("open-to-all", "secret", 0o644),
        ("ca.pem", "-----BEGIN CERTIFICATE-----\n", 0o644),
        ("key.pem", "-----BEGIN PRIVATE KEY-----\n", 0o600),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    return tmp_path


def refused(directory: Path, text: str) -> str:
    """What is printed for a file that says so, or for what is typed."""
    file, options, flags = None, [], {}
    if text.startswith("-"):
        name, value = shlex.split(text)
        if name == "-o":
            options = [value]
        else:
            flags = {name.removeprefix("--"): [value] if name == "--share" else value}
    else:
        file = directory / "node.toml"
        file.write_text(f"{text}\n")
    with pytest.raises(ConfigRefused) as refusal:
        read_sources(None, file, options, flags)
    return str(refusal.value).replace(str(directory), HOME)


@pytest.mark.parametrize(("written", "printed"), MISTAKES)
def test_the_line_of_a_mistake(directory: Path, written: str, printed: str) -> None:
    """It says where the mistake is and what was expected, and is the only one."""
    text = "\n".join(line.strip("`") for line in written.split("<br>"))
    assert refused(directory, text) == printed


def test_there_are_many() -> None:
    """No two are the same, and all sections have some."""
    assert len(dict(MISTAKES)) == len(MISTAKES) >= 30
    assert len({printed for _, printed in MISTAKES}) == len(MISTAKES)


def test_all_settings_are_on_the_page() -> None:
    """As `python -m tests.config.reference` prints them."""
    assert PAGE.split("\n## All settings\n\n")[1].split("\n## ")[0] == reference()


def test_the_examples_are_right(directory: Path) -> None:
    """Each is a file without a mistake and without a warning."""
    examples = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) >= 2
    for example in examples:
        (directory / "example.toml").write_text(example)
        assert read_sources(None, directory / "example.toml", (), {}).warnings == ()
