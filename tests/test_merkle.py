"""blobfs.merkle against known vectors, and against a naive tree written from the definition alone."""

import functools
import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blobfs.merkle import (
    DIGEST_SIZE,
    Geometry,
    StreamHasher,
    Tree,
    build_tree,
    find_wrong_leaf,
    hash_leaves,
    hash_node,
    verify_range,
    verify_tree,
)
from blobfs.model import EMPTY_BLOB, LEAF_SIZE, BlobId

MIB = 1 << 20

BOUNDARIES = [
    0,
    1,
    LEAF_SIZE - 1,
    LEAF_SIZE,
    LEAF_SIZE + 1,
    2 * LEAF_SIZE,
    2 * MIB - 1,
    2 * MIB,  # 256 leaves: one full node
    2 * MIB + 1,  # 257 leaves: two levels
    2 * MIB + LEAF_SIZE + 1,
    5 * MIB + 12_345,
    8 * MIB,
]

sizes = st.sampled_from(BOUNDARIES) | st.integers(0, 40 * LEAF_SIZE)


@functools.cache
def content_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def naive_hash(level: int, position: int, length: int, node: bytes) -> bytes:
    prefix = (position | level).to_bytes(8, "little") + length.to_bytes(4, "little")
    return hashlib.sha256(prefix + node + bytes(8192 - len(node))).digest()


@functools.cache
def naive_tree(size: int) -> tuple[str, bytes]:
    """Root and tree file of `content_of(size)`, by the words of the definition."""
    content = content_of(size)
    if not content:
        return hashlib.sha256(bytes(12)).hexdigest(), b""
    nodes = [content[at : at + 8192] for at in range(0, size, 8192)]
    digests = [naive_hash(0, 8192 * n, len(node), node) for n, node in enumerate(nodes)]
    level, tree = 0, b""
    while len(digests) > 1:
        level += 1
        tree = b"".join(digests) + tree
        groups = [b"".join(digests[at : at + 256]) for at in range(0, len(digests), 256)]
        digests = [naive_hash(level, 8192 * n, 8192, group) for n, group in enumerate(groups)]
    return digests[0].hex(), tree


def hash_whole(content: bytes) -> Tree:
    hasher = StreamHasher()
    hasher.append(content)
    return hasher.finish()


def flip(content: bytes, at: int, bit: int = 0) -> bytes:
    return content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :]


@pytest.mark.parametrize(
    ("content", "root"),
    [
        (b"", "15ec7bf0b50732b49f8228e07d24365338f9e3ab994b00af08e5a3bffe55fd8b"),
        (b"\xff", "0967e0f62a104d1595610d272dfab3d2fa2fe07be0eebce13ef5d79db142610e"),
        (b"\xff" * 4096, "0a90612c255555469dead72c8fdc41eec06dfe04a30a1f2b7c480ff95d20c5ec"),
        (b"\xff" * 8191, "f2abd690381bab3ce485c814d05c310b22c34a7441418b5c1a002c344a80e730"),
        (b"\xff" * 8192, "68d131bc271f9c192d4f6dcd8fe61bef90004856da19d0f2f514a7f4098b0737"),
        (b"\xff" * 8193, "374781f7d770b6ee9c1a63e186d2d0ccdad10d6aef4fd027e82b1be5b70a2a0c"),
        (b"\xff" * 65536, "f75f59a944d2433bc6830ec243bfefa457704d2aed12f30539cd4f18bf1d62cf"),
        (b"\xff" * 2105344, "7d75dfb18bfd48e03b5be4e8e9aeea2f89880cb81c1551df855e0d0a0cc59a67"),
        (b"\xff" * 2109440, "7577266aa98ce587922fdc668c186e27f3c742fb1b732737153b70ae46973e43"),
        (
            (b"\xff\x00\x80" * 5570603)[:0xFF0080],
            "2feb488cffc976061998ac90ce7292241dfa86883c0edc279433b5c4370d0f30",
        ),
    ],
    ids=lambda value: str(len(value)) if isinstance(value, bytes) else "",
)
def test_known_roots(content: bytes, root: str) -> None:
    """The root is the one Fuchsia publishes for these bytes."""
    assert hash_whole(content).root == root


@pytest.mark.parametrize("size", BOUNDARIES)
def test_root_and_tree_file_at_the_boundaries(size: int) -> None:
    """Where a leaf, a node or a level begins or ends, root and tree file are those of the definition."""
    found = hash_whole(content_of(size))
    assert (found.root, found.tree) == naive_tree(size)
    assert found.size == size


@given(sizes, st.lists(st.integers(0, 5 * LEAF_SIZE), max_size=8))
@settings(max_examples=80, deadline=None)
def test_stream_in_any_pieces(size: int, cuts: list[int]) -> None:
    """How a blob is cut into pieces does not matter, and `size` counts them."""
    content = memoryview(content_of(size))
    hasher = StreamHasher()
    at = 0
    for cut in cuts:
        hasher.append(content[at : at + cut])
        at = min(at + cut, size)
        assert hasher.size == at
    hasher.append(content[at:])
    assert hasher.finish() == Tree(BlobId(naive_tree(size)[0]), size, naive_tree(size)[1])


def test_stream_byte_by_byte_past_a_leaf() -> None:
    """Single bytes add up to leaves."""
    hasher = StreamHasher()
    for byte in content_of(LEAF_SIZE + 1):
        hasher.append(bytes([byte]))
    assert hasher.finish().root == naive_tree(LEAF_SIZE + 1)[0]


def test_stream_goes_on_after_finish() -> None:
    """`finish` says what is there so far and changes nothing."""
    content = content_of(3 * LEAF_SIZE + 5)
    hasher = StreamHasher()
    assert hasher.finish().root == EMPTY_BLOB
    hasher.append(content[: LEAF_SIZE + 5])
    assert hasher.finish() == hash_whole(content[: LEAF_SIZE + 5])
    hasher.append(content[LEAF_SIZE + 5 :])
    assert hasher.finish() == hasher.finish() == hash_whole(content)


def test_stream_keeps_no_reference() -> None:
    """A buffer may be filled anew after each append."""
    content = content_of(3 * LEAF_SIZE + 77)
    scratch = bytearray(5000)
    hasher = StreamHasher()
    for at in range(0, len(content), len(scratch)):
        piece = content[at : at + len(scratch)]
        scratch[: len(piece)] = piece
        hasher.append(memoryview(scratch)[: len(piece)])
        scratch[:] = bytes(len(scratch))
    assert hasher.finish() == hash_whole(content)


@pytest.mark.parametrize("size", [*BOUNDARIES, 256**2 * LEAF_SIZE, 256**2 * LEAF_SIZE + 1, 1 << 40, 1 << 44])
def test_geometry(size: int) -> None:
    """Levels stand topmost first, without gaps, each with a digest for every node below, up to one node."""
    geometry = Geometry(size)
    assert geometry.leaves == max(1, (size + 8191) // 8192)
    below = geometry.leaves
    end = geometry.tree_size
    for number, level in enumerate(geometry.levels, start=1):
        assert (level.number, level.digests) == (number, below)
        assert level.offset + level.length == end
        first, last = level.node_span(0), level.node_span(level.nodes - 1)
        assert first[0] == level.offset
        assert sum(last) == level.offset + level.length
        assert 0 < last[1] <= 8192
        assert level.nodes == (below + 255) // 256
        end, below = level.offset, level.nodes
    assert end == 0
    assert below == 1


@pytest.mark.parametrize(
    ("leaves", "digests"),
    [
        (1, []),
        (2, [2]),
        (256, [256]),
        (257, [257, 2]),
        (256**2, [256**2, 256]),
        (256**2 + 1, [256**2 + 1, 257, 2]),
        (256**3, [256**3, 256**2, 256]),
    ],
)
def test_digests_of_each_level(leaves: int, digests: list[int]) -> None:
    """A level is added when a 257th node needs a place."""
    geometry = Geometry(leaves * LEAF_SIZE)
    assert [level.digests for level in geometry.levels] == digests
    assert geometry.tree_size == 32 * sum(digests)


def test_geometry_is_a_value() -> None:
    """Equal sizes are equal, and nothing can be changed."""
    assert Geometry(5) == Geometry(5) != Geometry(6)
    with pytest.raises(AttributeError):
        Geometry(5).size = 6  # type: ignore[misc]


def test_no_geometry_of_a_negative_size() -> None:
    """A negative size is a defect of the caller."""
    with pytest.raises(ValueError, match="-1 bytes"):
        Geometry(-1)


@pytest.mark.parametrize("node", [-1, 2])
def test_no_span_of_a_node_that_is_not_there(node: int) -> None:
    """A node number outside the level is a defect of the caller."""
    with pytest.raises(IndexError):
        Geometry(2 * MIB + 1).levels[0].node_span(node)


@pytest.mark.parametrize("size", [LEAF_SIZE + 1, 2 * MIB, 2 * MIB + 1, 5 * MIB + 12_345])
def test_nodes_hash_to_the_level_above(size: int) -> None:
    """With `node_span` and `hash_node` a reader can go from the root to any leaf's digest."""
    root, tree = naive_tree(size)
    levels = Geometry(size).levels
    for level in levels:
        for node in range(level.nodes):
            offset, length = level.node_span(node)
            found = hash_node(level.number, node, memoryview(tree)[offset : offset + length])
            if level is levels[-1]:
                assert found.hex() == root
            else:
                above = levels[level.number].offset + node * DIGEST_SIZE
                assert found == tree[above : above + DIGEST_SIZE]


@pytest.mark.parametrize(("level", "content"), [(0, b"x" * 32), (1, b""), (1, b"x" * 8224)])
def test_no_hash_of_what_is_no_node(level: int, content: bytes) -> None:
    """Leaves are `hash_leaves`' business; a node has 1 to 256 digests."""
    with pytest.raises(ValueError, match="no node"):
        hash_node(level, 0, content)


@given(st.integers(1, 20 * LEAF_SIZE), st.integers(0, 19))
@settings(deadline=None)
def test_leaves_from_the_middle(size: int, first: int) -> None:
    """Leaves hashed from any leaf on have the digests they have in the whole blob."""
    content = content_of(size)
    whole = hash_leaves(content, 0)
    assert len(whole) == DIGEST_SIZE * Geometry(size).leaves
    assert hash_leaves(memoryview(content)[first * LEAF_SIZE :], first) == whole[first * DIGEST_SIZE :]


def test_leaf_position_counts() -> None:
    """The same bytes at another place have another digest, and zeros are not the padding of less."""
    leaf = content_of(LEAF_SIZE)
    assert hash_leaves(leaf, 0) != hash_leaves(leaf, 1)
    assert hash_leaves(leaf[:10], 0) != hash_leaves(leaf[:10] + b"\0", 0)


@pytest.mark.parametrize(
    ("digests", "size"),
    [(b"", 1), (bytes(31), 5), (bytes(64), 8192), (bytes(32), 8193), (bytes(96), 8193), (bytes(64), 0)],
)
def test_no_tree_of_too_few_or_many_digests(digests: bytes, size: int) -> None:
    """The digests must be as many as the size has leaves."""
    with pytest.raises(ValueError, match="bytes of digests"):
        build_tree(digests, size)


def test_the_empty_blob() -> None:
    """It has an id of its own, no tree, and nothing in it to verify."""
    assert build_tree(b"", 0) == (EMPTY_BLOB, b"")
    assert verify_tree(EMPTY_BLOB, 0, b"")
    assert verify_range(EMPTY_BLOB, 0, b"", 0, b"")
    other = BlobId("0" * 64)
    assert not verify_tree(other, 0, b"")
    assert not verify_range(other, 0, b"", 0, b"")
    assert not verify_range(EMPTY_BLOB, 0, b"", 0, b"\0")


@given(st.integers(1, 12 * LEAF_SIZE), st.data())
@settings(deadline=None)
def test_find_wrong_leaf(size: int, draw: st.DataObject) -> None:
    """The first leaf with a wrong byte is named by its number in the blob."""
    content = content_of(size)
    first = draw.draw(st.integers(0, Geometry(size).leaves - 1))
    digests = hash_leaves(content, 0)[first * DIGEST_SIZE :]
    part = content[first * LEAF_SIZE :]
    assert find_wrong_leaf(part, first, memoryview(digests)) is None
    wrong = draw.draw(st.lists(st.integers(0, len(part) - 1), min_size=1, max_size=3, unique=True))
    for at in wrong:
        part = flip(part, at)
    assert find_wrong_leaf(part, first, digests) == first + min(wrong) // LEAF_SIZE


def test_find_wrong_leaf_wants_a_digest_for_each_leaf() -> None:
    """Digests that are not those of the content are a defect of the caller, not a wrong leaf."""
    with pytest.raises(ValueError, match="for 2 leaves"):
        find_wrong_leaf(content_of(LEAF_SIZE + 1), 0, bytes(32))


@pytest.mark.parametrize("size", BOUNDARIES)
def test_what_is_right_verifies(size: int) -> None:
    """A right tree verifies, and so does every kind of range of whole leaves."""
    root, tree = BlobId(naive_tree(size)[0]), naive_tree(size)[1]
    content = content_of(size)
    assert verify_tree(root, size, memoryview(tree))
    assert verify_range(root, size, tree, 0, content)
    last = (Geometry(size).leaves - 1) * LEAF_SIZE
    assert verify_range(root, size, memoryview(tree), last, memoryview(content)[last:])
    middle = (last // 2) // LEAF_SIZE * LEAF_SIZE
    assert verify_range(root, size, tree, middle, content[middle : middle + LEAF_SIZE])


@given(sizes.filter(bool), st.data())
@settings(max_examples=80, deadline=None)
def test_one_flipped_bit_of_content_does_not_verify(size: int, draw: st.DataObject) -> None:
    """Any single bit of a range that is not the blob's makes the range wrong."""
    root, tree = naive_tree(size)
    first = draw.draw(st.integers(0, Geometry(size).leaves - 1))
    part = content_of(size)[first * LEAF_SIZE : (first + 3) * LEAF_SIZE]
    wrong = flip(part, draw.draw(st.integers(0, len(part) - 1)), draw.draw(st.integers(0, 7)))
    assert verify_range(BlobId(root), size, tree, first * LEAF_SIZE, part)
    assert not verify_range(BlobId(root), size, tree, first * LEAF_SIZE, wrong)


@given(sizes.filter(lambda size: size > LEAF_SIZE), st.data())
@settings(max_examples=80, deadline=None)
def test_one_flipped_bit_of_the_tree_does_not_verify(size: int, draw: st.DataObject) -> None:
    """Any single bit of any level makes the tree wrong, and every range with it."""
    root, tree = naive_tree(size)
    wrong = flip(tree, draw.draw(st.integers(0, len(tree) - 1)), draw.draw(st.integers(0, 7)))
    assert not verify_tree(BlobId(root), size, wrong)
    assert not verify_range(BlobId(root), size, wrong, 0, content_of(size)[:LEAF_SIZE])


@given(sizes.filter(bool), st.integers(0, 255))
@settings(max_examples=40, deadline=None)
def test_another_root_does_not_verify(size: int, bit: int) -> None:
    """A tree proves one root only."""
    root, tree = naive_tree(size)
    other = BlobId(flip(bytes.fromhex(root), bit // 8, bit % 8).hex())
    assert not verify_range(other, size, tree, 0, content_of(size))
    assert size <= LEAF_SIZE or not verify_tree(other, size, tree)


@pytest.mark.parametrize(
    ("offset", "content"),
    [
        (1, content_of(3 * LEAF_SIZE)[1:LEAF_SIZE]),
        (0, content_of(3 * LEAF_SIZE)[: LEAF_SIZE + 1]),
        (0, content_of(3 * LEAF_SIZE) + b"\0"),
        (0, b""),
        (3 * LEAF_SIZE, b""),
        (-LEAF_SIZE, content_of(3 * LEAF_SIZE)[:LEAF_SIZE]),
        (4 * LEAF_SIZE, content_of(3 * LEAF_SIZE)[:LEAF_SIZE]),
    ],
    ids=[
        "begins in a leaf",
        "ends in a leaf",
        "too long",
        "nothing",
        "nothing at the end",
        "before",
        "beyond",
    ],
)
def test_what_is_no_range_of_leaves_does_not_verify(offset: int, content: bytes) -> None:
    """Only one or more whole leaves inside the blob can be verified."""
    size = 3 * LEAF_SIZE
    root, tree = naive_tree(size)
    assert not verify_range(BlobId(root), size, tree, offset, content)


@pytest.mark.parametrize("size", [LEAF_SIZE + 1, 2 * MIB, 2 * MIB + 1])
def test_a_tree_of_another_length_does_not_verify(size: int) -> None:
    """A tree file that is cut short or goes on is not the tree."""
    root, tree = naive_tree(size)
    for wrong in (b"", tree[:-1], tree[:-32], tree + b"\0", tree + bytes(32)):
        assert not verify_tree(BlobId(root), size, wrong)


@pytest.mark.parametrize("leaves", [2, 3, 255, 257, 300])
def test_zeros_do_not_stretch_a_tree(leaves: int) -> None:
    """Padding looks like digests of zeros; a claim of more leaves than there are does not verify."""
    size = leaves * LEAF_SIZE
    root, tree = naive_tree(size)
    assert verify_tree(BlobId(root), size, tree)
    assert not verify_tree(BlobId(root), size + 1, tree + bytes(32))
    assert not verify_tree(BlobId(root), size + 40 * LEAF_SIZE, tree + bytes(40 * 32))


@pytest.mark.parametrize("size", [10, 2 * LEAF_SIZE + 10, 2 * MIB + 10])
def test_the_last_leaf_proves_the_size(size: int) -> None:
    """Sizes with as many leaves share a tree; the last leaf tells them apart."""
    root, tree = BlobId(naive_tree(size)[0]), naive_tree(size)[1]
    last = (Geometry(size).leaves - 1) * LEAF_SIZE
    end = content_of(size)[last:]
    assert verify_range(root, size, tree, last, end)
    assert not verify_range(root, size + 1, tree, last, end + b"\0")
    assert not verify_range(root, size - 1, tree, last, end[:-1])
