"""The web servers that stand in front of a share, each with its configuration out of docs/.

The configuration is taken as it stands there: only places (ports, paths, host names, the file of tokens) are
replaced, and each of those that is to be replaced must be in it.
"""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.authority import Identity
from tests.servers.nginx import free_port
from tests.structure import ROOT

START_SECONDS = 20.0
STOP_SECONDS = 5.0

_NGINX = """
worker_processes 1;
daemon off;
{user}
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 512; }}
http {{
    include /etc/nginx/mime.types;
    access_log {directory}/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/blobfs.conf;
}}
"""
"""What Debian's nginx.conf has around such a file."""

_CADDY = """{
	admin off
	default_bind 127.0.0.1
	auto_https disable_redirects
}
"""
"""Else it would listen on port 80, too, and everywhere."""


@dataclass(frozen=True)
class Place:
    """What is served, and how."""

    share: Path
    """The directory, for the server that serves the files itself."""
    socket: Path
    """Of ``blobfs serve``, for the one that passes on."""
    token: str
    identity: Identity


@dataclass(frozen=True)
class Front:
    """A running server: where it serves the files itself, and where it passes on."""

    files: str
    passing: str


@contextmanager
def nginx_front(directory: Path, place: Place) -> Iterator[Front]:
    """nginx with docs/nginx.conf; its files are in `directory`."""
    ports = free_port(), free_port()
    tokens = directory / "tokens"
    tokens.write_text(f'"~^Bearer {place.token}$" 1;\n')
    replaced = {
        "listen 443 ssl;": f"listen 127.0.0.1:{ports[0]} ssl;",
        "listen 8443 ssl;": f"listen 127.0.0.1:{ports[1]} ssl;",
        "/etc/nginx/blobfs.tokens": str(tokens),
        "/etc/nginx/tls/share.example.pem": str(place.identity.certificate),
        "/etc/nginx/tls/share.example.key": str(place.identity.key),
        "/var/lib/blobfs/demo/share": str(place.share),
        "/run/blobfs-serve/demo.sock": str(place.socket),
    }
    (directory / "blobfs.conf").write_text(_documented("nginx.conf", replaced))
    main = directory / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    main.write_text(_NGINX.format(directory=directory, user=user))
    command = ["nginx", "-p", str(directory), "-e", str(directory / "error.log"), "-c", str(main)]
    with _running(command, directory, {}, ports):
        yield Front(*(f"https://127.0.0.1:{port}/" for port in ports))


@contextmanager
def caddy_front(directory: Path, place: Place) -> Iterator[Front]:
    """Caddy with docs/Caddyfile; its files are in `directory`."""
    ports = free_port(), free_port()
    replaced = {
        "https://share.example:8443 {": f"https://127.0.0.1:{ports[1]} {{",
        "https://share.example {": f"https://127.0.0.1:{ports[0]} {{",
        "/etc/caddy/tls/share.example.pem": str(place.identity.certificate),
        "/etc/caddy/tls/share.example.key": str(place.identity.key),
        "/var/lib/blobfs/demo/share": str(place.share),
        "unix//run/blobfs-serve/demo.sock": f"unix/{place.socket}",
    }
    main = directory / "Caddyfile"
    main.write_text(_CADDY + _documented("Caddyfile", replaced))
    environment = {"BLOBFS_TOKEN": place.token, "HOME": str(directory), "XDG_DATA_HOME": str(directory)}
    command = ["caddy", "run", "--config", str(main), "--adapter", "caddyfile"]
    with _running(command, directory, environment, ports):
        yield Front(*(f"https://127.0.0.1:{port}/" for port in ports))


def _documented(name: str, replaced: Mapping[str, str]) -> str:
    text = (ROOT / "docs" / name).read_text("utf-8")
    for place, own in replaced.items():
        assert place in text, f"docs/{name} does not hold {place!r} any more"
        text = text.replace(place, own)
    return text


@contextmanager
def _running(
    command: Sequence[str], directory: Path, environment: Mapping[str, str], ports: Sequence[int]
) -> Iterator[None]:
    path = f"{os.environ['PATH']}:/usr/sbin"
    log = directory / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, "PATH": path, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        for port in ports:
            _wait_until_it_listens(process, port, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, f"{process.args!r} ended: {log.read_text()}"
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"{process.args!r} does not listen: {log.read_text()}")
