"""``blobfs unmount``, run as a program runs it."""

import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from blobfs.cli.unmount import unmount

SECONDS = 20


def test_it_unmounts_and_then_refuses(tmp_path: Path) -> None:
    """Done is silent and 0; a directory that is no blobfs mount is one line on stderr and 1."""
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    command = [sys.executable, "-m", "tests.fuse.memory", str(mountpoint)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as mounted:
        try:
            assert mounted.stdout is not None
            assert mounted.stdout.readline() == b"ready\n"
            done = CliRunner().invoke(unmount, [str(mountpoint)])
            assert (done.exit_code, done.output) == (0, "")
            assert mounted.wait(SECONDS) == 0
        finally:
            mounted.kill()
    again = CliRunner().invoke(unmount, ["--lazy", str(mountpoint)])
    assert (again.exit_code, again.stderr) == (1, f"Error: not a blobfs mount: {mountpoint}\n")


def test_it_wants_a_mountpoint() -> None:
    """Wrong usage is 2."""
    assert CliRunner().invoke(unmount, []).exit_code == 2
