"""The import graph of the repository, read from the source without running it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipeline", "kernels", "flows")


@cache
def module_files() -> dict[str, Path]:
    """Dotted name → file of every module of the packages."""
    out = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = list(path.relative_to(ROOT).with_suffix("").parts)
            out[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return out


@cache
def imports(module: str, *, lazy: bool = True) -> frozenset[str]:
    """Names of this repository's modules that `module` imports, parents' __init__ included.

    lazy: count imports inside functions too.
    """
    tree = ast.parse(module_files()[module].read_text(encoding="utf8"))
    nodes = ast.walk(tree) if lazy else _top_level(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    known = found & module_files().keys()
    return frozenset(known | {p for name in known for p in _parents(name)})


def external_imports(module: str) -> frozenset[str]:
    """Top-level names of other packages that `module` imports when it is imported itself."""
    tree = ast.parse(module_files()[module].read_text(encoding="utf8"))
    found = set()
    for node in _top_level(tree):
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return frozenset(found - set(PACKAGES))


def reachable(module: str, *, lazy: bool = True) -> frozenset[str]:
    """`module` and every module of this repository that importing and running it may load."""
    seen, queue = set(), [module, *_parents(module)]
    while queue:
        name = queue.pop()
        if name not in seen and name in module_files():
            seen.add(name)
            queue += imports(name, lazy=lazy)
    return frozenset(seen)


def room(module: str) -> str:
    """The room of a module: the folder of pipeline/ it lies in; "kernels", "flows", "stages" for what lies elsewhere."""
    parts = module.split(".")
    if parts[0] != "pipeline":
        return parts[0]
    return parts[1] if len(parts) > 1 and (ROOT / "pipeline" / parts[1]).is_dir() else "stages"


@cache
def direct_imports(module: str) -> frozenset[str]:
    """Modules of this repository that the lines of `module` name, without the parents that Python loads before them."""
    found = set()
    for node in ast.walk(ast.parse(module_files()[module].read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            submodules = {f"{node.module}.{a.name}" for a in node.names}
            found |= {name if name in module_files() else node.module for name in submodules}
    return frozenset(found & module_files().keys() - {module})


def circles() -> list[list[str]]:
    """Groups of modules that import one another, directly or around corners."""
    graph = {name: direct_imports(name) for name in module_files()}
    reach = {name: _closure(graph, name) for name in graph}
    groups = {frozenset(other for other in reach[name] if name in reach[other]) for name in graph}
    return sorted(sorted(group) for group in groups if group)


def _closure(graph: dict[str, frozenset[str]], start: str) -> frozenset[str]:
    seen, queue = set(), [*graph[start]]
    while queue:
        name = queue.pop()
        if name not in seen:
            seen.add(name)
            queue += graph[name]
    return frozenset(seen)


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _top_level(tree: ast.Module) -> list[ast.AST]:
    """Nodes that run at import: everything but the bodies of functions and TYPE_CHECKING blocks."""
    out: list[ast.AST] = []
    queue: list[ast.AST] = list(tree.body)
    while queue:
        node = queue.pop()
        out.append(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        queue += list(ast.iter_child_nodes(node))
    return out
