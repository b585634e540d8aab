"""docs/embedding.md: its programs run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from blobfs import errors
from blobfs.sync import commands, durations
from blobfs.sync.thread import DRAIN_WITHIN, SyncThread
from tests.servers.nginx import Nginx
from tests.structure import ROOT

PAGE = (ROOT / "docs/embedding.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SHARE = "http://10.0.0.5:8970/"
RUN_SECONDS = 30.0


def test_there_is_a_program_for_threads_and_one_for_trio() -> None:
    """None is overlooked."""
    assert [("SyncThread" in program, "open_service" in program) for program in PROGRAMS] == [
        (True, False),
        (False, True),
    ]


@pytest.mark.parametrize("program", PROGRAMS, ids=["threads", "trio"])
def test_a_program_works(tmp_path: Path, program: str) -> None:
    """It loads what another node shares, and shares what it has."""
    with SyncThread(tmp_path / "other") as other, Nginx(tmp_path / "other" / "share") as nginx:
        other.interface.share_blob("models/a.gguf", b"content").result(RUN_SECONDS)
        assert SHARE in program
        (tmp_path / "photo.jpg").write_bytes(b"a photo")
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program.replace(SHARE, nginx.url)],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
    share = tmp_path / "store" / "share"
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == str(share / "models/a.gguf")
    assert (share / "models/a.gguf").read_bytes() == b"content"
    assert list((share / "notes").iterdir()) != []


def test_errors_exist() -> None:
    """Every error that the page names is one of ours, or Python's."""
    table = PAGE.partition("## Errors")[2].partition("## Measurements")[0]
    named = set(re.findall(r"`([A-Z][A-Za-z]+)`", table)) - {"ValueError"}
    assert {name for name in named if not hasattr(errors, name)} == set()
    assert len(named) > 10


def test_numbers() -> None:
    """Those of the page are those of the program."""
    assert f"{commands.CAPACITY:,} commands long" in " ".join(PAGE.split())
    assert f"{commands.CONCURRENT} run at a time" in " ".join(PAGE.split())
    assert f"({DRAIN_WITHIN:g}) to end" in " ".join(PAGE.split())
    assert durations.BOUNDS == (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)


def test_lines_have_one_length() -> None:
    """Prose is wrapped like the other pages."""
    prose = [line for line in PAGE.splitlines() if not line.startswith("|")]
    assert [line for line in prose if len(line) > 120] == []
