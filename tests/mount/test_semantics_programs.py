"""docs/semantics.md, "Programs": real ones."""

import os
import sys
from pathlib import Path

import pytest

from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import attribute
from tests.mount.programs import bash, bash_fails, run, sync_directory

OUT = "TREE=../tree; "
"""Scripts run in the mount; the tree that they copy is beside it."""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files of many sizes with old times, x bits, symlinks, a hard link, an empty directory."""
    tree = tmp_path / "tree"
    (tree / "sub/deep/empty").mkdir(parents=True)
    for number in range(20):
        (tree / f"sub/f{number}").write_bytes(os.urandom(number * number * 500))
    (tree / "sub/deep/big file").write_bytes(os.urandom(2_000_000))
    (tree / "run").write_text("#!/bin/sh\necho ran\n")
    (tree / "run").chmod(0o755)
    (tree / "link").symlink_to("sub/f1")
    (tree / "sub/up").symlink_to("../run")
    os.link(tree / "sub/f2", tree / "sub/deep/hard")
    for number, path in enumerate(sorted(tree.rglob("*"))):
        os.utime(path, (number, 1_000_000_000 + number), follow_symlinks=False)
    return tree


def looks(root: Path) -> list[str]:
    """What is below: kind, x bit, size, time, links, target, name. Of directories kind and name."""
    formatted = "%P|%y|%s|%T@|%n|%l|"
    files = run("find", root, "-mindepth", "1", "!", "-type", "d", "-printf", f"{formatted}\n").splitlines()
    programs = run("find", root, "-type", "f", "-perm", "/111", "-printf", "%P\n").splitlines()
    directories = run("find", root, "-mindepth", "1", "-type", "d", "-printf", "%P/\n").splitlines()
    return sorted([*files, *programs, *directories])


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("cp -a $TREE/. .", id="cp"),
        pytest.param("rsync -aH $TREE/ .", id="rsync"),
        pytest.param("tar -C $TREE -cf ../tar . && tar -xf ../tar", id="tar"),
    ],
)
def test_copying(two_nodes: tuple[BlobfsNode, BlobfsNode], tree: Path, script: str):
    """[S69] What was copied in is the same in the mount, after a restart, and read from the other node."""
    a, b = two_nodes
    bash(OUT + script, a.path())
    sync_directory(a.path())
    run("diff", "-r", "--no-dereference", tree, a.path())
    assert looks(a.path()) == looks(tree)
    run("diff", "-r", "--no-dereference", tree, b.path())
    a.restart()
    run("diff", "-r", "--no-dereference", tree, a.path())
    without_links = [line.replace("|2||", "|1||") for line in looks(tree)]
    assert [line.replace("|2||", "|1||") for line in looks(a.path())] == without_links
    assert looks(b.path()) == without_links


def test_copying_with_fresh_times(place: Path, tmp_path: Path, tree: Path):
    """[S69] cp -r, install and tar into the mount, of a tree and of one file."""
    run("cp", "-r", tree, place / "copy")
    run("diff", "-r", "--no-dereference", tree, place / "copy")
    run("install", "-m", "755", tree / "sub/f3", place / "installed")
    assert os.access(place / "installed", os.X_OK)
    run("tar", "-C", tree, "-czf", place / "t.tgz", ".")
    assert run("tar", "-tzf", place / "t.tgz").count("\n") == len(list(tree.rglob("*"))) + 1


def test_rsync_again(node: BlobfsNode, tree: Path):
    """[S69] A second rsync -a transfers nothing; what has changed is replaced; --inplace is refused."""
    (tree / "sub/f5").chmod(0o444)
    run("rsync", "-a", f"{tree}/", f"{node.path()}/")
    again = run("rsync", "-a", "--itemize-changes", f"{tree}/", f"{node.path()}/")
    assert ">f" not in again
    assert "sub/f5" not in again
    (tree / "run").write_text("#!/bin/sh\necho changed\n")
    (tree / "sub/f6").unlink()
    changed = run("rsync", "-a", "--itemize-changes", "--delete", f"{tree}/", f"{node.path()}/").splitlines()
    touched = {line.split()[1] for line in changed if line.startswith((">f", "*deleting"))}
    assert touched == {"sub/f6", "run"}
    assert run(node.path("run")) == "changed\n"
    (tree / "run").write_text("#!/bin/sh\necho again\n")
    assert "Operation not permitted" in bash_fails("rsync --inplace -a ../tree/run .", node.path())
    assert run(node.path("run")) == "changed\n"


def test_reading_programs(two_nodes: tuple[BlobfsNode, BlobfsNode], tree: Path, tmp_path: Path):
    """[S70] tar, rsync, grep, sort and running programs, on the node that has to load everything first."""
    a, b = two_nodes
    run("cp", "-a", f"{tree}/.", a.path())
    sync_directory(a.path())
    run("tar", "-C", b.path(), "-cf", tmp_path / "t.tar", ".")
    (tmp_path / "out").mkdir()
    run("tar", "-C", tmp_path / "out", "-xf", tmp_path / "t.tar")
    run("diff", "-r", "--no-dereference", tree, tmp_path / "out")
    run("rsync", "-a", f"{b.path()}/", tmp_path / "out2")
    run("diff", "-r", "--no-dereference", tree, tmp_path / "out2")
    assert bash("grep -rl ran .; sort run | head -1; ./run; ./sub/up", b.path()).split()[-2:] == [
        "ran",
        "ran",
    ]


def test_git_clone(start_node: StartNode, tmp_path: Path):
    """[S70] A clone into the mount is complete and clean."""
    node = start_node()
    configured = "git -c user.name=n -c user.email=e@example.org -c init.defaultBranch=main"
    bash(
        f"{configured} init -q . && echo 1 > a && git add a && {configured} commit -qm x",
        make(tmp_path / "repo"),
    )
    run("git", "clone", "-q", "--no-hardlinks", tmp_path / "repo", node.path("clone"))
    assert run("git", "-C", node.path("clone"), "status", "--short") == ""
    assert run("git", "-C", node.path("clone"), "log", "--format=%s") == "x\n"
    run("git", "-C", node.path("clone"), "fsck", "--strict")


def make(directory: Path) -> Path:
    directory.mkdir()
    return directory


def test_python_import(place: Path):
    """[S70] import, which writes its caches into the mount and uses them the second time."""
    (place / "package").mkdir()
    (place / "package/__init__.py").write_text("from package import part\n")
    (place / "package/part.py").write_text("VALUE = 42\n")
    lines = [
        "import sys",
        "sys.path.insert(0, '.')",
        "from package import part",
        "print(part.VALUE, part.__cached__)",
    ]
    script = "; ".join(lines)
    without = " ".join(f"-u PYTHON{each}" for each in ("DONTWRITEBYTECODE", "PYCACHEPREFIX", "PATH"))
    command = f'env {without} {sys.executable} -c "{script}"'
    first, second = bash(command, place), bash(command, place)
    assert first == second
    value, cache = first.split()
    assert value == "42"
    assert attribute(place / cache, "state") in ("sealed", "writing")
    assert len(os.listdir(place / "package/__pycache__")) == 2


def test_sqlite(place: Path, tmp_path: Path):
    """[S70] A database that was copied in is read, and cannot be written."""
    database = tmp_path / "x.db"
    run("sqlite3", database, "create table t(a); insert into t values (1), (2)")
    run("cp", database, place / "x.db")
    attribute(place / "x.db", "id")
    assert run("sqlite3", place / "x.db", "select sum(a) from t") == "3\n"
    assert run("sqlite3", "-readonly", place / "x.db", "select count(*) from t") == "2\n"
    assert "readonly" in bash_fails('sqlite3 x.db "insert into t values (3)"', place)
    assert os.listdir(place) == ["x.db"]


def test_shell(place: Path):
    """[S71] A second redirection and writing after mktemp fail; mv, one descriptor and sed -i work."""
    assert "Operation not permitted" in bash_fails("echo 1 > f; echo 2 > f", place)
    assert "Operation not permitted" in bash_fails("echo 1 > g; echo 2 >> g", place)
    assert "Operation not permitted" in bash_fails("t=$(mktemp -p .); echo x > $t", place)
    assert bash("{ echo 1; echo 2; } > h; cat h", place) == "1\n2\n"
    assert bash("echo new > i; mv i f; cat f; sed -i s/new/old/ f; cat f", place) == "new\nold\n"
    assert (place / "g").read_text() == "1\n"
