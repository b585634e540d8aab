"""Names that change on the node that publishes them, seen from another."""

import os
from errno import ENOENT

from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import MIB, assert_sound, attribute, errno_of, errno_of_read, put, stored, until


def test_a_replaced_name(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """`mv new old` on A: B sees the new content within seconds; who has the old one open reads on in it."""
    a, b = two_nodes
    old, new = os.urandom(2 * MIB), os.urandom(3 * MIB)
    put(a, "f", old)
    with b.path("f").open("rb", buffering=0) as reader:
        assert reader.read(1000) == old[:1000]
        assert b.path("f").read_bytes() == old
        put(a, "new", new)
        os.rename(a.path("new"), a.path("f"))
        until(lambda: b.path("f").stat().st_size == len(new), "B knows of the new one")
        assert b.path("f").read_bytes() == new
        assert os.pread(reader.fileno(), len(old), 0) == old
    until(lambda: attribute(b.path("f"), "state") == "whole", "it is shared in turn")
    assert errno_of(lambda: b.path("new").stat()) == ENOENT
    assert_sound(a.share)
    assert_sound(b.share)


def test_a_name_replaced_while_it_is_loaded(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """P1: the reader of a blob that vanished from its share gets ENOENT, never bytes of the next one."""
    a, b = two_nodes
    old, new = b"\1" * 20 * MIB, b"\2" * 20 * MIB
    gone = put(a, "f", old)
    with b.path("f").open("rb", buffering=0) as reader:
        b.expect_log("no share has it")
        assert reader.read(1000) == old[:1000]
        put(a, "new", new)
        os.rename(a.path("new"), a.path("f"))
        until(lambda: gone not in stored(a.share), "A has let go of it")
        assert errno_of(lambda: os.pread(reader.fileno(), 1000, 19 * MIB)) == ENOENT
    until(lambda: b.path("f").read_bytes() == new, "B knows of the new one")


def test_names_that_come_move_and_go(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """New, renamed and removed names of A show on B within seconds, in listings and when asked for."""
    a, b = two_nodes
    b.expect_log("no share has it", perhaps=True)  # asked for by a record that just stopped to be true
    put(a, "d/one", b"1")
    assert os.listdir(b.path("d")) == ["one"]
    put(a, "d/two", b"2")
    until(lambda: sorted(os.listdir(b.path("d"))) == ["one", "two"], "the new name")
    os.rename(a.path("d/one"), a.path("d/uno"))
    until(lambda: sorted(os.listdir(b.path("d"))) == ["two", "uno"], "the renamed name")
    assert b.path("d/uno").read_bytes() == b"1"
    a.path("d/two").unlink()
    until(lambda: os.listdir(b.path("d")) == ["uno"], "the removed name")
    assert errno_of_read(b.path("d/two")) == ENOENT
    put(a, "d/two", b"again")
    until(lambda: errno_of_read(b.path("d/two")) == 0, "the name that is back")
    assert b.path("d/two").read_bytes() == b"again"


def test_a_name_just_written_is_found_soon(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """That a name was absent a moment ago is believed for a second or two only."""
    a, b = two_nodes
    assert errno_of(lambda: b.path("later").stat()) == ENOENT
    put(a, "later", b"here")
    until(lambda: errno_of_read(b.path("later")) == 0, "the absence is forgotten")


def test_what_was_loaded_goes_when_its_publisher_removes_it(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S50] `rm` on A is seen on B soon, and takes the bytes that B has loaded; who has it open reads on."""
    a, b = two_nodes
    blob = put(a, "f", b"kept" * 1000)
    with b.path("f").open("rb", buffering=0) as file:
        assert file.read(4) == b"kept"
        until(lambda: blob in stored(b.share), "B has it")
        a.path("f").unlink()
        until(lambda: errno_of(b.path("f").stat) == ENOENT, "it is gone from B")
        assert file.read() == b"kept" * 999
    until(lambda: blob not in stored(b.share), "B has let go of it")
    assert not (b.share / "f").exists()


def test_one_name_two_publishers(start_node: StartNode):
    """Of two nodes that publish one name the later one is meant, in lookups and in listings."""
    a, b = start_node("a", listen=True), start_node("b", listen=True)
    put(a, "f", b"earlier")
    put(b, "f", b"later!")
    for shares in ([a.url, b.url], [b.url, a.url]):
        c = start_node(f"c{shares.index(a.url)}", shares=shares)
        assert c.path("f").read_bytes() == b"later!"
        assert {entry.name: entry.stat().st_size for entry in os.scandir(c.path(""))} == {"f": 6}


def test_two_nodes_that_know_each_other(start_node: StartNode):
    """A share may be mutual: each finds the other's files, and what was loaded back is not news."""
    a = start_node("a", listen=True)
    b = start_node("b", listen=True, shares=[a.url])
    a.stop()
    a.arguments.append(f"--share={b.url}")
    a.start()
    put(a, "of-a", b"a")
    put(b, "of-b", b"b")
    until(
        lambda: sorted(os.listdir(a.path(""))) == sorted(os.listdir(b.path(""))) == ["of-a", "of-b"], "both"
    )
    assert (a.path("of-b").read_bytes(), b.path("of-a").read_bytes()) == (b"b", b"a")
    until(lambda: set(stored(a.share)) == set(stored(b.share)), "each has what the other has")
    a.path("of-a").unlink()
    assert errno_of(lambda: a.path("of-a").stat()) == ENOENT
    assert os.listdir(a.path("")) == ["of-b"]
