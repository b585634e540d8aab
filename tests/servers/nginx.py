"""A real nginx on a free loopback port, and what it was asked.

::

    with Nginx(root) as nginx:
        ...  # ask nginx.url
        assert [request.uri for request in nginx.requests()] == ["/a"]
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

PROGRAM = "/usr/sbin/nginx"
START_SECONDS = 10.0
STOP_SECONDS = 5.0
_MARKER = "/--marker--"

_CONFIGURATION = """
worker_processes 1;
daemon off;
{user}
pid {prefix}/nginx.pid;
error_log {prefix}/error.log warn;
events {{ worker_connections 512; }}
http {{
    default_type application/octet-stream;
    log_format lines escape=json
        '{{"method":"$request_method","uri":"$request_uri","status":$status,'
        '"body_bytes_sent":$body_bytes_sent,"bytes_sent":$bytes_sent,'
        '"range":"$http_range","connection":$connection}}';
    access_log {prefix}/access.log lines;
    client_body_temp_path {prefix}/body;
    proxy_temp_path {prefix}/proxy;
    fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi;
    scgi_temp_path {prefix}/scgi;
    sendfile on;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        {extra}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Request:
    """One line of the access log."""

    method: str
    uri: str
    status: int
    body_bytes_sent: int
    bytes_sent: int
    """With the heads."""
    range: str
    """The Range header, empty without one."""
    connection: int
    """Serial number of the TCP connection."""


class Nginx:
    """Exports `root`. Its own files are in a directory of their own, removed at the end.

    `extra_directives` go into the server block. `stop` and `start` again keep the port: an outage.
    """

    def __init__(self, root: Path, extra_directives: str = "") -> None:
        self.root = root
        self.port = free_port()
        self._extra = extra_directives
        self._prefix = Path(tempfile.mkdtemp(prefix="blobfs-nginx-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def pid(self) -> int:
        """Of its master; its worker is a child of that."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._prefix)

    def start(self) -> None:
        """Returns when nginx answers."""
        configuration = self._prefix / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                user="user root;" if os.geteuid() == 0 else "",
                prefix=self._prefix,
                port=self.port,
                root=self.root,
                extra=self._extra,
            )
        )
        error_log = str(self._prefix / "error.log")
        self._process = subprocess.Popen(
            [PROGRAM, "-p", str(self._prefix), "-e", error_log, "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait_until_it_answers()

    def stop(self) -> None:
        """Ends nginx at once, open connections included."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def requests(self) -> list[Request]:
        """Every request that was answered to its end so far, in order.

        nginx logs a request when it is done with it, and its single worker does one thing after the other:
        once a marker request is over, everything before it is in the log.
        """
        self._ask(f"{_MARKER}/{time.monotonic_ns()}")
        lines = (self._prefix / "access.log").read_text("utf-8").splitlines()
        requests = [Request(**json.loads(line)) for line in lines]
        return [request for request in requests if not request.uri.startswith(_MARKER)]

    def forget_requests(self) -> None:
        """The next `requests` begins here."""
        self._ask(f"{_MARKER}/{time.monotonic_ns()}")
        os.truncate(self._prefix / "access.log", 0)

    def error_log(self) -> str:
        return (self._prefix / "error.log").read_text("utf-8")

    def _ask(self, uri: str) -> None:
        with socket.create_connection(("127.0.0.1", self.port), 5.0) as connection:
            connection.sendall(f"HEAD {uri} HTTP/1.1\r\nHost: marker\r\nConnection: close\r\n\r\n".encode())
            while connection.recv(65536):
                pass

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            assert self._process.poll() is None, f"nginx ended: {self.error_log()}"
            try:
                self._ask(f"{_MARKER}/start")
            except OSError:
                time.sleep(0.01)
            else:
                return
        self.stop()
        raise AssertionError(f"nginx does not answer: {self.error_log()}")


def free_port() -> int:
    """A loopback port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
