"""blobfs.directory_bundles: which bundles a directory has, and the list that says so."""

import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobfs.bundle import BUNDLE_FROM
from blobfs.directory_bundles import (
    MOST_BYTES,
    MOST_LISTED,
    SMALL,
    Bundle,
    decode_list,
    encode_list,
    make_bundle,
    plan_bundles,
)
from blobfs.model import ROOT, BlobId, Invalid, Name
from tests.formats import page, values

HERE = Name("dir")


def blob(number: int) -> BlobId:
    return BlobId(sha256(b"%d" % number).hexdigest())


def small(*numbers: int, size: int = 100) -> dict[BlobId, int]:
    return {blob(number): size for number in numbers}


def blobs_of(bundles: list[Bundle]) -> list[list[BlobId]]:
    return [[member.blob for member in bundle.members] for bundle in bundles]


def test_example() -> None:
    """The page's example: the list, the bundle's id by a second implementation, and its blobs."""
    raw, bundle = page.example("bundle-list"), page.example("directory-bundle")
    header, line = [json.loads(each) for each in raw.splitlines()]
    content, offset = b"", 0
    for each, size in zip(line["blobs"], line["sizes"], strict=True):
        assert values.tree_of(bundle[offset : offset + size])[0] == each
        content += bytes.fromhex(each)
        offset += size
    assert (header, offset) == ({"bundles": 1}, len(bundle))
    expected = values.tree_of(b"words\0" + content)[0]
    assert f"`.blobfs/bundles/{expected}`" in page.PAGE
    (found,) = decode_list(raw, Name("words"))
    assert (found.id, found.size) == (expected, len(bundle))
    assert encode_list([found]) == raw


def test_small_and_few() -> None:
    """From eight small blobs on there is a bundle, in the order that is given."""
    assert plan_bundles(HERE, small(*range(BUNDLE_FROM - 1)), []) == []
    (bundle,) = plan_bundles(HERE, small(*range(BUNDLE_FROM)), [])
    assert blobs_of([bundle]) == [[blob(number) for number in range(BUNDLE_FROM)]]
    assert [member.offset for member in bundle.members] == [100 * number for number in range(BUNDLE_FROM)]


def test_an_id_is_of_one_directory() -> None:
    """The same files elsewhere are another bundle: who removes one takes nothing from the other."""
    some = list(small(1, 2, 3).items())
    ids = {make_bundle(directory, some).id for directory in (ROOT, HERE, Name("dir/dir"))}
    assert len(ids) == 3


def test_what_comes_later_is_in_another_bundle() -> None:
    """Unless it is as much as what was there: then both are written anew, as one."""
    first = plan_bundles(HERE, small(*range(100)), [])
    second = plan_bundles(HERE, small(*range(110)), first)
    assert blobs_of(second) == [*blobs_of(first), [blob(number) for number in range(100, 110)]]
    third = plan_bundles(HERE, small(*range(120)), second)
    assert blobs_of(third) == [*blobs_of(first), [blob(number) for number in range(100, 120)]]
    assert blobs_of(plan_bundles(HERE, small(*range(300)), third)) == [[blob(n) for n in range(300)]]


def test_too_few_to_be_worth_it_wait() -> None:
    """Fewer than eight that are new are in no bundle; what is there stays as it is."""
    first = plan_bundles(HERE, small(*range(100)), [])
    assert plan_bundles(HERE, small(*range(100 + BUNDLE_FROM - 1)), first) == first


def test_what_is_gone_is_in_no_bundle() -> None:
    """A bundle with a blob that no name means is written anew without it; the others stay."""
    first = plan_bundles(HERE, small(*range(100)), [])
    both = plan_bundles(HERE, small(*range(120)), first)
    left = small(*range(119))
    planned = plan_bundles(HERE, left, both)
    assert planned[0] == first[0]
    assert set().union(*blobs_of(planned)) == set(left)
    assert plan_bundles(HERE, {}, both) == []


def test_bounds() -> None:
    """No bundle is larger than 16 MiB, and no more than 65,536 blobs are listed, which the reader takes."""
    many = {blob(number): SMALL for number in range(600)}
    planned = plan_bundles(HERE, many, [])
    assert [bundle.size for bundle in planned] == [MOST_BYTES, 600 * SMALL - MOST_BYTES]
    listed = plan_bundles(HERE, {BlobId(f"{n:064x}"): 1 for n in range(MOST_LISTED + 10)}, [])
    assert sum(len(bundle.members) for bundle in listed) == MOST_LISTED


@given(st.lists(st.tuples(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60))), max_size=8))
def test_any_history(changes: list[tuple[set[int], set[int]]]) -> None:
    """Whatever comes and goes: each bundle holds blobs that are wanted, none twice; few are left out."""
    wanted: set[int] = set()
    bundles: list[Bundle] = []
    for come, go in changes:
        wanted = (wanted | come) - go
        bundles = plan_bundles(HERE, small(*sorted(wanted)), bundles)
        found = [each for listed in blobs_of(bundles) for each in listed]
        assert len(found) == len(set(found))
        assert set(found) <= small(*wanted).keys()
        assert len(wanted) - len(found) < BUNDLE_FROM
        assert decode_list(encode_list(bundles), HERE) == tuple(bundles)
        assert plan_bundles(HERE, small(*sorted(wanted)), bundles) == bundles


ID = "ab" * 32


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"{}",
        b'{"bundles":2}\n',
        b'{"bundles":1}\n[]\n',
        b'{"bundles":1}\n{"blobs":[],"sizes":[]}\n',
        b'{"bundles":1}\n{"blobs":["%s"],"sizes":[1,2]}\n' % ID.encode(),
        b'{"bundles":1}\n{"blobs":["%s"],"sizes":[0]}\n' % ID.encode(),
        b'{"bundles":1}\n{"blobs":["%s"],"sizes":[32769]}\n' % ID.encode(),
        b'{"bundles":1}\n{"blobs":["%s"],"sizes":[true]}\n' % ID.encode(),
        b'{"bundles":1}\n{"blobs":["../%s"],"sizes":[1]}\n' % ID[3:].encode(),
        b'{"bundles":1}\n{"blobs":[1],"sizes":[1]}\n',
        b'\xff{"bundles":1}\n',
    ],
)
def test_what_is_no_list(raw: bytes) -> None:
    """P8: refused, and nothing else happens."""
    with pytest.raises(Invalid):
        decode_list(raw, HERE)


@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    """P8: a list, or refused."""
    try:
        decode_list(raw, HERE)
    except Invalid:
        return
    assert json.loads(raw.splitlines()[0])["bundles"] == 1
