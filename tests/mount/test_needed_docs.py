"""The shell examples of docs/packages.md and README.md, run as they stand there."""

import os
import re
import sys
from pathlib import Path

from tests.mount.node import BlobfsNode
from tests.mount.packages import is_complete, package_of
from tests.mount.programs import bash
from tests.structure import ROOT

BLOBFS = f'blobfs() {{ PYTHONPATH={ROOT} {sys.executable} -P -m blobfs "$@"; }}; '


def example(page: str, heading: str) -> str:
    """The only shell block of a section."""
    section = (ROOT / page).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    (found,) = re.findall(r"```sh[^\n]*\n(.*?)```", section, re.DOTALL)
    return str(found)


def test_the_session_on_the_page(node: BlobfsNode, tmp_path: Path):
    """docs/packages.md: nested packages are written by it too."""
    inner = package_of({b"x": os.urandom(100)})
    package = package_of({b"bin/tool": os.urandom(300_000), b"empty": b"", b"lib": inner})
    source = tmp_path / "from"
    (source / "blobs").mkdir(parents=True)
    (source / "manifest").write_bytes(package.meta)
    for blob, raw in package.blobs.items():
        (source / "blobs" / blob).write_bytes(raw)
    said = bash(
        f"{BLOBFS} MOUNT={node.mountpoint} FROM={source}; {example('docs/packages.md', 'Making one')}",
        tmp_path,
    )
    assert said.splitlines() == ["need-blobs 3 of 3", "bin", "empty", "lib"]
    assert is_complete(node, package)


def test_the_example_of_the_readme(two_nodes: tuple[BlobfsNode, BlobfsNode], tmp_path: Path):
    """README.md: packed here, run and loaded there."""
    a, b = two_nodes
    tool = tmp_path / "build/bin/hello"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\necho hello\n")
    tool.chmod(0o755)
    (tmp_path / "build/large").write_bytes(os.urandom(300_000))
    mounts = {"mnt": str(a.mountpoint), "mnt2": str(b.mountpoint)}
    script = re.sub(r"\bmnt2?\b", lambda found: mounts[found[0]], example("README.md", "Packages"))
    said = bash(BLOBFS + script, tmp_path).splitlines()
    assert re.fullmatch("[0-9a-f]{64}", said[0])
    assert "hello" in said
    assert (b.store / "packages" / said[0]).is_dir()
