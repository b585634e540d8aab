"""``blobfs serve``."""

import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from blobfs.cli.serve import serve

LIMIT_SECONDS = 20
COMMAND = [sys.executable, "-c", "from blobfs.cli.serve import serve; serve(prog_name='blobfs serve')"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "share").mkdir()
    (tmp_path / "share/name").write_bytes(b"content")
    return tmp_path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_until_signalled(store: Path, number: signal.Signals) -> None:
    """In the foreground: one line says where, the share is there, and a signal ends it with 0."""
    arguments = ["--store", str(store), "--listen", "127.0.0.1:0"]
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        assert server.stdout is not None
        line = server.stdout.readline().decode()
        assert line.startswith(f"serving {store}/share on http://127.0.0.1:")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(line.split()[-1] + "name", timeout=LIMIT_SECONDS) as reply:
            assert reply.read() == b"content"
        server.send_signal(number)
        out, err = server.communicate(timeout=LIMIT_SECONDS)
    assert (server.returncode, out, err) == (0, b"", b"")


def test_no_share(tmp_path: Path) -> None:
    """A store without a share is refused in one line."""
    result = CliRunner().invoke(serve, ["--store", str(tmp_path), "--listen", "127.0.0.1:0"])
    assert (result.exit_code, result.stderr) == (
        1,
        f"Error: there is no share to serve at {tmp_path}/share\n",
    )


def test_port_in_use(store: Path) -> None:
    """A port that is taken is refused in one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(serve, ["--store", str(store), "--listen", listen])
    assert result.exit_code == 1
    assert result.stderr == f"Error: cannot listen on {listen}: Address already in use\n"


@pytest.mark.parametrize("arguments", [["--listen", "nonsense"], ["--listen", "::1:80"], []])
def test_wrong_usage(store: Path, arguments: list[str]) -> None:
    """An address that is none, or no address at all, is wrong usage."""
    assert CliRunner().invoke(serve, ["--store", str(store), *arguments]).exit_code == 2
