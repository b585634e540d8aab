"""A second implementation of docs/formats.md, from the page alone: a reader over HTTP, and a writer.

One connection a request, one thing after the other. Like tests/formats/values.py it imports nothing of
blobfs.
"""

import http.client
import json
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from tests.formats.values import (
    Record,
    Refused,
    ns_of,
    parse_header,
    parse_lines,
    parse_record,
    read_range,
    tree_of,
    url_path,
)

ANSWER_SECONDS = 10.0


class NoAnswer(Exception):
    """The share said nothing about what was asked."""


# 6. HTTP


@dataclass
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Share:
    """One share; it remembers what it asked for."""

    def __init__(self, url: str) -> None:
        self.host = urlsplit(url).netloc
        self.asked: list[tuple[str, str, str]] = []

    def ask(self, path: str, bytes_wanted: str = "", method: str = "GET") -> Reply:
        self.asked.append((method, path, bytes_wanted))
        headers = {"Accept-Encoding": "identity"} | ({"Range": bytes_wanted} if bytes_wanted else {})
        connection = http.client.HTTPConnection(self.host, timeout=ANSWER_SECONDS)
        try:
            connection.request(method, f"/{path}", headers=headers)
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read())
        finally:
            connection.close()

    def bytes_of(self, path: str, offset: int, length: int) -> bytes:
        reply = self.ask(path, f"bytes={offset}-{offset + length - 1}")
        if reply.status == 206:
            said = reply.headers["Content-Range"].rpartition("/")[0]
            if said != f"bytes {offset}-{offset + length - 1}":
                raise Refused(said)
        elif reply.status != 200 or offset:
            raise NoAnswer(f"HTTP {reply.status}")
        if len(reply.body) < length:
            raise NoAnswer("short body")
        return reply.body[:length]

    def size_of(self, blob: str) -> int:
        return int(self.ask(f".blobfs/blobs/{blob}", method="HEAD").headers["Content-Length"])

    def read(self, blob: str, size: int, offset: int, length: int) -> bytes:
        return read_range(
            *(blob, size, offset, length),
            lambda start, count: self.bytes_of(f".blobfs/trees/{blob}", start, count),
            lambda start, count: self.bytes_of(f".blobfs/blobs/{blob}", start, count),
        )

    def record(self, name: str) -> Record | None:
        """7.1, step 1: a record, a directory, or None: absent."""
        path = f".blobfs/names/{url_path(name)}"
        reply = self.ask(path)
        if reply.status == 200:
            return parse_record(reply.body, name.count("/"))
        if reply.status in (301, 302, 303, 307, 308):
            if urlsplit(reply.headers["Location"]).path == f"/{path}/":
                return {"kind": "dir", "published": "0001-01-01T00:00:00Z"}
        elif 400 <= reply.status < 500 and reply.status not in (408, 425, 429):
            log = self.ask(f"{path}/.blobfs-log", "bytes=0-0")
            if log.status in (200, 206) and log.body.startswith(b"{"):
                return {"kind": "dir", "published": "0001-01-01T00:00:00Z"}
            if reply.status in (404, 410) and log.status in (404, 410):
                return None
        raise NoAnswer(f"HTTP {reply.status}")


@dataclass
class Listing:
    """5.1: what is known of one directory on one share."""

    share: Share
    directory: str = ""
    entries: dict[str, Record] = field(default_factory=dict)
    generation: str = ""
    end: int = 0
    line: bytes = b""

    def refresh(self) -> bool:
        """False: there is no such directory."""
        path = url_path(".blobfs/names/" + (f"{self.directory}/" if self.directory else "")) + ".blobfs-log"
        if self.line:
            start = self.end - len(self.line)
            reply = self.share.ask(path, f"bytes={start}-")
            if reply.status == 206 and self._go_on(start, reply.body):
                return True
        if not self.line or reply.status in (206, 416):
            reply = self.share.ask(path)
        if reply.status in (404, 410):
            return False
        if reply.status != 200:
            raise NoAnswer(f"HTTP {reply.status}")
        header = reply.body.partition(b"\n")[0]
        self.entries, self.generation = {}, parse_header(header)
        self._apply(0, reply.body)
        return True

    def _go_on(self, start: int, body: bytes) -> bool:
        if not body.startswith(self.line):
            return False
        for line in body[: body.rfind(b"\n")].split(b"\n"):
            if line.startswith(b'{"log":') and parse_header(line) != self.generation:
                return False
        self._apply(start, body)
        return True

    def _apply(self, start: int, body: bytes) -> None:
        *lines, _ = body.split(b"\n")
        depth = self.directory.count("/") + 1 if self.directory else 0
        self.entries |= parse_lines(lines, depth)
        self.end, self.line = start + sum(len(line) + 1 for line in lines), lines[-1] + b"\n"

    def live(self) -> dict[str, str]:
        return {name: entry["kind"] for name, entry in self.entries.items() if entry["kind"] != "gone"}


# 7. Which record wins


def look_up(shares: list[Share], name: str) -> Record | str:
    """A record, or one of the words: absent, unknown, unusable."""
    found: list[Record] = []
    failed: list[Exception] = []
    for share in shares:
        try:
            record = share.record(name)
        except (OSError, Refused, NoAnswer) as failure:
            failed.append(failure)
        else:
            found += [record] if record else []
    alive = newest_alive(found)
    if alive is not None:
        return alive
    if failed and not found and all(isinstance(failure, Refused) for failure in failed):
        return "unusable"
    return "unknown" if failed else "absent"


def newest_alive(records: list[Record]) -> Record | None:
    """Steps 2 and 3."""
    newest = max(records, key=_order, default=None)
    if newest is None or newest["kind"] != "gone":
        return newest
    kept = (record for record in records if record["kind"] == "dir" and record.get("loaded") is not True)
    return max(kept, key=_order, default=None)


def _order(record: Record) -> tuple[int, str, bytes, int, str, int]:
    """Step 2: the later, then the one that says more."""
    meaning = str(record.get("blob", record.get("target", ""))).encode()
    rest = record.get("size", 0), record.get("mode", ""), ns_of(record.get("mtime", record["published"]))
    return ns_of(record["published"]), record["kind"], meaning, *rest


# 9. Writing a share; a whole one at once, nobody reads it yet


def write_share(root: Path, blobs: dict[str, bytes], more: dict[str, Record]) -> None:
    """`blobs` by name, `more` records by name."""
    records = dict(more)
    for name, content in blobs.items():
        blob, tree = tree_of(content)
        put(root / ".blobfs/blobs" / blob, content)
        if tree:
            put(root / ".blobfs/trees" / blob, tree)
        put(root / name, content)
        times = {"mtime": "2026-01-02T03:04:05Z", "published": "2026-01-02T03:04:06Z"}
        records[name] = {"v": 1, "kind": "blob", "blob": blob, "size": len(content), "mode": "0444", **times}
    logs: dict[str, list[Record]] = {"": []}
    for name, record in sorted(records.items()):
        put(root / ".blobfs/names" / name, json.dumps(record).encode())
        add_line(logs, name, record)
    for directory, lines in logs.items():
        header: Record = {"log": 1, "generation": sha256(directory.encode()).hexdigest()[:32]}
        text = "\n".join(json.dumps(line, separators=(",", ":")) for line in [header, *lines, header]) + "\n"
        put(root / ".blobfs/names" / directory / ".blobfs-log", text.encode())


def add_line(logs: dict[str, list[Record]], name: str, record: Record) -> None:
    directory, _, component = name.rpartition("/")
    if directory not in logs:
        logs[directory] = []
        add_line(logs, directory, {"v": 1, "kind": "dir", "published": record["published"]})
    logs[directory].append({**record, "name": component})


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o444)
