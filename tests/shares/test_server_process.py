"""The share server's process: how it starts, ends, and is replaced."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from blobfs.config.settings import ServeSettings
from blobfs.errors import ConfigRefused
from blobfs.model import BlobId
from blobfs.shares.listening import bind_listener, shown_address
from blobfs.shares.parts import Part
from blobfs.shares.server_process import END_SECONDS, ShareServer
from tests.servers.authority import Authority
from tests.shares.asking import ask

LIMIT_SECONDS = 20.0
"""A process starts in a second; a loaded machine may need more."""
SOON = 0.01

DAEMON = """
import sys, trio
from pathlib import Path
from blobfs.shares.listening import bind_listener, shown_address
from blobfs.config.settings import ServeSettings
from blobfs.shares.server_process import ShareServer

class Nothing:
    def part_of(self, blob):
        return None

async def main():
    listener = bind_listener("127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        await nursery.start(ShareServer(Path(sys.argv[1]), listener, ServeSettings()).run, Nothing())
        print(shown_address(listener), flush=True)

trio.run(main)
"""


class NoParts:
    """A node that loads nothing."""

    def part_of(self, blob: BlobId) -> Part | None:
        return None


NOTHING = NoParts()


@pytest.fixture
def share(tmp_path: Path) -> Path:
    share = tmp_path / "share"
    share.mkdir()
    (share / "name").write_bytes(b"content")
    return share


@asynccontextmanager
async def running(share: Path) -> AsyncIterator[str]:
    """A share server in its process; its address."""
    async with serving(share, ServeSettings()) as server:
        yield shown_address(server.listener)


@asynccontextmanager
async def serving(share: Path, settings: ServeSettings) -> AsyncIterator[ShareServer]:
    with bind_listener("127.0.0.1:0") as listener, trio.fail_after(LIMIT_SECONDS):
        async with trio.open_nursery() as nursery:
            server = ShareServer(share, listener, settings, first_delay=SOON)
            await nursery.start(server.run, NOTHING)
            yield server
            nursery.cancel_scope.cancel()


def children_of(pid: int) -> list[int]:
    """The processes whose parent is `pid` and that serve a share."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid and b"blobfs.shares.server" in command:
            found.append(int(entry.name))
    return found


async def wait_gone(pid: int) -> None:
    """Until the process has ended; as a zombie that nobody collects it has, too."""
    with trio.fail_after(LIMIT_SECONDS):
        while _is_alive(pid):  # noqa: ASYNC110  not always a child of ours
            await trio.sleep(SOON)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_serves_in_another_process(share: Path) -> None:
    """The share is served by a child, which is gone when the server is cancelled."""
    async with running(share) as address:
        (child,) = children_of(os.getpid())
        reply = await ask(address, "/name")
        assert (reply.status, reply.body) == (200, b"content")
    assert not _is_alive(child)
    assert children_of(os.getpid()) == []


async def test_nothing_is_imported_from_the_current_directory(
    share: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child runs the daemon's own package, whatever lies where the daemon was started."""
    (tmp_path / "blobfs").mkdir()
    (tmp_path / "blobfs/__init__.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    async with running(share) as address:
        assert (await ask(address, "/name")).body == b"content"


@pytest.mark.parametrize(("number", "level"), [(signal.SIGKILL, "WARNING"), (signal.SIGTERM, "INFO")])
async def test_child_that_died_is_replaced(
    share: Path, caplog: pytest.LogCaptureFixture, number: signal.Signals, level: str
) -> None:
    """The port outlives the child: who asks meanwhile waits, is answered, and the log says it once."""
    caplog.set_level(logging.INFO, "blobfs.shares.server_process")
    async with running(share) as address:
        (child,) = children_of(os.getpid())
        os.kill(child, number)
        await wait_gone(child)
        assert (await ask(address, "/name")).body == b"content"
        (successor,) = children_of(os.getpid())
        assert successor != child
    records = [record for record in caplog.records if record.name == "blobfs.shares.server_process"]
    assert [record.levelname for record in records] == [level]


async def test_child_that_does_not_answer_is_killed(share: Path) -> None:
    """A child that ignores SIGTERM, here because it is stopped, is killed after its time."""
    with trio.fail_after(END_SECONDS + LIMIT_SECONDS):
        async with running(share):
            (child,) = children_of(os.getpid())
            os.kill(child, signal.SIGSTOP)
    assert not _is_alive(child)


async def test_started_although_the_child_cannot_live(
    share: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A child that cannot start is reported, not waited for: the mount goes on without its share server."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    async with running(share):
        assert "ended with code 1" in caplog.text


async def fetch(address: str, authority: Authority, token: str) -> tuple[int, bytes]:
    """Over TLS, with a client that is not ours. Status 0 is no answer."""
    command = [
        "curl",
        "-sS",
        "-w",
        "%{stderr}%{http_code}",
        "--noproxy",
        "*",
        "--cacert",
        str(authority.file),
    ]
    command += ["-m", str(LIMIT_SECONDS), "-H", f"Authorization: Bearer {token}", f"https://{address}/name"]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    return int(done.stderr[-3:]), done.stdout


async def test_certificate_and_token(share: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The child serves over TLS who brings the token, and reads both again when told. It knows their files'
    names only, which is all that the other users of the machine can see of them."""
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    identity = authority.certify(file_name="server")
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("secret-1\n")
    settings = ServeSettings(certificate=identity.certificate, key=identity.key, token_file=token)
    async with serving(share, settings) as server:
        address = shown_address(server.listener)
        assert await fetch(address, authority, "secret-1") == (200, b"content")
        assert (await fetch(address, authority, "secret-2"))[0] == 401
        (child,) = children_of(os.getpid())
        seen = Path(f"/proc/{child}/cmdline").read_bytes() + Path(f"/proc/{child}/environ").read_bytes()
        assert b"secret-1" not in seen

        token.write_text("secret-2\n")
        other.certify(file_name="server")
        server.reload()
        while await fetch(address, other, "secret-2") != (200, b"content"):  # noqa: ASYNC110  another process
            await trio.sleep(SOON)
        assert (await fetch(address, authority, "secret-2"))[0] == 0

        identity.key.write_bytes(b"")
        with pytest.raises(ConfigRefused, match=r"server\.key: not a PEM file"):
            server.reload()
        assert await fetch(address, other, "secret-2") == (200, b"content")
        assert children_of(os.getpid()) == [child]
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


async def test_told_before_it_serves(share: Path, tmp_path: Path) -> None:
    """A child that is not there yet when its files change is told as soon as it is, and does not die of
    it."""
    with bind_listener("127.0.0.1:0") as listener, trio.fail_after(LIMIT_SECONDS):
        async with trio.open_nursery() as nursery:
            server = ShareServer(share, listener, ServeSettings(), first_delay=SOON)
            server.reload()
            await nursery.start(server.run, NOTHING)
            assert (await ask(shown_address(listener), "/name")).body == b"content"
            assert len(children_of(os.getpid())) == 1
            nursery.cancel_scope.cancel()


def test_files_that_cannot_be_read(share: Path, tmp_path: Path) -> None:
    """What a child could not serve with is refused before there is one."""
    settings = ServeSettings(certificate=tmp_path / "gone")
    with bind_listener("127.0.0.1:0") as listener, pytest.raises(ConfigRefused, match="gone: No such file"):
        ShareServer(share, listener, settings)


async def test_child_ends_with_its_daemon(share: Path) -> None:
    """A daemon that is killed takes its share server along: nothing keeps the port."""
    with subprocess.Popen([sys.executable, "-c", DAEMON, share], stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        address = (await trio.to_thread.run_sync(daemon.stdout.readline)).decode().strip()
        (child,) = children_of(daemon.pid)
        assert (await ask(address, "/name")).body == b"content"
        daemon.kill()
    await wait_gone(child)
    with bind_listener(address) as again:
        assert shown_address(again) == address
