"""The command line as a whole."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from blobfs.cli.main import main

ROOT = Path(__file__).parents[2]


def run(*arguments: str, stdout: str) -> subprocess.CompletedProcess[str]:
    with open(stdout, "w", encoding="utf-8") as out:
        command = [sys.executable, "-m", "blobfs", *arguments]
        return subprocess.run(
            command, cwd=ROOT, stdout=out, stderr=subprocess.PIPE, text=True, timeout=30, check=False
        )


def test_a_full_disk_is_one_line():
    """What cannot be written is an error, in one line and without a traceback."""
    done = run("id", "pyproject.toml", stdout="/dev/full")
    assert (done.returncode, done.stderr) == (1, "Error: No space left on device\n")


def test_no_such_mount_is_one_line(tmp_path: Path):
    """Exit code 1, and what is wrong."""
    done = run("status", str(tmp_path), stdout="/dev/null")
    assert (done.returncode, done.stderr) == (1, f"Error: no blobfs is mounted on {tmp_path}\n")


SLOW_LIBRARIES = {
    "trio",
    "httpx",
    "pyfuse3",
    "xattr",
    "hypercorn",
    "starlette",
    "asyncio",
    "multiprocessing",
    "rich",
    "tomlkit",
    "prometheus_client",
    "cysystemd",
}
"""What mounting and serving need, and what takes long to import."""
MOST_MODULES = 200
"""Python itself and click have about 120; with trio it would be over 400."""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["id", "pyproject.toml"],
        ["status"],
        ["why", "/", "name"],
        ["load", "/", "x"],
        ["pack", "/", "docs"],
    ],
)
def test_commands_start_fast(arguments: list[str]):
    """What does not mount or serve imports only what it needs."""
    command = [sys.executable, "-X", "importtime", "-m", "blobfs", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert "blobfs.cli.main" in imported
    assert imported & SLOW_LIBRARIES == set()
    assert len(imported) < MOST_MODULES


def test_help_reads_well():
    """It fits into 80 columns, every option says what it is for, and every text is whole sentences."""
    assert isinstance(main, click.Group)
    ctx = click.Context(main, info_name="blobfs", terminal_width=80)
    for name in main.list_commands(ctx):
        command = main.get_command(ctx, name)
        assert command is not None
        below = click.Context(command, info_name=name, parent=ctx, terminal_width=80)
        assert max(map(len, command.get_help(below).splitlines())) <= 80, name
        assert (command.help or "").rstrip().endswith((".", ")", "fish")), name
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                record = option.get_help_record(below)
                assert record is not None
                assert record[1].strip(), (name, option.opts)


def test_every_command_can_be_called():
    """What --help lists is there, under the name it lists."""
    assert isinstance(main, click.Group)
    ctx = click.Context(main)
    names = main.list_commands(ctx)
    assert {"mount", "id", "status"} <= set(names)
    for name in names:
        command = main.get_command(ctx, name)
        assert command is not None
        assert command.name == name
        assert f"\n  {name} " in main.get_help(ctx)
