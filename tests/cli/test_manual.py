"""The manual pages: one for each command that people call, of what the command says itself."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from blobfs.cli.main import main
from tests.structure import ROOT
from tools.manual.roff import paragraphs, prose, usage
from tools.manual.sections import sections_of


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, as the script writes them."""
    directory = tmp_path_factory.mktemp("manual") / "man"
    command = [str(ROOT / "tools/man"), str(directory)]
    environment = {**os.environ, "BLOBFS_PYTHON": sys.executable}
    done = subprocess.run(
        command, cwd="/", env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.split()) == sorted(map(str, directory.iterdir()))
    return directory


def test_every_command_has_its_page(manual: Path) -> None:
    """With its synopsis, its options, its exit codes and what to read next; the first page lists them all."""
    assert isinstance(main, click.Group)
    names = main.list_commands(click.Context(main))
    assert {path.name for path in manual.iterdir()} == {"blobfs.1", *(f"blobfs-{name}.1" for name in names)}
    overview = (manual / "blobfs.1").read_text()
    for name in names:
        page = (manual / f"blobfs-{name}.1").read_text()
        for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", '"EXIT STATUS"', '"SEE ALSO"'):
            assert f"\n.SH {section}\n" in page
        assert prose(f"`blobfs-{name}`") in overview
        command = main.get_command(click.Context(main), name)
        assert command is not None
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert any(usage(flag) in page for flag in option.opts), (name, option.opts)


def test_nothing_is_said_of_commands_that_are_not_there() -> None:
    """Also no page is referred to that is not written."""
    ours = {"blobfs", *(f"blobfs-{name}" for name in main.list_commands(click.Context(main)))}
    for page in ours:
        also = sections_of(page)["SEE ALSO"]
        assert isinstance(also, str)
        told = {word.strip("`,").partition("`")[0] for word in also.split()}
        assert {name for name in told if name.startswith("blobfs")} <= ours
        assert "`(1)" in also or page == "blobfs"


def test_man_finds_nothing_wrong(manual: Path) -> None:
    """Where there is a formatter: it sets each page without a warning."""
    formatter = shutil.which("groff") or "true"
    for page in sorted(manual.iterdir()):
        command = [formatter, "-man", "-Tutf8", "-ww", "-rLL=80n", str(page)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, ""), page


def test_text_is_shown_as_it_stands() -> None:
    """Whatever a formatter would take for its own; what stands in backquotes is bold."""
    assert prose(".a 'b' -c \\d ~e") == r"\&.a \(aqb\(aq \-c \ed \(tie"
    assert prose("see `blobfs load -h`\n  then") == r"see \fBblobfs load \-h\fP then"
    assert usage("-c, --check FILE") == r"\fB\-c\fP, \fB\-\-check\fP \fIFILE\fP"
    assert list(paragraphs("a\nb\n\n\b\n  c\n  d")) == ["a b", ".PP", ".nf", "  c", "  d", ".fi"]
