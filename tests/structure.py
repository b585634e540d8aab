"""What the sources of blobfs look like from outside: modules, sizes, names, who imports whom.

Read from the syntax trees, so an import counts wherever it stands: at the top, in a function, under
TYPE_CHECKING. `tools/structure` prints it, tests/test_layers.py holds the rules against it.
"""

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = "blobfs"


@dataclass(frozen=True)
class Function:
    name: str
    lines: int


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str
    """Its full name; a package's own name stands for its __init__."""
    lines: int
    imports: frozenset[str]
    """Modules of ours, by their full names."""
    libraries: frozenset[str]
    """Everybody else's, by the top-level name."""
    functions: tuple[Function, ...]
    classes: tuple[str, ...]
    has_docstring: bool
    is_empty: bool
    """Nothing in it but, perhaps, the docstring."""

    @property
    def part(self) -> str:
        """The folder or top-level module it belongs to: ``store`` of ``blobfs.store.paths``."""
        return part_of(self.name)


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def read_modules(root: Path = ROOT, package: str = PACKAGE) -> dict[str, Module]:
    """Every module of `package`, by its full name."""
    paths = {_module_name(path.relative_to(root)): path for path in sorted((root / package).rglob("*.py"))}
    return {name: _read(name, path, paths) for name, path in paths.items()}


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _read(name: str, path: Path, known: Collection[str]) -> Module:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, str(path))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    imported = set(_imported(tree, package, known))
    top = name.split(".")[0]
    ours = {target for target in imported if target.split(".")[0] == top}
    has_docstring = ast.get_docstring(tree) is not None
    return Module(
        name=name,
        lines=len(text.splitlines()),
        imports=frozenset(ours),
        libraries=frozenset(target.split(".")[0] for target in imported - ours),
        functions=tuple(_functions(tree)),
        classes=tuple(node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)),
        has_docstring=has_docstring,
        is_empty=len(tree.body) == has_docstring,
    )


def _functions(tree: ast.AST) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Function(node.name, (node.end_lineno or node.lineno) - node.lineno + 1)


def _imported(tree: ast.AST, package: str, known: Collection[str]) -> Iterator[str]:
    """Full names of imported modules; ``from a import b`` means a.b if that is a module of ours, else a."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = _source(node, package)
            for alias in node.names:
                member = f"{source}.{alias.name}"
                yield member if member in known else source


def _source(node: ast.ImportFrom, package: str) -> str:
    """The absolute name of what stands after ``from``."""
    if not node.level:
        return node.module or ""
    ancestors = package.split(".")
    base = ".".join(ancestors[: len(ancestors) - node.level + 1])
    return f"{base}.{node.module}" if node.module else base


def part_imports(modules: Mapping[str, Module]) -> dict[str, set[str]]:
    """Which part imports which other parts."""
    graph: dict[str, set[str]] = {}
    for module in modules.values():
        graph.setdefault(module.part, set()).update(map(part_of, module.imports))
    return {part: targets - {part, ""} for part, targets in graph.items() if part}


def find_ring(modules: Mapping[str, Module]) -> list[str]:
    """Some modules that import each other in a circle, the first repeated at the end; or nothing."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done or name not in modules:
            return []
        for target in sorted(modules[name].imports):
            if ring := visit(target, [*path, name]):
                return ring
        done.add(name)
        return []

    return next((ring for name in modules if (ring := visit(name, []))), [])


def main() -> None:
    modules = read_modules()
    print(f"{'lines':>6}  {'longest function':<34}  module")
    for module in modules.values():
        longest = max(module.functions, key=lambda function: function.lines, default=Function("", 0))
        shown = f"{longest.lines:>4}  {longest.name[:28]}" if longest.lines else ""
        print(f"{module.lines:>6}  {shown:<34}  {module.name}")
    print(f"{sum(module.lines for module in modules.values()):>6}  in {len(modules)} modules\n")
    for part, targets in part_imports(modules).items():
        print(f"{part:<10} imports {', '.join(sorted(targets)) or 'nothing of ours'}")


if __name__ == "__main__":
    main()
