"""The command line as a whole."""

import subprocess
import sys
from pathlib import Path

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
