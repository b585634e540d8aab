"""``blobfs status --watch`` under load, as a picture: real nodes, real shares, one of them dead.

A node knows four shares: three of limited rate, and one that ended after the node had looked up what only
it has. Readers come one after the other, so that there is something to see of the last minutes. What is drawn
is what a terminal would show.
"""

import argparse
import io
import random
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME

from blobfs.cli.watch_poll import look
from blobfs.cli.watch_view import view
from tests.mount.node import BlobfsNode
from tests.servers.nginx import Nginx

MIB = 1 << 20
FILES = {
    "models/whisper-large.bin": 150,
    "models/mistral-7b.q5.gguf": 610,
    "datasets/2026/tokens-00.arrow": 120,
    "models/llama-3-8b.q4.gguf": 770,
    "images/base.qcow2": 90,
    "datasets/2026/tokens-01.arrow": 240,
    "images/worker.qcow2": 170,
    "models/llama-3-8b.q8.gguf": 980,
}
"""MiB of holes, in the order in which somebody begins to read them."""
RATES = {8001: "1100k", 8002: "700k", 8003: "250k"}
"""Of a connection, by the port of the share."""
DEAD_PORT = 8004
LIFETIME = 900.0
"""Seconds that a node may run."""
COLUMNS, LINES = 140, 26


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools/screenshot-watch", description=__doc__)
    parser.add_argument("--seconds", type=float, default=75.0, help="how long it runs before it is drawn")
    parser.add_argument("--mountpoint", type=Path, help="made and removed; the picture shows it")
    parser.add_argument(
        "directory",
        type=Path,
        nargs="?",
        default=Path("docs/images"),
        help="where status-watch.svg and status-watch.png go",
    )
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="blobfs-picture-") as scratch,
        _scene(Path(scratch), options.mountpoint) as node,
    ):
        _load(node, options.seconds)
        svg = _drawn(node)
    options.directory.mkdir(parents=True, exist_ok=True)
    path = options.directory / "status-watch.svg"
    path.write_text(svg, encoding="utf-8")
    _photograph(path)


@contextmanager
def _scene(scratch: Path, mountpoint: Path | None) -> Iterator[BlobfsNode]:
    """The node that loads, while the shares are there; it ends before them."""
    with ExitStack() as stack:
        origin = stack.enter_context(_long_lived(BlobfsNode(scratch, "origin")))
        for number, (name, length) in enumerate(FILES.items()):  # no two are the same blob
            path = origin.path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.truncate(length * MIB + number)
        other = stack.enter_context(_long_lived(BlobfsNode(scratch, "other")))
        other.path("only-there.bin").write_bytes(random.Random(99).randbytes(20 * MIB))
        other.wait_until_sealed()
        for port, rate in RATES.items():
            stack.enter_context(_on_port(Nginx(origin.share, f"limit_rate {rate};"), port))
        dying = stack.enter_context(_on_port(Nginx(other.share), DEAD_PORT))
        urls = [f"http://127.0.0.1:{port}/" for port in (*RATES, DEAD_PORT)]
        node = BlobfsNode(scratch, "node", shares=urls, options=["fill=never", "quota=2G"])
        node.expect_log("", perhaps=True)
        if mountpoint is not None:
            node.mountpoint = mountpoint
        stack.enter_context(_long_lived(node))
        node.path("only-there.bin").stat()
        dying.stop()
        yield node


def _long_lived(node: BlobfsNode) -> BlobfsNode:
    node.lifetime = LIFETIME
    return node


def _on_port(nginx: Nginx, port: int) -> Nginx:
    nginx.port = port
    return nginx


def _load(node: BlobfsNode, seconds: float) -> None:
    """Somebody reads one file after the other is begun, and what cannot be had."""
    end = time.monotonic() + seconds
    for name in ("only-there.bin", *FILES):
        threading.Thread(target=_read, args=(node.path(name),), daemon=True).start()
        time.sleep(seconds / 2 / len(FILES))
    time.sleep(max(0.0, end - time.monotonic()))


def _read(path: Path) -> None:
    subprocess.run(["cat", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def _drawn(node: BlobfsNode) -> str:
    console = Console(
        width=COLUMNS,
        height=LINES,
        record=True,
        force_terminal=True,
        color_system="truecolor",
        file=io.StringIO(),
    )
    seen = list(look(str(node.mountpoint), {}).values())
    console.print(view(seen, time.monotonic(), COLUMNS, LINES))
    # The fonts of the reader's machine: a picture must not fetch any.
    form = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    form = form.replace("Fira Code", "DejaVu Sans Mono, Fira Code")
    return console.export_svg(
        title=f"blobfs status --watch {node.mountpoint}", theme=SVG_EXPORT_THEME, code_format=form
    )


def _photograph(svg: Path) -> None:
    """As a browser shows it, in the size that the picture has."""
    match = re.search(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', svg.read_text(encoding="utf-8"))
    assert match is not None
    with tempfile.TemporaryDirectory(prefix="blobfs-browser-") as profile:
        command = [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ]
        command += [
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ]
        command += [
            f"--user-data-dir={profile}",
            f"--window-size={float(match[1]):.0f},{float(match[2]):.0f}",
        ]
        command += [f"--screenshot={svg.with_suffix('.png')}", svg.resolve().as_uri()]
        subprocess.run(command, check=True, timeout=60, capture_output=True)


if __name__ == "__main__":
    main()
