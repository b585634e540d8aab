"""What the kernel has for a mount, read from files as the kernel writes them."""

from pathlib import Path

import pytest

from blobfs.fuse.kernel_queue import KernelQueue, read_kernel_queue

FILES = {"waiting": "3\n", "max_background": "512\n", "congestion_threshold": "384\n"}


def connection(directory: Path, files: dict[str, str]) -> Path:
    (directory / "41").mkdir()
    for name, content in files.items():
        (directory / "41" / name).write_text(content)
    return directory


def test_what_waits_and_the_limits(tmp_path: Path) -> None:
    """Three numbers of the connection that is asked for."""
    assert read_kernel_queue("41", connection(tmp_path, FILES)) == KernelQueue(3, 512, 384)


@pytest.mark.parametrize("files", [{}, FILES | {"waiting": ""}, {"waiting": "3\n"}])
def test_what_cannot_be_read_is_not_known(tmp_path: Path, files: dict[str, str]) -> None:
    """No fusectl, another user's connection, a mount that has just gone: no figure and not a wrong one."""
    assert read_kernel_queue("41", connection(tmp_path, files)) is None
    assert read_kernel_queue("42", tmp_path) is None
