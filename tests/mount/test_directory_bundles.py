"""Two nodes and nginx between them: the small files of a directory in few requests."""

import random
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.servers.nginx import Nginx, Request

FILES = {f"{number:03d}": random.Random(number).randbytes(4096) for number in range(200)}
SIZE = sum(map(len, FILES.values()))
MOST_REQUESTS = 10
MOST_BYTES = int(1.3 * SIZE)
SECONDS = 30


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The share of a node that has ended."""
    with BlobfsNode(tmp_path_factory.mktemp("source"), "source") as node:
        node.path("dir").mkdir()
        for name, raw in FILES.items():
            node.path(f"dir/{name}").write_bytes(raw)
    return node.store / "share"


@pytest.fixture
def server(share: Path) -> Iterator[Nginx]:
    with Nginx(share) as server:
        yield server


@pytest.fixture
def directory(start_node: StartNode, server: Nginx) -> Path:
    """As another node sees it, which has nothing yet."""
    path: Path = start_node("b", shares=[server.url], options=["fill=never"]).path("dir")
    return path


def kind_of(request: Request) -> str:
    for part, kind in (("blobfs-log", "log"), ("blobfs-bundles", "list"), ("/bundles/", "bundle")):
        if part in request.uri:
            return kind
    return "record" if "/names/" in request.uri else "blob"


def counted(server: Nginx) -> tuple[Counter[str], int]:
    requests = server.requests()
    return Counter(map(kind_of, requests)), sum(request.bytes_sent for request in requests)


def one_by_one(directory: Path) -> None:
    for path in sorted(directory.iterdir()):
        assert path.read_bytes() == FILES[path.name]


def sixteen(directory: Path) -> None:
    with ThreadPoolExecutor(16) as readers:
        found = list(readers.map(Path.read_bytes, sorted(directory.iterdir())))
    assert found == list(FILES.values())


def copied(directory: Path) -> None:
    to = directory.parents[1] / "copy"
    subprocess.run(["cp", "-r", directory, to], check=True, timeout=SECONDS)
    assert {path.name: path.read_bytes() for path in to.iterdir()} == FILES


def searched(directory: Path) -> None:
    command = ["grep", "-rLaF", "no such words", str(directory)]
    found = subprocess.run(command, check=False, timeout=SECONDS, capture_output=True, text=True)
    assert len(found.stdout.splitlines()) == len(FILES)


def archived(directory: Path) -> None:
    command = ["tar", "--create", "--file=-", f"--directory={directory.parent}", directory.name]
    found = subprocess.run(command, check=True, timeout=SECONDS, capture_output=True)
    assert all(raw in found.stdout for raw in FILES.values())


@pytest.mark.parametrize("read", [one_by_one, sixteen, copied, searched, archived])
def test_many_files_in_few_requests(directory: Path, server: Nginx, read: Callable[[Path], None]) -> None:
    """However a directory is gone through: at most ten requests, and little more than its bytes."""
    read(directory)
    kinds, sent = counted(server)
    assert kinds.total() <= MOST_REQUESTS, kinds
    assert sent <= MOST_BYTES, kinds


def test_one_file_is_not_the_directory(directory: Path, server: Nginx) -> None:
    """[S128] Beside the listing that its reader asked for, one file brings 128 KiB at most."""
    assert len(list(directory.iterdir())) == len(FILES)
    _, before = counted(server)
    assert (directory / "111").read_bytes() == FILES["111"]
    _, after = counted(server)
    assert after - before <= 128 << 10


def test_what_came_so_is_stored_and_shared_in_turn(start_node: StartNode, server: Nginx) -> None:
    """Under its id and its name, also by a node that ends at once; then no share is asked for it."""
    node = start_node("b", shares=[server.url], options=["fill=never"])
    one_by_one(node.path("dir"))
    node.stop()
    assert len(list((node.store / "share/.blobfs/blobs").iterdir())) == len(FILES)
    assert all((node.store / "share/dir" / name).read_bytes() == raw for name, raw in FILES.items())
    node.start()
    kinds, _ = counted(server)
    one_by_one(node.path("dir"))
    assert not (counted(server)[0] - kinds).keys() & {"blob", "bundle", "list"}


def test_a_wrong_bundle_costs_nothing_but_time(start_node: StartNode, tmp_path: Path, share: Path) -> None:
    """P1: what a share has put there is read as what it should be, and the share is told of."""
    copy = tmp_path / "share"
    subprocess.run(["cp", "-al", share, copy], check=True, timeout=SECONDS)
    (bundle,) = (copy / ".blobfs/bundles").iterdir()
    raw = bundle.read_bytes()
    bundle.unlink()
    bundle.write_bytes(raw[4096:] + raw[:4096])
    with Nginx(copy) as server:
        node = start_node("b", shares=[server.url], options=["fill=never"])
        node.expect_log("sent wrong bytes of a bundle of dir/")
        one_by_one(node.path("dir"))
        kinds, _ = counted(server)
    assert (kinds["bundle"], kinds["blob"]) == (1, len(FILES))
