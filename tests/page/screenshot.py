"""Takes the pictures of the page that the documentation shows, from a real run under load.

``python -m tests.page.screenshot DIRECTORY [SECONDS]`` writes ``page.png`` and ``page-dark.png`` into
DIRECTORY, after the node has been at it for so long.
"""

import errno
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.mount.probes import errno_of_read
from tests.page.browser import Browser
from tests.page.scene import MIB, Scene, reading

FILES = {
    "models/mistral-7b-instruct.Q4_K_M.gguf": 4166 * MIB,
    "datasets/2026-11/street-scenes.tar": 812 * MIB,
    "videos/keynote.webm": 221 * MIB,
    "images/debian-12-generic-amd64.qcow2": 344 * MIB,
}
LOST = "models/whisper-large-v3.bin"
PACKAGE = {"bin/render": 96 * MIB, "lib/libscene.so": 131 * MIB, "share/meshes/city.glb": 264 * MIB}
PICTURES = (("page", False), ("page-dark", True))
"""Their names, and whether the reader's system is dark."""
WIDTH = 1180
"""Of the window, in points."""
OUTAGE = 12.0
"""Seconds for which one share is away."""


def main() -> None:
    directory = Path(sys.argv[1])
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 100.0
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="demo-") as place, ExitStack() as stack:
        os.chmod(place, 0o755)
        scene = Scene(Path(place), [900_000, 700_000, 450_000], ["quota=1G"], "models", seconds + 240)
        stack.enter_context(scene)
        package = _publish(scene, Path(place) / "tree")
        assert errno_of_read(scene.node.path(LOST)) == errno.EHOSTUNREACH
        stack.enter_context(reading(*(scene.node.path(name) for name in FILES)))
        load = subprocess.Popen(
            [sys.executable, "-m", "blobfs", "load", scene.node.mountpoint, f".blobfs/packages/{package}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        stack.callback(load.wait)
        stack.callback(load.kill)
        _live(scene, seconds)
        _take(scene, Path(place), directory)


def _publish(scene: Scene, tree: Path) -> str:
    """What the shares have; the id of the package."""
    for name, size in FILES.items():
        scene.put_sparse(name, size)
    scene.put_without_bytes(LOST)
    for name, size in PACKAGE.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(os.urandom(1024))
        os.truncate(tree / name, size)
    for number in range(400):
        (tree / f"share/icons/{number:03}.svg").parent.mkdir(parents=True, exist_ok=True)
        (tree / f"share/icons/{number:03}.svg").write_bytes(os.urandom(6000))
    done = subprocess.run(
        [sys.executable, "-m", "blobfs", "pack", scene.origin.mountpoint, tree],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout.split()[0]


def _live(scene: Scene, seconds: float) -> None:
    """The third share goes away for a while, and comes back."""
    time.sleep(max(seconds - OUTAGE, 0) * 0.7)
    scene.shares[2].stop()
    time.sleep(OUTAGE)
    scene.shares[2].start()
    time.sleep(max(seconds - OUTAGE, 0) * 0.3)
    errno_of_read(scene.node.path(LOST))


def _take(scene: Scene, place: Path, directory: Path) -> None:
    with Browser(place, WIDTH, 900) as browser:
        for name, dark in PICTURES:
            browser.emulate(dark=dark, width=WIDTH, height=900, scale=1.3)
            browser.open(scene.url)
            browser.until("document.querySelector('#transfers tr') !== null", "transfers are shown")
            if name == "page":
                browser.evaluate("document.querySelector('#failures summary').click()")
            height = browser.evaluate("document.documentElement.scrollHeight")
            browser.emulate(dark=dark, width=WIDTH, height=height, scale=1.3)
            browser.until("(asked = window.asked ?? answered, answered > asked)", "bars have moved")
            browser.screenshot(directory / f"{name}.png")
            print(directory / f"{name}.png")


if __name__ == "__main__":
    main()
