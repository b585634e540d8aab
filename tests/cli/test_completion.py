"""What a shell completes: by a real bash, and as click is asked by it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from blobfs.cli import arguments
from blobfs.cli.main import main
from blobfs.fuse.mountinfo import FS_TYPE, Mount
from tests.structure import ROOT

COMPLETE = """
source completion
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_blobfs_completion blobfs
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the command, so that a shell finds this one."""
    command = tmp_path / "bin/blobfs"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -P -m blobfs "$@"\n')
    command.chmod(0o755)
    return tmp_path


def in_shell(place: Path, *command: str) -> str:
    environment = {**os.environ, "PATH": f"{place}/bin:{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_in_bash(place: Path) -> None:
    """Commands with their beginnings, options of a command, what is mounted, and the shells' names."""
    (place / "completion").write_text(in_shell(place, "blobfs", "completion", "bash"))

    def completed(*words: str) -> list[str]:
        return in_shell(place, "bash", "-euc", COMPLETE, "bash", "blobfs", *words).split()

    assert completed("un") == ["unmount", "unpin"]
    assert {"--json", "--watch"} <= set(completed("status", "--"))
    assert completed("completion", "") == ["bash", "zsh", "fish"]
    assert completed("status", "/no/such/") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(place: Path, shell: str) -> None:
    """Each asks the command by the variable that it looks at; the shell finds nothing wrong with it."""
    script = in_shell(place, "blobfs", "completion", shell)
    assert f"_BLOBFS_COMPLETE={shell}_complete" in script
    (place / "script").write_text(script)
    if shutil.which(shell):
        assert in_shell(place, shell, "--no-execute" if shell == "fish" else "-n", "script") == ""


def test_mountpoints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As they are begun to be typed: absolute, from the home directory or from here; only ours, and none
    that a shell takes for more than a word."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    mounted = [(f"{tmp_path}/here/a", FS_TYPE), (f"{tmp_path}/b", FS_TYPE), (f"{tmp_path}/c", "ext4")]
    mounted += [(f"{tmp_path}/{evil}", FS_TYPE) for evil in ("d;id", "e$(id)", "f\n", "g h", "i`id`", "j'")]
    mounts = tuple(Mount(path, kind, "store", "0:1") for path, kind in mounted)
    monkeypatch.setattr(arguments, "read_mounts", lambda: mounts)
    status = main.get_command(None, "status")  # type: ignore[arg-type]
    assert status is not None
    ctx = status.make_context("status", [], resilient_parsing=True)

    def completed(typed: str) -> list[str]:
        return [item.value for item in status.params[-1].shell_complete(ctx, typed)]

    assert completed("/") == [f"{tmp_path}/here/a", f"{tmp_path}/b"]
    assert completed("~/") == ["~/here/a", "~/b"]
    assert completed("./") == ["./a"]
    assert completed("a") == ["a"]
    assert completed("x") == []
