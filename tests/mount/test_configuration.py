"""A node whose settings stand in a file."""

import subprocess
from pathlib import Path

from tests.mount.conftest import StartNode
from tests.mount.probes import blobfs, put


def test_a_node_from_a_file(start_node: StartNode, tmp_path: Path):
    """All that it needs may stand there, the mountpoint too; paths are below the file's directory."""
    a = start_node("a", listen=True)
    put(a, "name", b"content")
    (tmp_path / "mnt").mkdir()
    (tmp_path / "node.toml").write_text(
        f'mountpoint = "mnt"\nstore = "store"\nlog_level = "error"\n[[share]]\nurl = "{a.url}"\n'
    )
    done = blobfs("mount", "--config", tmp_path / "node.toml", "--background")
    try:
        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / "mnt/name").read_bytes() == b"content"
    finally:
        subprocess.run(["fusermount3", "-uz", tmp_path / "mnt"], timeout=20, check=False)
    assert (tmp_path / "store/share").is_dir()
    assert (tmp_path / "store/log").read_text() == ""


def test_what_is_typed_is_stronger(start_node: StartNode, tmp_path: Path):
    """A node of a test, with a file beside its flags and mount options."""
    (tmp_path / "node.toml").write_text(
        'mountpoint = "elsewhere"\nstore = "elsewhere-too"\nread_only = true\n[load]\nfill = "idle"\n'
    )
    arguments = ["--config", str(tmp_path / "node.toml"), "--no-read-only"]
    node = start_node(options=["fill=never"], arguments=arguments)
    assert put(node, "name", b"content")
    assert not (tmp_path / "elsewhere-too").exists()


def test_a_refused_file(tmp_path: Path):
    """Exit code 2, a line for each mistake, and nothing is made; from the background as well."""
    (tmp_path / "mnt").mkdir()
    file = tmp_path / "node.toml"
    file.write_text('mountpoint = "mnt"\nstore = "store"\n[load]\nmax_tries = 0\n[spaces]\n')
    for background in ([], ["--background"]):
        done = blobfs("mount", "--config", file, *background)
        assert done.returncode == 2
        assert done.stderr.splitlines() == [
            f"Error: {file}:4: load.max_tries: expected a whole number from 1 on, found 0",
            f"Error: {file}:5: spaces: unknown; did you mean space?",
        ]
    assert not (tmp_path / "store").exists()


def test_nothing_says_where_to_mount(tmp_path: Path):
    """Neither an argument nor a file."""
    done = blobfs("mount", "--store", tmp_path / "store")
    assert (done.returncode, done.stderr) == (
        2, "Error: mountpoint: nothing says where to mount: give a mountpoint\n",
    )  # fmt: skip
