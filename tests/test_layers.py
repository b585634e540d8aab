"""The rules of the architecture (README, "How it is built"), held against the sources as they are.

Imports go down the layers and never round in a ring; every library has one folder that may import it;
nothing grows without bound; names say what a thing is.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.structure import Module, find_ring, part_of, read_modules

LAYERS = (
    # Values: these may import each other.
    {"errors", "model", "record", "merkle", "manifest", "bundle", "chunks", "directory_bundles", "requests"},
    {"config"},
    {"store", "shares"},  # the disk and the network know nothing of each other
    {"sync"},
    {"vfs"},
    {"fuse", "control"},
    {"daemon", "mending"},
    {"cli"},
    {"__main__"},
)
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}

OWNERS = {
    "pyfuse3": "fuse",
    "httpx": "shares",
    "h11": "shares",
    "hypercorn": "shares",
    "starlette": "shares",
    "xattr": "store",
    "click": "cli",
    "rich": "cli",
    "prometheus_client": "control",
    "cysystemd": "daemon",
}
EVERYBODYS = {"trio"}

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60

BANNED = re.compile(r"(manager|helper|util|common|base|misc|handler|info|data)s?\Z", re.IGNORECASE)
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

MODULES = read_modules()


def may_import(importer: str, imported: str) -> bool:
    if importer == imported or RANK[importer] == RANK[imported] == 0:
        return True
    return RANK[imported] < RANK[importer]


def wrong_imports(modules: dict[str, Module]) -> Iterator[str]:
    for module in modules.values():
        for target in sorted(module.imports):
            if module.part and part_of(target) and not may_import(module.part, part_of(target)):
                yield f"{module.name} imports {target}"


def wrong_libraries(modules: dict[str, Module]) -> Iterator[str]:
    for module in modules.values():
        for library in sorted(module.libraries - EVERYBODYS - sys.stdlib_module_names):
            if OWNERS.get(library) != module.part:
                yield f"{module.name} imports {library}, which is for {OWNERS.get(library, 'nobody')}"


def wrong_names(modules: dict[str, Module]) -> Iterator[str]:
    for module in modules.values():
        names = [*module.name.split("."), *module.classes, *(function.name for function in module.functions)]
        for name in sorted(set(names)):
            if any(BANNED.match(word) for word in WORD.findall(name)) or re.match(r"_*process(_|\Z)", name):
                yield f"{module.name}: {name}"


def test_every_part_has_its_layer() -> None:
    """A new folder or top-level module is put into a layer before it is used."""
    assert {module.part for module in MODULES.values()} - {""} <= RANK.keys()


def test_imports_go_down() -> None:
    """A module imports only what is in a lower layer or in its own folder."""
    assert list(wrong_imports(MODULES)) == []


def test_no_rings() -> None:
    """No two modules import each other, however long the way round, not even for types."""
    assert find_ring(MODULES) == []


def test_one_importer_for_each_library() -> None:
    """A library is imported by its folder alone, and one that no folder owns by nobody."""
    assert list(wrong_libraries(MODULES)) == []


def test_modules_stay_small() -> None:
    """No module has more than MAX_MODULE_LINES lines."""
    assert {m.name: m.lines for m in MODULES.values() if m.lines > MAX_MODULE_LINES} == {}


def test_functions_stay_small() -> None:
    """No function has more than MAX_FUNCTION_LINES lines."""
    sizes = {f"{m.name}.{f.name}": f.lines for m in MODULES.values() for f in m.functions}
    assert {name: lines for name, lines in sizes.items() if lines > MAX_FUNCTION_LINES} == {}


def test_names_say_what_a_thing_is() -> None:
    """No module, class or function is named with a word that fits everything."""
    assert list(wrong_names(MODULES)) == []


def test_every_module_has_a_docstring() -> None:
    """A module begins with its idea."""
    assert [module.name for module in MODULES.values() if not module.has_docstring] == []


def test_init_holds_only_a_docstring() -> None:
    """A package's __init__ re-exports nothing."""
    packages = {name.rpartition(".")[0] for name in MODULES} - {""}
    assert packages <= MODULES.keys()
    assert [name for name in packages if not MODULES[name].is_empty] == []


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A small package with one breach of each rule, to show that the rules above can fail."""
    sources = {
        "blobfs/__init__.py": '"""A package."""\n',
        "blobfs/model.py": "",
        "blobfs/store/__init__.py": '"""The disk."""\n',
        "blobfs/store/a.py": "import typing\nif typing.TYPE_CHECKING:\n    from blobfs.store import b\n",
        "blobfs/store/b.py": "def f():\n    from . import a\n    import httpx.x\n",
        "blobfs/shares/__init__.py": "from ..store.a import x\n",
        "blobfs/shares/c.py": "import requests, trio\nclass BlobManager:\n    def process_blob(self): ...\n",
    }
    for name, text in sources.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_breaches_are_found(package: Path) -> None:
    """Imports are seen in functions, under TYPE_CHECKING and when relative; every rule reports its breach."""
    modules = read_modules(package)
    assert list(wrong_imports(modules)) == ["blobfs.shares imports blobfs.store.a"]
    assert find_ring(modules) == ["blobfs.store.a", "blobfs.store.b", "blobfs.store.a"]
    assert list(wrong_libraries(modules)) == [
        "blobfs.shares.c imports requests, which is for nobody",
        "blobfs.store.b imports httpx, which is for shares",
    ]
    assert list(wrong_names(modules)) == ["blobfs.shares.c: BlobManager", "blobfs.shares.c: process_blob"]
    assert not modules["blobfs.shares"].is_empty
    assert not modules["blobfs.model"].has_docstring
