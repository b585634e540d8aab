"""What mount(8) and systemd call: the arguments they pass, and what is left when there is nothing to do."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from blobfs.cli.mount_fstab import find_configuration, split_options
from blobfs.cli.unmounter import unmounter
from blobfs.errors import StartRefused


@pytest.mark.parametrize(
    ("groups", "user", "left"),
    [
        ([], "blobfs", []),
        (["rw,quota=64M", "ro"], "blobfs", ["rw,quota=64M", "ro"]),
        (["rw,run_as=alice,quota=64M"], "alice", ["rw,quota=64M"]),
        (["run_as=alice"], "alice", []),
        (["run_as=alice,nofail", "run_as=bob"], "bob", ["nofail"]),
        (["x-run_as=alice"], "blobfs", ["x-run_as=alice"]),
    ],
)
def test_run_as_is_taken_out_of_the_options(groups: list[str], user: str, left: list[str]) -> None:
    """Who runs the daemon is for the one who mounts; all other options go on as they were grouped."""
    assert split_options(groups) == (user, left)


@pytest.mark.parametrize("group", ["remount", "ro,remount", "remount,quota=1G"])
def test_remount_is_refused(group: str) -> None:
    """Whoever wants to change a mount is told how."""
    with pytest.raises(StartRefused, match="blobfs reload"):
        split_options([group])


def test_configuration_is_a_path_or_a_name() -> None:
    """What has no slash is a name in /etc/blobfs."""
    assert find_configuration("demo") == Path("/etc/blobfs/demo.toml")
    assert find_configuration("./demo") == Path("demo")
    assert find_configuration("/home/a/demo.toml") == Path("/home/a/demo.toml")


def test_unmounter_has_nothing_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was mounted, or somebody has unmounted it already: no error, no word, and no record stays."""
    monkeypatch.delenv("MAINPID", raising=False)
    record = tmp_path / "record"
    for content in (None, bytes(tmp_path)):
        if content is not None:
            record.write_bytes(content)
        done = CliRunner().invoke(unmounter, ["--record", str(record)])
        assert (done.exit_code, done.output) == (0, "")
        assert not record.exists()
