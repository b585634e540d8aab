"""A node whose daemon is killed again and again, and the other node that it loads from."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from os import pipe
from pathlib import Path

from tests.mount.node import BlobfsNode, is_trouble, log_records
from tests.servers.nginx import Nginx
from tools.crashing.contents import draw_size, word_of
from tools.crashing.program import FAR

LIFETIME = 120.0
"""Seconds until a daemon that hangs is ended, and what waits for it fails."""
HEALED = "removed a dead mount"
FAR_NAMES = 60


class CrashNode(BlobfsNode):
    """Its store may be anywhere, on a disk of its own for instance."""

    lifetime = LIFETIME

    def __init__(self, directory: Path, store: Path, name: str = "a", **settings: object) -> None:
        super().__init__(directory, name, **settings)  # type: ignore[arg-type]
        self.store, self.share = store, store / "share"
        self.expect_log("", perhaps=True)  # `troubles` looks at what stands there

    def kill_while_starting(self, seconds: float) -> None:
        """Begins a start, and kills it after so long, wherever it is by then."""
        reading, writing = pipe()
        with open(reading, "rb"), self._startup_log.open("ab") as stderr:
            with open(writing, "wb"):
                process = self._launch(writing, stderr)
            time.sleep(seconds)
            process.kill()
            process.wait()

    def troubles(self) -> tuple[list[str], list[str]]:
        """What its log says: errors and tracebacks, which must not be, and warnings, which may."""
        records = [record for record in log_records(self.log()) if is_trouble(record)]
        errors = [
            record
            for record in records
            if " WARNING " not in record.partition("\n")[0] or "\nTraceback" in record
        ]
        return errors, [record for record in records if record not in errors and HEALED not in record]


@contextmanager
def far_share(directory: Path, seed: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Another node's share: its URL, and its names with the words for their contents."""
    chance = random.Random(f"{seed}:far")
    words = {}
    with BlobfsNode(directory, "far") as node:
        node.path(FAR).mkdir()
        for number in range(FAR_NAMES):
            content = chance.randbytes(draw_size(chance))
            node.path(f"{FAR}/{number}").write_bytes(content)
            words[f"{FAR}/{number}"] = word_of(content)
        share = node.share
    with Nginx(share) as nginx:
        yield nginx.url, words
