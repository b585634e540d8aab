"""``blobfs serve``."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import IO

import pytest
from click.testing import CliRunner

from blobfs.cli.serve import serve
from tests.servers.authority import Authority

LIMIT_SECONDS = 20
COMMAND = [sys.executable, "-c", "from blobfs.cli.serve import serve; serve(prog_name='blobfs serve')"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "share").mkdir()
    (tmp_path / "share/name").write_bytes(b"content")
    return tmp_path


def started(*arguments: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen([*COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)


def line_of(stream: IO[bytes] | None) -> str:
    assert stream is not None
    return stream.readline().decode()


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


def test_settings_of_a_node(store: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A node's file says what is served and to whom, a flag is stronger than it. SIGHUP has its files read
    again, and a wrong new one is logged and not used."""
    directory = tmp_path_factory.mktemp("settings")
    authority = Authority(directory)
    authority.certify(file_name="server")
    token = directory / "token"
    token.touch(0o600)
    token.write_text("first")
    config = directory / "node.toml"
    config.write_text(
        f'mountpoint = "/nowhere"\nstore = "{store}"\n\n[serve]\nlisten = "127.0.0.1:1"\n'
        'certificate = "server.pem"\nkey = "server.key"\ntoken_file = "token"\n'
    )
    socket_path = directory / "http"
    curl = [
        "curl",
        "-sS",
        "--cacert",
        str(authority.file),
        "--unix-socket",
        str(socket_path),
        "-w",
        "%{http_code}",
    ]

    def ask(token: str) -> bytes:
        command = [*curl, "-H", f"Authorization: Bearer {token}", "https://127.0.0.1/name"]
        return subprocess.run(command, capture_output=True, timeout=LIMIT_SECONDS, check=True).stdout[-10:]

    with started("--config", str(config), "--listen", f"unix:{socket_path}") as server:
        assert line_of(server.stdout) == f"serving {store}/share on unix:{socket_path}\n"
        assert (ask("first"), ask("second")) == (b"content200", b"orized\n401")
        assert "turned away uid 0: a wrong token" in line_of(server.stderr)
        for content, expected in (("second", "were read again"), ("", "stays in force: ")):
            token.write_text(content)
            server.send_signal(signal.SIGHUP)
            assert expected in line_of(server.stderr)
            assert ask("second") == b"content200"
        server.terminate()
        assert server.wait(LIMIT_SECONDS) == 0


def test_closed_terminal_ends_it(store: Path) -> None:
    """SIGHUP from a terminal that is gone is not a wish for new settings."""
    master, slave = os.openpty()
    command = [*COMMAND, f"--store={store}", "--listen=127.0.0.1:0"]
    with subprocess.Popen(command, stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        assert line_of(server.stdout).startswith("serving ")
        server.send_signal(signal.SIGHUP)
        assert "were read again" in line_of(server.stderr)
        os.close(slave)
        os.close(master)
        server.send_signal(signal.SIGHUP)
        assert server.wait(LIMIT_SECONDS) == 0


def test_socket_that_systemd_passes(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``--listen systemd`` the one of the passed descriptors that listens is served; it says READY."""
    notify = str(store / "notify")
    with (
        socket.create_server(("127.0.0.1", 0)) as passed,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
    ):
        told.bind(notify)
        told.settimeout(LIMIT_SECONDS)
        monkeypatch.setenv("NOTIFY_SOCKET", notify)
        boot = (
            "import os, sys; os.dup2(int(sys.argv[1]), 4); os.dup2(os.open('/dev/null', 0), 3); "
            "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '2', 'LISTEN_FDNAMES': 'x:y'}; "
            "from blobfs.cli.serve import serve; serve(sys.argv[2:], prog_name='blobfs serve')"
        )
        command = [sys.executable, "-c", boot, str(passed.fileno()), f"--store={store}", "--listen=systemd"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=(passed.fileno(),)) as server:
            address = f"127.0.0.1:{passed.getsockname()[1]}"
            assert line_of(server.stdout) == f"serving {store}/share on http://{address}/\n"
            assert told.recv(1000) == f"READY=1\nSTATUS=serving {store}/share on http://{address}/".encode()
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://{address}/name", timeout=LIMIT_SECONDS) as reply:
                assert reply.read() == b"content"
            server.terminate()


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


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--listen", "nonsense"],
            "Error: --listen: not HOST:PORT: 'nonsense' (0.0.0.0:8970 is every interface)",
        ),
        (
            ["--listen", "::1:80"],
            "Error: --listen: an IPv6 address stands in brackets, as in [::1]:8970: '::1:80'",
        ),
        (["--listen", ":0", "--key", "/nope"], None),
        ([], "Error: nothing says where to listen: give --listen"),
    ],
)
def test_wrong_usage(store: Path, arguments: list[str], line: str | None) -> None:
    """An address that is none, no address at all, files that are not there: one line for each mistake."""
    result = CliRunner().invoke(serve, ["--store", str(store), *arguments])
    assert result.exit_code == 2
    if line is None:
        assert "--serve-key: " in result.stderr
    else:
        assert result.stderr == f"{line}\n"
