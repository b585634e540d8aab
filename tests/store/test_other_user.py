"""The daemon need not be root: an owner may not touch the attributes of his own read-only files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

NOBODY = 65534
SECONDS = 60

PROGRAM = """
import os, sys
from pathlib import Path
from blobfs.model import Name, ROOT
from blobfs.record import BlobRecord, DirRecord, GoneRecord
from blobfs.merkle import StreamHasher
from blobfs.store import names, packages, sealed
from blobfs.store.incoming import Incoming
from blobfs.store.opening import open_store
from blobfs.store.small import SmallBlob, place_small
from blobfs.store.repair import repair_directory

os.umask(0o077)
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
store = open_store(Path(sys.argv[1]) / "store")
incoming = Incoming.create(store)
incoming.write(0, b"x" * 20_000)
content = incoming.finish()
record = BlobRecord(content.blob, content.size, 0o444, 1, 2)
incoming.set_intent(Name("d/a"), record)
store.flushes.file(incoming.fd)
names.make_directory(store, Name("d"), DirRecord(1, 2), loaded=True)
sealed.place_blob(store, incoming.path, content, 1)
names.put_blob_name(store, Name("d/a"), record, loaded=True)
names.put_blob_name(store, Name("d/b"), record)
incoming.clear_intent()
incoming.discard()
sealed.set_keep(store, content.blob)
assert sealed.set_pinned(store, content.blob, True) and sealed.is_pinned(store, content.blob)
assert sealed.set_pinned(store, content.blob, False)
assert not sealed.drop_blob_if_unnamed(store, content.blob)
assert store.layout.blob(content.blob).stat().st_mode & 0o777 == 0o444
names.put_gone(store, Name("d/a"), GoneRecord(3))
names.put_gone(store, Name("d/b"), GoneRecord(3))
names.remove_directory(store, Name("d"), GoneRecord(4))
assert not repair_directory(store, ROOT)
hasher = StreamHasher()
hasher.append(b"y" * 20_000)
tree = hasher.finish()
assert packages.open_transaction(store, tree.root)
place_small(store, [SmallBlob(tree.root, b"y" * 20_000, tree.tree)], tree.root)
assert packages.hold_written(store, tree.root, content.blob)
assert store.layout.tree(tree.root).stat().st_mode & 0o777 == 0o444
packages.complete_transaction(store, tree.root)
assert packages.open_transaction(store, content.blob)
assert packages.hold_present(store, content.blob, [tree.root, content.blob]) == []
packages.abort_transaction(store, content.blob)
assert packages.list_packages(store) == [tree.root]
assert len(sealed.list_blobs(store)) == 2
store.close()
print(store.layout.root.stat().st_uid)
"""


def test_life_of_a_blob_without_being_root() -> None:
    """Opening, sealing, naming, pinning and removing work for an ordinary user with a strict umask."""
    directory = Path(mkdtemp(prefix="blobfs-test-"))
    try:
        directory.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(directory, NOBODY, NOBODY)
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(directory)],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert run.stderr == ""
        assert run.stdout == f"{NOBODY if os.geteuid() == 0 else os.geteuid()}\n"
    finally:
        shutil.rmtree(directory)
