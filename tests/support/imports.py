"""The imports of a package, read from its source, and figures about its structure.

    python -m tests.support.imports [codec | PATH OF A PACKAGE]

prints the number of files at the root of the package, its longest files, and the depth of the
import graph: the number of units on the longest chain of imports. A unit is a folder of the package
or a module at its root.
"""

from __future__ import annotations

import ast
import graphlib
import sys
from pathlib import Path

Graph = dict[str, set[str]]
"""Names, each with the names that it imports."""


def modules(root: Path) -> dict[str, Path]:
    """The file of every module below the folder `root` of a package, by its full name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, module: str) -> set[str]:
    """The full names of everything that a file imports, in functions and for type checking too.

    `from a import b` counts as `a.b`.
    """
    names: set[str] = set()
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            names |= {".".join([*base, alias.name]) for alias in node.names}
    return names


def resolve(name: str, known: dict[str, Path]) -> str | None:
    """The module of `known` that an imported name is, or is part of."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


def module_graph(root: Path) -> Graph:
    """The modules of a package, each with those that it imports."""
    known = modules(root)
    graph: Graph = {}
    for module, path in known.items():
        found = {resolve(name, known) for name in imported(path, module)}
        graph[module] = {name for name in found if name} - {module}
    return graph


def unit(module: str) -> str:
    """The folder of the package that a module is in, or the module itself at the root.

    `codec.model.layers` is in `model`, `codec.api` is `api`, `codec` is `__init__`.
    """
    return [*module.split("."), "__init__"][1]


def unit_graph(root: Path) -> Graph:
    """The units of a package, each with those that it imports, without its own `__init__`."""
    graph: Graph = {}
    for module, names in module_graph(root).items():
        if unit(module) != "__init__":
            graph.setdefault(unit(module), set()).update(unit(name) for name in names)
    return {name: names - {name, "__init__"} for name, names in graph.items()}


def depth(graph: Graph) -> int:
    """Names on the longest chain of imports. `graphlib.CycleError` if there is a circle."""
    longest: dict[str, int] = {}
    for name in graphlib.TopologicalSorter(graph).static_order():
        longest[name] = 1 + max((longest[other] for other in graph.get(name, ())), default=0)
    return max(longest.values())


def main() -> None:
    """Print the figures of one package."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "codec").resolve()
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in modules(root).values()}
    longest = sorted(lines, key=lambda path: -lines[path])[:3]
    print(f"files at the root of {root.name}/: {len(list(root.glob('*.py')))}")
    print("longest files: " + ", ".join(f"{path.relative_to(root)} {lines[path]}" for path in longest))
    graph = unit_graph(root)
    print(f"units: {len(graph)}, depth of the import graph between units: {depth(graph)}")


if __name__ == "__main__":
    main()
