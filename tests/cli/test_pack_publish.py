"""Publishing through a transaction, on a mount in memory."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from blobfs.cli import pack_publish
from blobfs.cli.pack_package import Package
from blobfs.cli.pack_publish import BUNDLE_ABOVE, Interrupted, NeededBlobs, Publisher
from blobfs.cli.pack_source import CHANGED, Source, SourceFailed
from blobfs.model import BlobId
from tests.cli.pack_trees import MemoryMount, blob_id, many_files, read, write_tree

FEW, MANY = 10, BUNDLE_ABOVE + 1
FILES = 2 * MANY


class Run:
    """One tree, one mount; `publish` is one run of the command."""

    def __init__(self, directory: Path, source: Source) -> None:
        self.directory = directory
        self.source = source
        self.package, _ = read(source)
        self.mount = MemoryMount(self.package.id)

    def publish(self, package: Package | None = None) -> int:
        mount: NeededBlobs = self.mount
        publisher = Publisher(mount, self.source, package or self.package, 4, False)
        publisher.run()
        return publisher.written

    @property
    def size(self) -> int:
        return sum(file.stamp.size for file in self.package.holders.values())


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    write_tree(tmp_path, many_files(FILES))
    with Source(os.fsencode(tmp_path)) as source:
        yield Run(tmp_path, source)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_publish, "PAUSE", 0.0)


def test_what_is_missing_is_written(run: Run) -> None:
    """Each blob once, and then the package is complete."""
    assert run.publish() == run.size
    assert run.mount.is_whole
    assert run.mount.calls.count("blob") == FILES
    assert run.mount.blobs.keys() == run.package.holders.keys()


def test_what_is_complete_is_left_alone(run: Run) -> None:
    """The second time nothing is done but looking."""
    run.publish()
    run.mount.calls.clear()
    assert run.publish() == 0
    assert run.mount.calls == ["open"]


def test_what_is_there_is_not_written(run: Run) -> None:
    """Blobs that the mount has from elsewhere are not needed."""
    for blob, file in list(run.package.holders.items())[FEW:]:
        run.mount.blobs[blob] = (run.directory / os.fsdecode(file.path)).read_bytes()
    run.publish()
    assert run.mount.calls.count("blob") == FEW


def test_nothing_is_missing(run: Run) -> None:
    """Then the manifest is all that is written."""
    for blob, file in run.package.holders.items():
        run.mount.blobs[blob] = (run.directory / os.fsdecode(file.path)).read_bytes()
    assert run.publish() == 0
    assert run.mount.calls == ["open", "meta", "list"]


def test_a_blob_that_comes_another_way_meanwhile(run: Run) -> None:
    """It is no error that it is not needed any more."""

    def bring(call: str, blob: BlobId | None) -> None:
        if call == "blob" and blob is not None:
            file = run.package.holders[blob]
            run.mount.blobs[blob] = (run.directory / os.fsdecode(file.path)).read_bytes()
            run.mount._end()

    run.mount.on_call = bring
    assert run.publish() == 0
    assert run.mount.is_whole


def failing(number: int, *, after: int = 5):
    """The mount fails with an errno, from a blob on."""
    seen = 0

    def fail(call: str, blob: BlobId | None) -> None:
        nonlocal seen
        seen += call == "blob"
        if call == "blob" and seen > after:
            raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOTCONN])
def test_an_error_leaves_the_transaction_open(run: Run, number: int) -> None:
    """It names the file and says that the same command goes on; that one writes only the rest."""
    run.mount.on_call = failing(number)
    told = rf"d\d/f\d+: {os.strerror(number)}; what was written is kept, the same command goes on from there"
    with pytest.raises(click.ClickException, match=told):
        run.publish()
    assert run.mount.is_open
    written = len(run.mount.blobs)
    assert written <= 5
    run.mount.on_call = lambda call, blob: None
    run.mount.calls.clear()
    run.publish()
    assert run.mount.is_whole
    assert run.mount.calls.count("blob") == FILES - written


def test_a_file_that_changed_aborts_what_this_run_has_begun(run: Run) -> None:
    """Nobody could complete it. The file is named."""
    (run.directory / "d0/f0").write_bytes(b"1\n")
    with pytest.raises(SourceFailed) as failure:
        run.publish()
    assert failure.value.problem == (b"d0/f0", CHANGED)
    assert run.mount.calls[-1] == "abort"
    assert not run.mount.is_open


def test_a_file_that_changed_does_not_abort_what_was_open(run: Run) -> None:
    """It is somebody else's as well."""
    run.mount.is_open = True
    (run.directory / "d0/f0").write_bytes(b"1\n")
    with pytest.raises(SourceFailed):
        run.publish()
    assert run.mount.is_open


def test_content_that_the_mount_refuses(run: Run) -> None:
    """A change that no stamp shows is noticed by the mount, and told as a change."""

    def fail(call: str, blob: BlobId | None) -> None:
        if call == "blob is written" and blob == blob_id(b"0\n"):
            raise OSError(errno.EBADMSG, "Bad message")

    run.mount.on_call = fail
    with pytest.raises(SourceFailed) as failure:
        run.publish()
    assert failure.value.problem == (b"d0/f0", CHANGED)
    assert run.mount.calls[-1] == "abort"


def test_an_interrupt_is_one_line(run: Run) -> None:
    """Exit code 130; the transaction stays."""

    def interrupt(call: str, blob: BlobId | None) -> None:
        if call == "list":
            raise KeyboardInterrupt

    run.mount.on_call = interrupt
    with pytest.raises(Interrupted) as failure:
        run.publish()
    assert failure.value.exit_code == 130
    assert failure.value.message == (
        "interrupted; what was written is kept, the same command goes on from there"
    )
    assert run.mount.is_open


def test_somebody_else_aborts_it(run: Run) -> None:
    """That is said; it is not begun anew behind their back."""

    def abort(call: str, blob: BlobId | None) -> None:
        if call == "blob":
            run.mount.is_open = False

    run.mount.on_call = abort
    with pytest.raises(click.ClickException, match="somebody aborted the transaction"):
        run.publish()


def test_the_end_may_take_a_moment(run: Run) -> None:
    """A transaction that misses nothing is waited for."""
    run.mount.end_is_delayed = 5
    run.publish()
    assert run.mount.is_whole


def test_a_transaction_that_does_not_end(run: Run) -> None:
    """What is written and missing again and again is an error in the end, with what the mount says of it."""
    run.mount.end_is_delayed = 1000

    def forget(call: str, blob: BlobId | None) -> None:
        if call == "list":
            run.mount.blobs.pop(blob_id(b"0\n"), None)

    run.mount.on_call = forget
    with pytest.raises(click.ClickException, match="the transaction does not end: need-blobs"):
        run.publish()
    assert run.mount.calls.count("blob") < 2 * FILES


def test_a_blob_that_is_not_ours_is_missing(run: Run, tmp_path: Path) -> None:
    """A transaction that needs what the tree does not have is named with what it needs."""
    blob = next(iter(run.package.holders))
    holders = {known: file for known, file in run.package.holders.items() if known != blob}
    package = Package(run.package.id, run.package.manifest, run.package.files, holders)
    with pytest.raises(click.ClickException, match=f"that is in no file of this tree: {blob}"):
        run.publish(package)


def test_a_mount_that_takes_no_package(run: Run) -> None:
    """A read-only one, for instance."""

    def fail(call: str, blob: BlobId | None) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    run.mount.on_call = fail
    with pytest.raises(click.ClickException, match="does not take a package: Read-only file system"):
        run.publish()


# Bundles


def test_many_small_blobs_are_one_stream(run: Run) -> None:
    """Where the mount takes it; large ones and empty ones follow by themselves."""
    write_tree(run.directory, {"big": bytes(200_000), "empty": b"", "most": bytes(128 << 10)})
    run.package, _ = read(run.source)
    run.mount = MemoryMount(run.package.id, takes_bundle=True)
    assert run.publish() == run.size
    assert run.mount.is_whole
    assert (run.mount.calls.count("bundle"), run.mount.calls.count("blob")) == (1, 2)


def test_a_stream_of_several_pieces(run: Run) -> None:
    """More than is written at once."""
    write_tree(run.directory, {f"more/{number}": b"%d" % number * 30_000 for number in range(100, 120)})
    run.package, _ = read(run.source)
    run.mount = MemoryMount(run.package.id, takes_bundle=True)
    run.publish()
    assert run.mount.is_whole
    assert run.mount.calls.count("blob") == 0


def test_a_mount_without_bundles(run: Run) -> None:
    """It is asked once; then each blob is written by itself."""
    run.publish()
    assert (run.mount.calls.count("bundle"), run.mount.calls.count("blob")) == (1, FILES)


def test_few_small_blobs_are_not_worth_a_stream(run: Run) -> None:
    """What counts is how many are missing, not how many there are."""
    run.mount.takes_bundle = True
    for blob, file in list(run.package.holders.items())[BUNDLE_ABOVE:]:
        run.mount.blobs[blob] = (run.directory / os.fsdecode(file.path)).read_bytes()
    run.publish()
    assert (run.mount.calls.count("bundle"), run.mount.calls.count("blob")) == (0, BUNDLE_ABOVE)


def test_a_small_file_that_changed(run: Run) -> None:
    """The stream is not finished, and the transaction that was begun for it is aborted."""
    run.mount.takes_bundle = True
    (run.directory / "d0/f0").write_bytes(b"1\n")
    with pytest.raises(SourceFailed) as failure:
        run.publish()
    assert failure.value.problem == (b"d0/f0", CHANGED)
    assert run.mount.calls[-1] == "abort"
