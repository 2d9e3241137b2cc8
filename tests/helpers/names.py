"""Names that one file takes from another of this repository, read from the source without running it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from tests.helpers.imports import ROOT

FOLDERS = ("pipeline", "kernels", "flows", "benchmarks", "tests")


@cache
def files() -> dict[str, Path]:
    """Dotted name → file of every module, benchmarks and tests included."""
    out = {}
    for path in (p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        out[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return out


@cache
def tree(module: str) -> ast.Module:
    """The parsed source of a module."""
    return ast.parse(files()[module].read_text(encoding="utf8"))


@cache
def given(module: str) -> frozenset[str] | None:
    """Names that importing `module` defines, its submodules among them; None where it makes them on demand."""
    names = {other.removeprefix(f"{module}.") for other in files() if other.rpartition(".")[0] == module}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return None if "__getattr__" in names else frozenset(names)


def missing(module: str) -> list[str]:
    """`other.name` for every name that `module` takes from another module here which does not give it.

    Taken by `from other import name`, or as `other.name` where `other` was imported and is no variable as well.
    """
    modules: dict[str, str] = {}  # the name by which a module is known here → the module
    out = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module in files():
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in files():
                    modules[alias.asname or alias.name] = full
                elif _lacks(node.module, alias.name):
                    out.add(full)
        elif isinstance(node, ast.Import):
            modules |= {alias.asname: alias.name for alias in node.names if alias.asname and alias.name in files()}
    variables = {n.id for n in ast.walk(tree(module)) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    variables |= {n.arg for n in ast.walk(tree(module)) if isinstance(n, ast.arg)}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id not in variables:
            other = modules.get(node.value.id)
            if other and _lacks(other, node.attr):
                out.add(f"{other}.{node.attr}")
    return sorted(out)


def _lacks(module: str, name: str) -> bool:
    return given(module) is not None and name not in given(module) and not name.startswith("__")
