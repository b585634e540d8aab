"""The faulty share does what its script says, and nothing else."""

import gzip
import http.client
import socket
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from blobfs.model import CHUNK_SIZE
from tests.servers.faults import KINDS, Fault, PathKind, parse_plan, parse_script
from tests.servers.faulty import Mode
from tests.servers.faulty_process import FaultyProcess

CONTENT = bytes(range(256)) * 1200
BLOB = "0" * 64
BLOB_PATH = f"/.blobfs/blobs/{BLOB}"
SECONDS = 1.0
"""How long a test waits for what must not come."""


@pytest.fixture
def share(tmp_path: Path) -> Iterator[FaultyProcess]:
    blobs = tmp_path / "share/.blobfs/blobs"
    blobs.mkdir(parents=True)
    (blobs / BLOB).write_bytes(CONTENT)
    (tmp_path / "share/.blobfs/names").mkdir()
    (tmp_path / "share/.blobfs/names/f \xe9").write_text("{}")
    with FaultyProcess(tmp_path / "share", tmp_path / "log") as share:
        yield share


def answer_to(
    share: FaultyProcess, path: str = BLOB_PATH, span: str = ""
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", share.port, timeout=SECONDS)
    try:
        connection.request("GET", path, headers={"Range": f"bytes={span}"} if span else {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def raw_answer(share: FaultyProcess) -> tuple[bytes, str]:
    """Everything that comes, and how it ends: closed, reset, silent, or not at all."""
    with socket.create_connection(("127.0.0.1", share.port), SECONDS) as connection:
        connection.sendall(f"GET {BLOB_PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        received = b""
        try:
            while piece := connection.recv(65536):
                received += piece
                if len(received) > 4 * len(CONTENT):
                    return received, "endless"
        except TimeoutError:
            return received, "silent"
        except ConnectionResetError:
            return received, "reset"
        return received, "closed"


def test_a_script_is_gone_round():
    """Letters with their numbers, one a request, from the beginning after the last."""
    steps = islice(parse_script("..s100.e"), 7)
    right = Fault(".")
    assert list(steps) == [right, right, Fault("s", 100), right, Fault("e", 500), right, right]
    for text in ("", "S", "..j", "5s", "random:1", "random:1:p=1:of=j"):
        with pytest.raises(ValueError, match=r"no.*"):
            next(parse_script(text))


def test_chance_can_be_had_again():
    """Seeded, a script is the same each time; its probability is kept to; kinds of paths differ."""

    def first(count: int, text: str, kind: PathKind) -> list[Fault]:
        return list(islice(parse_plan(text)[kind], count))

    text = "random:7:p=0.3"
    faults = first(2000, text, PathKind.BLOB)
    assert faults == first(2000, text, PathKind.BLOB) != first(2000, text, PathKind.TREE)
    assert 500 < sum(fault.letter != "." for fault in faults) < 700
    assert {fault.letter for fault in faults} == set(KINDS)
    assert {fault.letter for fault in first(500, "random:1:p=1:of=sr", PathKind.LOG)} == set("sr")


def test_a_right_share(share: FaultyProcess):
    """Without a plan it is a static server: ranges, 416, 404, any names; counted and logged."""
    assert answer_to(share)[::2] == (200, CONTENT)
    assert answer_to(share, span="10-19")[::2] == (206, CONTENT[10:20])
    assert answer_to(share, span=f"{len(CONTENT)}-")[0] == 416
    assert answer_to(share, "/.blobfs/trees/x")[0] == 404
    assert answer_to(share, "/../log")[0] == 404
    assert answer_to(share, "/.blobfs/names/f%20%C3%A9")[2] == b"{}"
    statistics = share.statistics()
    assert (statistics["requests"], statistics["connections"]) == (6, 6)
    assert statistics["sent"] == len(CONTENT) + 10 + 2 + 2 + 2
    assert [entry["right"] for entry in share.log()] == [200, 206, 416, 404, 404, 200]
    assert share.log()[1]["range"] == "bytes=10-19"


def test_kinds_of_paths_have_scripts_of_their_own(share: FaultyProcess):
    """What a plan does not name is as it should be."""
    share.tell(plan="blob=e503.;tree=e403")
    assert [answer_to(share)[0] for _ in range(3)] == [503, 200, 503]
    assert answer_to(share, "/.blobfs/trees/x")[0] == 403
    assert answer_to(share, "/.blobfs/names/x")[0] == 404
    assert share.statistics()["faults"] == {"e503": 2, ".": 2, "e403": 1}


@pytest.mark.parametrize(("script", "status"), [("a", 404), ("b2", 429), ("e", 500), ("m", 302), ("o", 302)])
def test_another_status(share: FaultyProcess, script: str, status: int):
    """404, 429 with Retry-After, any status, redirects elsewhere and to itself."""
    share.tell(plan=script)
    found, headers, _ = answer_to(share)
    assert found == status
    assert headers.get("Retry-After") == ("2" if script == "b2" else None)
    locations = {"m": "http://elsewhere.invalid/", "o": BLOB_PATH}
    assert headers.get("Location") == locations.get(script)


@pytest.mark.parametrize(
    ("script", "body", "ending"),
    [
        ("c100", 100, "closed"),
        ("r0", 0, "reset"),
        ("s100", 100, "silent"),
        ("n", None, "closed"),
        ("g", None, "closed"),
        ("h", None, "silent"),
        ("t", None, "silent"),
        ("k", len(CONTENT), "closed"),
        ("x7", len(CONTENT) + 7, "silent"),
        ("y", 3 * len(CONTENT), "endless"),
    ],
)
def test_another_ending(share: FaultyProcess, script: str, body: int | None, ending: str):
    """Cut short, reset, stalled, silent, dripping, too long: as much as was said, and no more."""
    share.tell(plan=script)
    received, found = raw_answer(share)
    assert found == ending
    head, blank, rest = received.partition(b"\r\n\r\n")
    assert bool(blank) == (body is not None)
    if body is not None:
        assert len(rest) >= body if ending == "endless" else len(rest) == body
    if body is None and script != "g":
        assert len(head) < 30


def test_dripping(share: FaultyProcess):
    """The right bytes, a few at a time."""
    share.tell(plan="d500")
    with socket.create_connection(("127.0.0.1", share.port), SECONDS) as connection:
        connection.sendall(f"GET {BLOB_PATH} HTTP/1.1\r\n\r\n".encode())
        received = [connection.recv(65536) for _ in range(5)]
    assert len(received[-1]) == 500
    assert CONTENT.startswith(b"".join(received).partition(b"\r\n\r\n")[2])


def test_wrong_bytes(share: FaultyProcess):
    """A byte, a byte of every n-th chunk of the file, bytes too many, compressed bytes, another range,
    one too few."""
    share.tell(plan="f5i2l1zwvu")
    span = "1000-300000"
    right = CONTENT[1000:300001]
    assert _differences(answer_to(share, span=span)[2], right) == [5]
    assert _differences(answer_to(share, span=span)[2], right) == [2 * CHUNK_SIZE - 1000]
    assert len(answer_to(share, span=span)[2]) == len(right) + 1
    _, headers, body = answer_to(share, span=span)
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == right
    _, headers, body = answer_to(share, span=span)
    assert headers["Content-Range"] == f"bytes 1001-300001/{len(CONTENT)}"
    assert body == right
    assert answer_to(share, span=span)[::2] == (200, CONTENT)
    assert answer_to(share, span="307000-")[::2] == (206, CONTENT[307_000:-1])


def _differences(found: bytes, right: bytes) -> list[int]:
    assert len(found) == len(right)
    return [place for place, (one, other) in enumerate(zip(found, right, strict=True)) if one != other]


def test_modes(share: FaultyProcess):
    """Down refuses connections, deaf does not even do that, up is there again on the same port."""
    share.tell(mode=Mode.DOWN)
    with pytest.raises(ConnectionRefusedError):
        answer_to(share)
    share.tell(mode=Mode.DEAF)
    with pytest.raises(TimeoutError):
        answer_to(share)
    assert share.tell(mode=Mode.UP)["mode"] == "up"
    assert answer_to(share)[2] == CONTENT
