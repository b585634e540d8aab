"""Who may connect to the control socket."""

import grp
import os
import stat
from pathlib import Path

import pytest

from blobfs.control.access import bind_control
from blobfs.errors import StartRefused

GROUP = "games"
"""A group that every Debian has and nobody is a member of."""


def test_the_owner_alone(tmp_path: Path) -> None:
    """Without a group nobody else may connect."""
    with bind_control(tmp_path, None):
        assert stat.S_IMODE((tmp_path / "control").stat().st_mode) == 0o600


def test_a_group(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its members may connect; a directory that does not let them through is told."""
    number = grp.getgrnam(GROUP).gr_gid
    store = tmp_path / "store"
    store.mkdir(mode=0o700)
    with bind_control(store, GROUP):
        found = (store / "control").stat()
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, number)
        assert f"{store} has no x for it" in caplog.text
    caplog.clear()
    store.chmod(0o710)
    os.chown(store, -1, number)
    with bind_control(store, GROUP):
        assert f"{store} has no x for it" not in caplog.text


def test_a_group_that_is_none(tmp_path: Path) -> None:
    """One line says so, and no socket is left."""
    with pytest.raises(StartRefused, match="this machine has no group 'no-such-group'"):
        bind_control(tmp_path, "no-such-group")
    assert not (tmp_path / "control").exists()


def test_a_store_of_a_long_path(tmp_path: Path) -> None:
    """The path of a socket has at most 107 bytes, that of a store may have more."""
    store = tmp_path / ("long" * 40)
    store.mkdir()
    with bind_control(store, None):
        assert stat.S_ISSOCK((store / "control").stat().st_mode)


def test_a_user_who_may_not_give_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses who is no member of the group; so does the node, in one line."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(StartRefused, match="is no member of 'games'"):
        bind_control(tmp_path, GROUP)
