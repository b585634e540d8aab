"""blobfs.bundle: which blobs stand where in a package's bundle follows from its manifest."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from blobfs.bundle import BUNDLE_FROM, BUNDLED_UP_TO, Member, bundle_members
from blobfs.manifest import Directory, Entry, File, Manifest, Nested, parse_manifest, render_manifest
from blobfs.model import CHUNK_SIZE, EMPTY_BLOB, BlobId
from tests.formats.trees import trees


def blob(number: int) -> BlobId:
    return BlobId(sha256(b"%d" % number).hexdigest())


def package_of(*sizes: int) -> Manifest:
    """One file for each, in this order; a size stands for a blob."""
    entries = [
        File(b"%06d" % place, 0o644, size, 0, blob(size) if size else EMPTY_BLOB)
        for place, size in enumerate(sizes)
    ]
    return parse_manifest(render_manifest(entries))


def test_members_stand_one_after_the_other() -> None:
    """Each small blob once, where its first file is; the others follow without a gap."""
    members = bundle_members(package_of(5, 3, 5, 10, 3, 1, 2, 4, 6, 7))
    sizes = [5, 3, 10, 1, 2, 4, 6, 7]
    assert [member.size for member in members] == sizes
    assert members[:3] == (Member(blob(5), 0, 5), Member(blob(3), 5, 3), Member(blob(10), 8, 10))
    assert members[-1].offset + members[-1].size == sum(sizes)


def test_small_is_up_to_a_chunk() -> None:
    """The empty blob and what is over 128 KiB are in no bundle; exactly 128 KiB is."""
    members = bundle_members(package_of(*range(1, BUNDLE_FROM), 0, CHUNK_SIZE, CHUNK_SIZE + 1))
    assert [member.size for member in members] == [*range(1, BUNDLE_FROM), CHUNK_SIZE]
    assert BUNDLED_UP_TO == CHUNK_SIZE == 131_072


def test_few_small_blobs_are_no_bundle() -> None:
    """Below eight different ones there is none, however many files have them."""
    few = range(1, BUNDLE_FROM)
    assert bundle_members(package_of(*few, *few, 0, CHUNK_SIZE + 1)) == ()
    assert len(bundle_members(package_of(*few, BUNDLE_FROM))) == BUNDLE_FROM
    assert bundle_members(Manifest(())) == ()


def test_nested_packages_have_their_own() -> None:
    """A nested package adds nothing, not even its manifest."""
    entries: list[Entry] = [Nested(b"n%d" % each, blob(each)) for each in range(20)]
    assert bundle_members(parse_manifest(render_manifest([*entries, Directory(b"d", 0o755)]))) == ()


@given(trees(max_size=30), st.lists(st.integers(0, 2 * CHUNK_SIZE), max_size=20))
def test_members_are_the_small_blobs(entries: tuple[Entry, ...], sizes: list[int]) -> None:
    """Of any package: exactly its small blobs, in the order of the manifest, back to back."""
    of_sizes = package_of(*sizes).entries
    for manifest in (Manifest(entries), Manifest(of_sizes)):
        members = bundle_members(manifest)
        small = {each: size for each, size in manifest.blobs().items() if 1 <= size <= BUNDLED_UP_TO}
        assert list(small.items()) == [(each.blob, each.size) for each in members] or len(small) < BUNDLE_FROM
        assert len(members) != 0 or len(small) < BUNDLE_FROM
        end = 0
        for member in members:
            assert member.offset == end
            end += member.size
